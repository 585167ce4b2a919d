"""The engine behind the proxy: one connection pool, its health, its models."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from proxy.config import Upstream
from proxy.errors import BadRequest, EngineError, ModelGone, RequestError, UpstreamFailed, UpstreamSlow
from proxy.metrics import Metrics

MAX_ERROR_BYTES = 64 * 1024  # an error of the engine is a sentence; more is not read
LARGE_BODY = 1024**2  # beyond, aiohttp is to send it in pieces between which the loop does other work
IDLE_CONNECTION_S = 3.0  # vLLM closes idle connections after 5 s: one that is about to be closed must not be used
TRACE_HEADERS = ("traceparent", "tracestate")
ADAPTER_PREFIX = "lethe:"
"""Begins the engine's name of every adapter that the proxy loads. Such a model is no client's to ask for."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of the engine. `parent` is the base of one that is an adapter of the operator's own."""

    name: str
    max_model_len: int | None
    parent: str | None = None


@dataclass(slots=True)
class EngineView:
    """What the last look at the engine showed. `problem` is None while it is well.

    `adapters` are those that the proxy loaded, by the engine's names. `asked_at` is when the look began (monotonic).
    """

    models: Mapping[str, ServedModel]
    problem: str | None = "the engine has not answered yet"
    seen_at: float = 0.0
    adapters: frozenset[str] = frozenset()
    asked_at: float = 0.0

    @property
    def base(self) -> str | None:
        """The name under which the engine answers; None before it was seen."""
        return next((model.name for model in self.models.values() if model.parent is None), None)


class _NotWell(Exception):
    """What a look found, for the operator."""


class UpstreamClient:
    """Sends requests to the engine. A response that is left early is closed, which stops the generation in vLLM."""

    def __init__(self, settings: Upstream, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._base = settings.url.rstrip("/").removesuffix("/v1")  # as clients are given it, too
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=settings.connect_timeout_s, sock_read=settings.idle_timeout_s
        )
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S),
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self.view = EngineView({})
        self.lives = 0
        """How often the engine was found well after it had not been: each time it may be another process."""
        self.on_look: Callable[[], None] = lambda: None
        """Called after each look."""

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def post(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response of the engine with status 200. Raises UpstreamFailed, UpstreamSlow, EngineError or BadRequest."""
        sent = {name: headers[name] for name in TRACE_HEADERS if name in headers}
        sent["Content-Type"] = "application/json"
        try:
            data = orjson.dumps(body)
        except orjson.JSONEncodeError:  # it can be read deeper than it can be written
            raise BadRequest("the request is nested too deeply") from None
        url = self._base + path
        payload = io.BytesIO(data) if len(data) > LARGE_BODY else data
        try:
            async with self._session.post(url, data=payload, headers=sent, allow_redirects=False) as response:
                if response.status != 200:
                    raise await self._refusal(response)
                yield response
        except aiohttp.ServerTimeoutError as error:
            raise self._failed("timeout", UpstreamSlow("the engine did not answer in time")) from error
        except aiohttp.ClientConnectorError as error:
            raise self._failed("connect", UpstreamFailed("the engine cannot be reached", retry_after_s=2)) from error
        except aiohttp.ClientError as error:
            raise self._failed("broken", UpstreamFailed("the engine broke off its answer")) from error

    async def count_tokens(self, body: dict[str, Any]) -> int | None:
        """Tokens of a prompt by the engine's own tokenizer; None when it does not say."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s), self.post("/tokenize", body, {}) as response:
                count = orjson.loads(await response.read()).get("count")
        except (RequestError, TimeoutError, orjson.JSONDecodeError, AttributeError):
            return None
        return count if isinstance(count, int) else None

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        """A whole JSON answer to a request of the proxy's own; None for an answer that is no JSON. Raises as `post`."""
        async with self.post(path, body, {}) as response:
            raw = await response.read()
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None

    async def load_adapter(self, name: str, folder: str) -> None:
        """Loads an adapter from a folder that the engine can read, if it has none of this name. Raises as `post`."""
        await self.look()
        if name in self.view.adapters:
            return
        try:
            await self.ask("/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})
        except EngineError:
            await self.look()
            if name not in self.view.adapters:  # else another process of this server was faster
                raise

    async def unload_adapter(self, name: str) -> None:
        """Requests under way keep it; new ones do not find it. Raises as `post`."""
        await self.ask("/v1/unload_lora_adapter", {"lora_name": name})

    async def look(self) -> None:
        """Reads the engine's health and models into `view`."""
        asked_at = time.monotonic()
        try:
            cards = await self._listed()
        except (aiohttp.ClientError, TimeoutError, _NotWell) as error:
            cause = str(error) if isinstance(error, _NotWell) else type(error).__name__
            problem = f"the engine does not answer ({cause})"
            self.view = EngineView(self.view.models, problem, time.time(), asked_at=asked_at)
        else:
            self.lives += self.view.problem is not None
            adapters = frozenset(name for name in cards if name.startswith(ADAPTER_PREFIX))
            models = {name: card for name, card in cards.items() if name not in adapters}
            self.view = EngineView(models, None, time.time(), adapters, asked_at)
        self.on_look()

    async def _listed(self) -> dict[str, ServedModel]:
        """What the engine serves, by name. Raises _NotWell with the cure where a setting is the likely cause."""
        timeout = aiohttp.ClientTimeout(total=self._settings.connect_timeout_s)
        async with self._session.get(f"{self._base}/health", timeout=timeout) as health:
            if health.status == 404:
                raise _NotWell("its /health is a 404: is upstream.url a vLLM server?")
            if health.status != 200:
                raise _NotWell(f"its /health has status {health.status}")
        async with self._session.get(f"{self._base}/v1/models", timeout=timeout) as listing:
            if listing.status in (401, 403):
                raise _NotWell("it wants another key: set upstream.api_key to its --api-key")
            raw = await listing.read()
        try:
            cards = orjson.loads(raw)["data"]
            return {
                str(card["id"]): ServedModel(str(card["id"]), _length(card.get("max_model_len")), card.get("parent"))
                for card in cards
            }
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _NotWell("its /v1/models is not what vLLM answers: is upstream.url a vLLM server?") from None

    async def watch(self) -> None:
        """Looks at the engine for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._settings.check_every_s if self.view.problem is None else 0.5)

    def _failed(self, kind: str, error: RequestError) -> RequestError:
        self._metrics.upstream_errors.labels(kind).inc()
        return error

    async def _refusal(self, response: aiohttp.ClientResponse) -> RequestError:
        """The engine's error in our shape; what it says is passed on only where it speaks of the client's request."""
        raw = b""
        while len(raw) < MAX_ERROR_BYTES and (block := await response.content.readany()):
            raw += block
        if not 400 <= response.status < 500 or response.status in (401, 403, 404, 405):
            self._metrics.upstream_errors.labels("status").inc()
            if response.status == 404:
                return ModelGone("the engine does not have the model that was asked for")
            return UpstreamFailed(f"the engine answered with status {response.status}")
        try:
            said = orjson.loads(raw)
            error = said.get("error", said)
            message, param, code = str(error["message"]), error.get("param"), error.get("code")
            param = param if isinstance(param, str) else None
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            message, param, code = "the engine did not accept the request", None, None
        again = response.headers.get("Retry-After", "")
        return EngineError(
            response.status,
            message,
            param=param,
            code=str(code) if code else None,
            retry_after_s=int(again) if again.isdecimal() else None,
        )


def _length(given: object) -> int | None:
    return given if isinstance(given, int) else None
