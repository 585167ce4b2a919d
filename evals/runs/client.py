"""Asks a server as its clients do, and measures what the answer costs; calls its admin API for the evaluator's part."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from evals.suites.items import Item, Task

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"

ATTEMPTS = 3  # of a request that the server could not answer: busy, or its engine restarting
PAUSE_S = 2.0
TIMEOUT_S = 600  # the longest wait for one answer; on two cores many wait for each other
BUSY = frozenset((429, 500, 502, 503, 504))


class RunError(Exception):
    """The server cannot be used for this run; the message says why, with the cure."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer. `error` is the server's code where it declined (with a 4xx), and None otherwise."""

    text: str
    finish: str | None
    error: str | None
    rung: str | None
    ttft_s: float | None
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    overhead_ms: float


@dataclass(frozen=True, repr=False)
class Server:
    """Where clients ask, and the key."""

    url: str
    key: str | None
    session: aiohttp.ClientSession

    async def offer(self) -> tuple[list[str], list[str]]:
        """Models and arms that this key may use. Raises RunError."""
        try:
            async with self.session.get(self.url + "/v1/models", headers=self._headers({})) as response:
                listed = orjson.loads(await response.read())
                status = response.status
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise RunError(
                f"no server answers at {self.url} ({type(error).__name__}): start one with 'lethe up', or set --url"
            ) from None
        if status != 200:
            raise RunError(f"{self.url}: {listed['error']['message'] if 'error' in listed else f'status {status}'}")
        ids = [card["id"] for card in listed["data"]]
        models = [name for name in ids if name.rpartition(":")[0] not in ids]
        if not models:
            raise RunError("no model is served: the engine does not answer (see /readyz)")
        arms = [name.removeprefix(f"{models[0]}:") for name in ids if name.startswith(f"{models[0]}:")]
        return models, ["guarded", *arms]

    async def ask(self, body: Mapping[str, Any], *, arm: str, path: str = CHAT) -> Said:
        """One answer, streamed. Raises RunError when there is none after several attempts."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(body, arm, path)
            except _NoAnswerError as failed:
                if attempt == ATTEMPTS:
                    raise RunError(f"the server at {self.url} does not answer: {failed}") from None
            await asyncio.sleep(PAUSE_S * attempt)
        raise AssertionError("unreachable")

    async def _once(self, body: Mapping[str, Any], arm: str, path: str) -> Said:
        sent = {**body, "stream": True, "stream_options": {"include_usage": True}}
        started = time.perf_counter()
        heard = _Heard()
        try:
            async with self.session.post(
                self.url + path, data=orjson.dumps(sent), headers=self._headers({"x-lethe-arm": arm})
            ) as response:
                if response.status != 200:
                    return self._declined(response.status, await response.read(), time.perf_counter() - started)
                async for event in _events(response.content):
                    heard.take(event, time.perf_counter() - started)
                headers = response.headers
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _NoAnswerError(type(error).__name__) from None
        if heard.failed or not heard.finish:
            raise _NoAnswerError("an answer broke off")
        return Said(
            text=heard.text,
            finish=heard.finish,
            error=None,
            rung=_rung(headers.get("x-lethe-findings")),
            ttft_s=heard.first_s,
            seconds=time.perf_counter() - started,
            prompt_tokens=heard.usage.get("prompt_tokens", 0),
            completion_tokens=heard.usage.get("completion_tokens", 0),
            overhead_ms=float(headers.get("x-lethe-overhead-ms", "nan")),
        )

    def _declined(self, status: int, raw: bytes, seconds: float) -> Said:
        try:
            error = orjson.loads(raw)["error"]
            message, code = str(error["message"]), str(error["code"] or error["type"])
        except (orjson.JSONDecodeError, LookupError, TypeError):
            message, code = f"status {status}", str(status)
        if status in BUSY:
            raise _NoAnswerError(message)
        if status in (401, 403):
            raise RunError(f"{message} (set LETHE_API_KEY to a key that may use all arms of the run)")
        return Said("", None, code, None, None, seconds, 0, 0, float("nan"))

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        """Findings are shown to admin keys only, and asked of every server."""
        authorization = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return {"Content-Type": "application/json", "x-lethe-findings": "1", **authorization, **more}


@dataclass(frozen=True, repr=False)
class Admin:
    """The admin API of the server."""

    url: str
    key: str | None
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One call below /admin/v1; returns the JSON reply. Raises RunError."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            async with self.session.request(
                method, f"{self.url}/admin/v1{path}", data=data, headers=headers
            ) as response:
                status, raw = response.status, await response.read()
            reply = orjson.loads(raw) if raw else {}
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise RunError(f"no admin API answers at {self.url} ({type(error).__name__}): set --admin-url") from None
        if status >= 400:
            message = reply.get("error", {}).get("message", f"status {status}") if isinstance(reply, dict) else status
            cure = " (set LETHE_ADMIN_KEY)" if status in (401, 403) else ""
            raise RunError(f"{message}{cure}")
        return reply


@contextlib.asynccontextmanager
async def connected(url: str, key: str | None, admin_url: str, admin_key: str | None) -> AsyncIterator["Connection"]:
    """Both sides of a server."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=5)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Connection(
            Server(url.rstrip("/"), key or admin_key, session), Admin(admin_url.rstrip("/"), admin_key, session)
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """A server as clients and as its operator reach it."""

    server: Server
    admin: Admin


def request_of(item: Item, model: str, *, max_tokens: int, temperature: float, seed: int) -> tuple[str, dict[str, Any]]:
    """Path and body of the request for an item."""
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    if item.task is Task.CONTINUE:
        return COMPLETIONS, {**body, "prompt": item.prompt}
    return CHAT, {**body, "messages": [{"role": "user", "content": item.prompt}]}


class _NoAnswerError(Exception):
    """The server could not answer; asking again may help."""


class _Heard:
    """An answer as it streams in."""

    def __init__(self) -> None:
        self.text = ""
        self.finish: str | None = None
        self.failed = False
        self.first_s: float | None = None
        self.usage: Mapping[str, int] = {}

    def take(self, event: Mapping[str, Any], at_s: float) -> None:
        self.failed = self.failed or "error" in event
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices") or ():
            piece = (choice.get("delta") or {}).get("content") or choice.get("text") or ""
            if piece and self.first_s is None:
                self.first_s = at_s
            self.text += piece
            self.finish = choice.get("finish_reason") or self.finish


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[Mapping[str, Any]]:
    async for line in stream:
        if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
            try:
                yield orjson.loads(line[6:])
            except orjson.JSONDecodeError:
                raise _NoAnswerError("an event is not JSON") from None


def _rung(findings: str | None) -> str | None:
    """The strictest verdict among enforced findings, where the server shows them."""
    if findings is None:
        return None
    verdicts = {finding["verdict"] for finding in orjson.loads(findings) if finding["enforced"]}
    return next((verdict for verdict in ("refuse", "arm", "amend") if verdict in verdicts), "none")
