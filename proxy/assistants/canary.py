"""The canary: proves, by asking, that an engine subtracts what it is told to, and that its logprobs do not tell on it.

Nothing is known of the model, so the proof is one of form. Among the few tokens that are likeliest after a fixed prompt
but for the first, an auxiliary with weight w adds w·a to the logits, whatever a is. So

    L(w) − L(0)              is not nothing                          the offset is alive
    L(2w) − 2·L(w) + L(0)    is nothing                              it is the offset that was asked for
    Σ exp L(0)               is 1 over the tokens that are allowed   logprobs are taken after the logits processors

where L are the logprobs of those tokens without their mean: a constant over the vocabulary changes no choice. Taken
before the logits processors, the last sum is at most TOKENS / (TOKENS + 1), for the first token has no smaller share.
Two requests without an offset tell how much the engine's numbers vary by themselves.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from guards.engine.contract import Arming, request_fields
from proxy.errors import RequestError

PROMPT = "The most important thing about it is"
TOKENS = 5
WEIGHT = -4.0  # an assistant that was trained to say nothing here has small logits; this makes them seen
MIN_CHANGE = 0.01  # of a logprob, at WEIGHT; what rounding does in float32 is a thousandth of it
CURVATURE = 0.1  # of the change: logits in 16 bits are rounded in proportion to their size
NOISY_BASES = 4  # second differences hold the base's logits four times over
NOISY_AUXILIARIES = 4 * abs(WEIGHT)  # and the auxiliary's, 2·w·a − 2·(w·a), as often as this
SUM_TOLERANCE = 0.01
DEADLINE_S = 120.0  # one round; an engine under load queues it behind its requests

_IDS = "token_id:"
_RAW = (
    "it reports logprobs from before its logits processors, which tell what an offset hides: start it with "
    "--logprobs-mode processed_logprobs, or with `lethe engine`"
)

Ask = Callable[[dict[str, Any]], Awaitable[Any]]
"""Sends a body to /v1/completions and returns the answer. Raises RequestError."""
Logprobs = Mapping[int, float]


class CanaryDead(Exception):
    """The engine does not do what it must; the message says what, and what to do."""


class Canary:
    """Proves one engine. Asks for the likeliest tokens once."""

    def __init__(self, ask: Ask, model: str, salt: str) -> None:
        """`model`: the engine's name of the base. `salt`: a cache partition of the proxy's own."""
        self._ask = ask
        self._model = model
        self._salt = salt
        self._tokens: list[int] = []
        self._plain: dict[int, float] = {}
        self._noise = 0.0

    async def prove(self, auxiliary: str, adapter: str | None = None) -> None:
        """Proves that one auxiliary is subtracted, with an adapter or without. Raises CanaryDead."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                if not self._tokens:
                    await self._look()
                once = await self._logprobs(Arming({auxiliary: WEIGHT}), adapter)
                twice = await self._logprobs(Arming({auxiliary: 2 * WEIGHT}), adapter)
        except (RequestError, TimeoutError) as error:
            raise CanaryDead(f"the engine did not answer the canary ({type(error).__name__})") from error
        problem = judged(self._plain, once, twice, self._noise)
        if problem:
            raise CanaryDead(f"auxiliary '{auxiliary}': {problem}")

    async def _look(self) -> None:
        found = await self._request({"logprobs": TOKENS + 1})
        likeliest = sorted(found, key=lambda token: -found[token])
        self._tokens = likeliest[1 : TOKENS + 1]
        first, second = await self._logprobs(None, None), await self._logprobs(None, None)
        if len(first) < 2 or abs(sum(map(math.exp, first.values())) - 1) > SUM_TOLERANCE:
            self._tokens = []
            raise CanaryDead(_RAW)
        self._plain = centred(first)
        self._noise = distance(self._plain, centred(second))

    async def _logprobs(self, arming: Arming | None, adapter: str | None) -> dict[int, float]:
        fields = request_fields(arming, salt=self._salt, adapter=adapter)
        kept = {name: value for name, value in fields.items() if value is not None}
        found = await self._request({"logprobs": TOKENS, "allowed_token_ids": self._tokens, **kept})
        if set(self._tokens) - set(found):
            raise CanaryDead(_RAW)  # with `allowed_token_ids`, nothing else is likely after the processors
        return {token: found[token] for token in self._tokens}

    async def _request(self, fields: dict[str, Any]) -> dict[int, float]:
        """The logprobs of the first token after the prompt."""
        body = {"model": self._model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
        answer = await self._ask({**body, "return_tokens_as_token_ids": True, **fields})
        try:
            tops = answer["choices"][0]["logprobs"]["top_logprobs"][0]
            return {int(name.removeprefix(_IDS)): float(value) for name, value in tops.items()}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CanaryDead("its answer to the canary has an unknown shape") from error


def judged(plain: Logprobs, once: Logprobs, twice: Logprobs, noise: float) -> str | None:
    """What is wrong with logprobs at weight 0, w and 2w, where repeating the first moved them by `noise`."""
    base, near, far = (centred(each) for each in (plain, once, twice))
    change = distance(far, base)
    if not math.isfinite(change):
        return "what is subtracted is not finite"
    if change <= MIN_CHANGE + NOISY_BASES * noise:
        return "it is not subtracted: the logprobs stay as they were (start the engine with `lethe engine`)"
    bent = max(abs(far[token] - 2 * near[token] + base[token]) for token in base)
    if bent > MIN_CHANGE + (NOISY_BASES + NOISY_AUXILIARIES) * noise + CURVATURE * change:
        return "what is subtracted is not what was asked for: the logprobs do not follow the weight"
    return None


def centred(logprobs: Logprobs) -> dict[int, float]:
    """Logprobs without their mean."""
    mean = sum(logprobs.values()) / len(logprobs)
    return {token: value - mean for token, value in logprobs.items()}


def distance(one: Logprobs, other: Logprobs) -> float:
    """The largest difference of a token."""
    return max(abs(one[token] - other[token]) for token in one)
