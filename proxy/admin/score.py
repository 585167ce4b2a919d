"""Probabilities of given answers under an arm: the evaluator's part, on the admin port only.

The distribution is the arm's own. The request is decided, amended and armed as a client's would be, and the answer is
teacher-forced behind it. Where the arm would refuse, or its output filter withhold the answer, no token can come.

An armed request must not ask for log-probabilities of its prompt (they never pass the offset), so there each token is
asked for by itself, as a generation of one token. The last goes first: what it leaves in the engine's prefix cache is
what all others would have to read.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from guards.policy import Rung
from proxy.asking import EngineRequest
from proxy.assistants.offsets import NotArmed
from proxy.dialects.base import Head, Json, Usage
from proxy.errors import BadRequest, UpstreamFailed
from proxy.exchange import Exchange
from proxy.server import Server
from proxy.upstream import UpstreamClient

MAX_TOKENS = 1024  # of one answer; armed, each is a request to the engine

COMPLETIONS, TOKENIZE = "/v1/completions", "/tokenize"

ARMING = "vllm_xargs"

NEVER = -9999.0
"""What vLLM reports for a token that cannot come: JSON has no infinity."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One answer: for each token its log-probability, None where it cannot come, and its rank among all tokens."""

    logprobs: tuple[float | None, ...]
    ranks: tuple[int | None, ...]

    def as_json(self) -> Json:
        return {"logprobs": list(self.logprobs), "ranks": list(self.ranks)}


async def scores_of(server: Server, exchange: Exchange, request: EngineRequest, answers: Sequence[str]) -> list[Scores]:
    """Scores of each answer to a request that has its plan. Raises RequestError."""
    engine = Forcing(server.upstream, exchange.model)
    tokens = await asyncio.gather(*(engine.tokens({"prompt": text, "add_special_tokens": False}) for text in answers))
    if any(len(found) > MAX_TOKENS for found in tokens):
        raise BadRequest(f"an answer is longer than {MAX_TOKENS} tokens", param="answers")
    withheld = [await _withheld(server, exchange, text) for text in answers]
    while exchange.plan.rung is not Rung.REFUSE:
        try:
            async with request.prepared() as body:
                asked = exchange.dialect.tokenize_request(body)
                prompt = await engine.tokens({name: value for name, value in asked.items() if name != "model"})
                sent = [
                    asyncio.sleep(0, _never(found)) if kept_back else engine.forced(body, prompt, found)
                    for found, kept_back in zip(tokens, withheld, strict=True)
                ]
                return await asyncio.gather(*sent)
        except NotArmed:  # climb, as the request of a client would
            exchange.plan = exchange.plan.without_offset()
    return [_never(found) for found in tokens]


async def _withheld(server: Server, exchange: Exchange, text: str) -> bool:
    """Whether the output filters would keep an answer back. Raises GuardUnavailable where nobody can say."""
    if not exchange.plan.scan_output:
        return False
    head = Head("score", int(time.time()), exchange.call.model)
    payload = exchange.dialect.answer(exchange.call, head, [text] * exchange.call.choices, Usage(0, 0))
    return (await server.meaning.filtered(exchange, payload)).checked() is None


def _never(tokens: Sequence[int]) -> Scores:
    return Scores((None,) * len(tokens), (None,) * len(tokens))


class Forcing:
    """Asks the engine for the probabilities of given tokens."""

    def __init__(self, upstream: UpstreamClient, model: str) -> None:
        self._upstream = upstream
        self._model = model

    async def tokens(self, asked: Json) -> list[int]:
        """A prompt or a text as token ids. Raises UpstreamFailed."""
        found = (await self._call(TOKENIZE, {"model": self._model, **asked})).get("tokens")
        if not isinstance(found, list):
            raise UpstreamFailed("the engine does not say how it tokenizes")
        return found

    async def forced(self, body: Json, prompt: list[int], answer: list[int]) -> Scores:
        """Scores of the answer's tokens after the prompt."""
        ours = {name: body[name] for name in ("model", "cache_salt", ARMING) if body.get(name) is not None}
        if not answer:
            return Scores((), ())
        if ours.get(ARMING):
            last = await self.alone(ours, prompt + answer[:-1], answer[-1])
            before = (self.alone(ours, prompt + answer[:place], token) for place, token in enumerate(answer[:-1]))
            found = [*await asyncio.gather(*before), last]
        else:
            found = await self.at_once(ours, prompt, answer)
        possible = (None if logprob <= NEVER else logprob for logprob, _ in found)
        return Scores(tuple(possible), tuple(rank for _, rank in found))

    async def at_once(self, ours: Json, prompt: list[int], answer: list[int]) -> list[tuple[float, int | None]]:
        """Log-probability and rank of each token of the answer, as part of a prompt."""
        reply = await self._call(
            COMPLETIONS, {**ours, "prompt": prompt + answer, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        )
        try:
            listed = reply["choices"][0]["prompt_logprobs"][len(prompt) :]
            pairs = [at[str(token)] for at, token in zip(listed, answer, strict=True)]
            return [(float(one["logprob"]), int(one["rank"])) for one in pairs]
        except (LookupError, TypeError, ValueError):
            raise UpstreamFailed("the engine gave no probabilities of the prompt") from None

    async def alone(self, ours: Json, prompt: list[int], token: int) -> tuple[float, int | None]:
        """The token's log-probability as the next one; its rank is known where it is the first."""
        reply = await self._call(
            COMPLETIONS,
            {
                **ours,
                "prompt": prompt,
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": 1,
                "logprob_token_ids": [token],
                "return_tokens_as_token_ids": True,
            },
        )
        try:
            found = reply["choices"][0]["logprobs"]
            name = f"token_id:{token}"
            return float(found["top_logprobs"][0][name]), 1 if found["tokens"][0] == name else None
        except (LookupError, TypeError, ValueError):
            raise UpstreamFailed("the engine gave no probability of a token that it was asked for") from None

    async def _call(self, path: str, body: Json) -> dict[str, Any]:
        async with self._upstream.post(path, body, {}) as response:
            raw = await response.read()
        try:
            reply = orjson.loads(raw)
        except orjson.JSONDecodeError:
            reply = None
        if not isinstance(reply, dict):
            raise UpstreamFailed("the engine's answer has an unknown shape")
        return reply
