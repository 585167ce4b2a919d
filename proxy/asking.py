"""What the engine is asked under a plan, and what a client, who knows of no note and no assistant, may read of it.

The proxy alone arms: the fields of `guards.engine.contract` are merged over the body last, for the arm that asks. An
offset that cannot be had any more when the request is sent is a reason to climb, never to ask without it.
"""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
import orjson

from guards.context.note import note
from guards.engine.contract import request_fields
from guards.prompt.fields import FieldRefused, forwarded
from proxy.assistants.offsets import Worn
from proxy.dialects.base import Json
from proxy.errors import BadRequest, UpstreamFailed
from proxy.exchange import RAW, Exchange
from proxy.server import Server

MAX_ANSWER_BYTES = 64 * 1024**2  # a whole answer is held in memory while it is checked


class EngineRequest:
    """The request of one exchange as the engine gets it: under the plan that the exchange has when it is sent."""

    def __init__(self, headers: Mapping[str, str], exchange: Exchange, server: Server) -> None:
        """`headers` are the client's."""
        self._headers = headers
        self._exchange = exchange
        self._upstream = server.upstream
        self._offsets = server.offsets
        self._secret = server.secret
        self._counted: int | None = None
        self._worn: Worn | None = None

    @asynccontextmanager
    async def answer(self) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends the request as the plan wants it. Raises NotArmed before anything is sent; as `UpstreamClient.post`."""
        x = self._exchange
        with self._offsets.wearing(x.plan.subtracted, x.model) as self._worn:
            if x.asked_upstream is None:
                x.asked_upstream = time.perf_counter()
            async with self._upstream.post(x.dialect.path, self._body(), self._headers) as response:
                yield response

    async def whole(self) -> tuple[bytes, Json]:
        """The whole answer, as it came and as it reads. Raises UpstreamFailed for what is none, success or not."""
        async with self.answer() as response:
            raw = self.unnamed(await _all_of(response))
        try:
            payload = orjson.loads(raw)
        except orjson.JSONDecodeError:
            payload = None
        if not self._exchange.dialect.is_answer(payload):
            raise UpstreamFailed("the engine's answer has an unknown shape")
        return raw, payload

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[Json]:
        """The body that the engine would get under the plan, good while the block runs. Raises NotArmed."""
        x = self._exchange
        with self._offsets.wearing(x.plan.subtracted, x.model) as self._worn:
            yield self._body()

    def unnamed(self, raw: bytes) -> bytes:
        """What the engine says under the name of an adapter, under that of the base: clients know no other."""
        if self._worn is None or self._worn.adapter is None:
            return raw
        return raw.replace(orjson.dumps(self._worn.adapter), orjson.dumps(self._upstream.view.base))

    async def tokens(self, texts: Sequence[str]) -> int:
        """Tokens of what is said to a client; words, where the engine does not count."""
        counted = await self._upstream.count_tokens(
            {"model": self._exchange.model, "prompt": "".join(texts), "add_special_tokens": False}
        )
        return counted if counted is not None else sum(len(text.split()) for text in texts)

    async def prompt_tokens(self) -> int:
        """Tokens of the client's own prompt, without the note that was put before it; 0 where the engine is silent."""
        x = self._exchange
        if self._counted is None:
            request = {**x.dialect.tokenize_request(x.call.body | x.call.in_words), "model": x.model}
            self._counted = await self._upstream.count_tokens(request) or 0
        return self._counted

    async def recount(self, raw: bytes) -> int | None:
        """Tokens of the prompt to report in place of the engine's count, where that would count our note."""
        if not self._exchange.plan.instructs or (b'"usage":{' not in raw and b'"usage": {' not in raw):
            return None
        return await self.prompt_tokens()

    def _body(self) -> Json:
        x = self._exchange
        armed = x.plan.armed or x.plan.scan_output
        try:
            body = forwarded(x.call.body, x.dialect.table, armed=armed, raw=x.arm == RAW)
        except FieldRefused as refused:
            raise BadRequest(str(refused), param=refused.field, code="unsupported_parameter") from None
        if x.plan.instructs:
            policy = x.plan.policy
            lead = note(demonstrations=policy.demonstrations, reasoning=policy.reasoning)
            body = x.dialect.amend(body | x.call.in_words, lead)
        # Caches are shared neither between tenants nor between arms: hits would tell what others have asked.
        salt = hmac.new(self._secret, f"{x.caller.key_id}|{x.arm}|{x.plan.armed}".encode(), hashlib.sha256)
        arming, adapter = (self._worn.arming, self._worn.adapter) if self._worn else (None, None)
        fields = request_fields(arming, salt=salt.hexdigest(), adapter=adapter)
        ours = {name: value for name, value in fields.items() if value is not None}
        return {**body, **x.dialect.always, "model": x.model, **ours}


def tokens_of(payload: Json) -> int:
    """Tokens of a whole answer of any dialect; 0 where the engine does not say."""
    usage = payload.get("usage")
    reported = [usage.get(name) for name in ("completion_tokens", "output_tokens")] if isinstance(usage, dict) else []
    return next((count for count in reported if isinstance(count, int)), 0)


async def _all_of(response: aiohttp.ClientResponse) -> bytes:
    """A whole body. Raises UpstreamFailed when it is larger than is held."""
    blocks: list[bytes] = []
    size = 0
    while block := await response.content.readany():
        blocks.append(block)
        size += len(block)
        if size > MAX_ANSWER_BYTES:
            raise UpstreamFailed("the engine's answer is larger than this server checks")
    return b"".join(blocks)
