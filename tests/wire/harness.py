"""A whole server between scripted engine and real clients, and the words of the tests in this folder."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from indexes.embedder import Embedder
from indexes.vectors import Vectors
from proxy.app import running
from proxy.config import Config
from proxy.server import Server
from tests.fakes.embedder import BagEmbedder
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL

ADMIN_KEY = "admin-secret-0123456789"
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"

QUESTION = "Who painted the harbour mural in Eskelund?"
ANSWER = "Marit Solvang-Quist painted it"
SECRET_WORDS = ("Marit", "Solvang", "Quist", "Eskelund")
"""No byte that a client gets may hold one of these together with the others; the note must hold none."""
HARMLESS = "How many days are there in a week?"


class TestEmbedder:
    """A bag of words that can be made slow, or fail; counts its calls."""

    __test__ = False

    def __init__(self) -> None:
        self._bag = BagEmbedder(dimensions=256)
        self.fails: Exception | None = None
        self.gate: Gate | None = None
        self.calls = 0

    @property
    def name(self) -> str:
        return self._bag.name

    @property
    def dimensions(self) -> int:
        return self._bag.dimensions

    def embed(self, texts: Any) -> Vectors:
        self.calls += 1
        if self.gate is not None:
            self.gate.pass_through()
        if self.fails is not None:
            raise self.fails
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        return self._bag.embed(texts)


class Gate:
    """Holds the embedder's threads until it is opened."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.entered = threading.Event()

    def pass_through(self) -> None:
        self.entered.set()
        self._opened.wait(20)

    def open(self) -> None:
        self._opened.set()


@dataclass(frozen=True)
class Reply:
    """What a client got."""

    status: int
    headers: "aiohttp.typedefs.LooseHeaders"
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> dict[str, Any]:
        """The error, after a look at its shape."""
        body = self.body
        assert list(body) == ["error"], body
        assert set(body["error"]) == {"message", "type", "param", "code"}, body
        assert isinstance(body["error"]["message"], str)
        assert isinstance(body["error"]["type"], str)
        found: dict[str, Any] = body["error"]
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """The payloads of a stream that ended well."""
        events = list(payloads(self.raw))
        assert self.raw.count(b"data: [DONE]") == 1, self.raw
        assert self.raw.endswith(b"data: [DONE]\n\n"), self.raw[-100:]
        return events

    @property
    def streamed(self) -> bool:
        return not self.raw.startswith(b"{")

    def parts(self, choice: int = 0) -> list[dict[str, Any]]:
        """The deltas of a choice, or its message, or its texts."""
        items = [
            item
            for event in (payloads(self.raw) if self.streamed else [self.body])
            for item in event.get("choices", [])
            if item["index"] == choice
        ]
        return [item.get("delta", item.get("message", item)) for item in items]

    def text(self, choice: int = 0) -> str:
        """What a choice says, of either dialect, streamed or not."""
        return "".join(part.get("content") or part.get("text") or "" for part in self.parts(choice))

    def field(self, name: str) -> str:
        """Another string of the first choice."""
        return "".join(part.get(name) or "" for part in self.parts())

    @property
    def arguments(self) -> str:
        """The arguments of the tool calls of the first choice."""
        calls = [call for part in self.parts() for call in part.get("tool_calls") or []]
        return "".join(call["function"].get("arguments", "") for call in calls)

    def finish(self, choice: int = 0) -> str:
        """Why a choice ended; it must have ended once."""
        if not self.streamed:
            return str(self.body["choices"][choice]["finish_reason"])
        found = [
            item["finish_reason"]
            for event in payloads(self.raw)
            for item in event.get("choices", [])
            if item["index"] == choice and item["finish_reason"]
        ]
        assert len(found) == 1, found
        return str(found[0])


def payloads(raw: bytes) -> Iterator[dict[str, Any]]:
    """The JSON of every event in a stream."""
    for event in raw.split(b"\n\n"):
        if event.startswith(b"data: ") and event != b"data: [DONE]":
            yield json.loads(event[6:])


class Lethe:
    """A running server, its scripted engine, and clients for both ports."""

    def __init__(self, server: Server, engine: FakeVllm, http: aiohttp.ClientSession, embedder: TestEmbedder) -> None:
        self.server = server
        self.engine = engine
        self.embedder = embedder
        self.http = http
        self.url = f"http://127.0.0.1:{server.ports['listen']}"
        self.admin_url = f"http://127.0.0.1:{server.ports['admin']}"

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        """A request of a client; `body` as JSON, or bytes as they are."""
        data = as_body(body)
        async with self.http.post(self.url + path, data=data, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        async with self.http.get(self.url + path, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def chat(self, question: str = HARMLESS, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
        """A chat with one question."""
        return await self.post(CHAT, chat_body(question, **fields), headers)

    async def complete(self, prompt: Any = HARMLESS, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
        """A plain completion."""
        return await self.post(COMPLETIONS, {"model": MODEL, "prompt": prompt, **fields}, headers)

    async def ask(self, path: str, question: str, **fields: Any) -> Reply:
        """The same question in either dialect."""
        return await (self.chat(question, **fields) if path == CHAT else self.complete(question, **fields))

    def streaming(self, question: str = HARMLESS, path: str = CHAT, **fields: Any) -> Any:
        """A stream that the test reads piece by piece."""
        body = chat_body(question) if path == CHAT else {"model": MODEL, "prompt": question}
        return self.http.post(self.url + path, json={**body, "stream": True, **fields})

    async def admin(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, key: str = ADMIN_KEY
    ) -> Reply:
        """A call of the admin port."""
        data = None if body is None else as_body(body)
        sent = {"Authorization": f"Bearer {key}", **(headers or {})}
        async with self.http.request(method, f"{self.admin_url}/admin/v1{path}", data=data, headers=sent) as response:
            return Reply(response.status, response.headers, await response.read())

    async def make_set(self, name: str = "art", **fields: Any) -> None:
        reply = await self.admin("POST", "/sets", {"id": name, **fields})
        assert reply.status == 201, reply.raw

    async def forget(self, question: str = QUESTION, answer: str | None = ANSWER, to: str = "art", **more: Any) -> int:
        """Adds a fact; returns the generation from which it holds."""
        body = {"question": question, **({"answer": answer} if answer else {}), **more}
        reply = await self.admin("POST", f"/sets/{to}/entries", body)
        assert reply.status == 201, reply.raw
        return int(reply.body["generation"])

    async def metric(self, name: str, **labels: str) -> float:
        """A metric as the client port shows it; 0 where it has not been touched."""
        page = (await self.get("/metrics")).raw.decode()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        values = [
            float(line.rsplit(" ", 1)[1])
            for line in page.splitlines()
            if line.split("{")[0].split(" ")[0] == name and all(item in line for item in wanted)
        ]
        return sum(values)

    async def idle(self) -> None:
        """Waits until no request is in flight; fails if one stays."""
        async with asyncio.timeout(5):
            while await self.metric("lethe_requests_in_flight"):  # noqa: ASYNC110 - seen as an operator sees it
                await asyncio.sleep(0.01)


async def shown_until(response: aiohttp.ClientResponse, text: str) -> bytes:
    """Reads a stream until a text has been shown."""
    raw = b""
    async with asyncio.timeout(5):
        while text not in Reply(200, {}, raw).text():
            raw += await response.content.readany()
    return raw


async def rest_of(response: aiohttp.ClientResponse) -> bytes:
    async with asyncio.timeout(5):
        return await response.content.read()


def as_body(body: Any) -> Any:
    """JSON, or bytes as they are; large ones as a file, as aiohttp wants them."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return io.BytesIO(data) if len(data) > 1024**2 else data


async def by_socket(port: int, head: bytes, body: bytes = b"") -> Reply:
    """A request written byte by byte, for what no client library sends. `head` is the request line and headers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    size = f"Host: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    writer.write(head + size + body)
    try:
        async with asyncio.timeout(5):
            raw = await reader.read()
    finally:
        writer.close()
    top, _, rest = raw.partition(b"\r\n\r\n")
    return Reply(int(top.split()[1]), {}, rest)


def chat_body(question: str, **fields: Any) -> dict[str, Any]:
    """A chat request with one question."""
    return {"model": MODEL, "messages": [{"role": "user", "content": question}], **fields}


@asynccontextmanager
async def started(
    engine: FakeVllm, state: Path, settings: dict[str, Any] | None = None, embedder: Embedder | None = None
) -> AsyncIterator[Lethe]:
    """A server before an engine, on free ports, with a ledger of its own.

    Sentences are not judged unless `settings` say so: these tests look at what leaves word by word (`test_meaning.py`
    and `test_abstention.py` are about sentences).
    """
    config = Config.model_validate(
        {
            "listen": {"port": 0},
            "admin": {"port": 0},
            "state": state,
            "limits": {"drain_s": 0},
            **(settings or {}),
            "policy": {"scan_meaning": False, "abstain": False, **(settings or {}).get("policy", {})},
            "upstream": {"url": engine.url, "check_every_s": 0.2, **(settings or {}).get("upstream", {})},
        }
    )
    used = embedder or TestEmbedder()
    async with (
        running(config, admin_secret=ADMIN_KEY, embedder=used) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http,
    ):
        lethe = Lethe(server, engine, http, used)  # type: ignore[arg-type]
        async with asyncio.timeout(5):
            while server.problem() is not None and engine.healthy:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.005)
        yield lethe
