"""Another embedder for a server that serves: in the background, put in force in one step, or not at all."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexes.embedder import Embedder, EmbedderError
from indexes.ledger.records import set_owner
from indexes.vectors import Vectors
from proxy.catalogue import embedder_change
from proxy.catalogue.choice import Embedders, Source
from tests.fakes.embedder import BagEmbedder
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Reached, Say, Wait
from tests.wire.harness import HARMLESS, QUESTION, Gate, Lethe, Reply, TestEmbedder, started

LONG_S = 20  # for what must happen, however slow the machine is
NEW = "/embedders/new"


class Another(TestEmbedder):
    """Another bag of words: other numbers, and fewer of them."""

    __test__ = False

    def __init__(self, name: str = "bag-of-words:2", dimensions: int = 96) -> None:
        super().__init__()
        self._bag = BagEmbedder(dimensions, name)


class Shelf:
    """The folders of embedders, and what is in them: one that serves, one that embeds in the background."""

    def __init__(self) -> None:
        self.serving: dict[str, Another] = {}
        self.background: dict[str, Another] = {}

    def put(self, path: str, name: str = "bag-of-words:2", dimensions: int = 96) -> Another:
        """Puts an embedder into a folder; returns the one that embeds in the background."""
        self.serving[path], self.background[path] = Another(name, dimensions), Another(name, dimensions)
        return self.background[path]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf, really = Shelf(), Embedders.open

    def open_(self: Embedders, source: Source, *, threads: int | None = None) -> Embedder:
        if source.path is None:
            return really(self, source, threads=threads)
        found = (shelf.serving if threads is None else shelf.background).get(source.path)
        if found is None:
            raise EmbedderError(f"no embedder in {source.path}")
        return found

    monkeypatch.setattr(Embedders, "open", open_)
    monkeypatch.setattr(embedder_change, "RETRY_S", 0.05)
    shelf.put(NEW)
    return shelf


async def use(lethe: Lethe, path: str | None = NEW, query: str = "") -> Reply:
    return await lethe.admin("PUT", f"/embedder{query}", {} if path is None else {"path": path})


async def status(lethe: Lethe) -> dict[str, Any]:
    body: dict[str, Any] = (await lethe.admin("GET", "/embedder")).body
    return body


async def until(lethe: Lethe, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(LONG_S):
        while not true(found := await status(lethe)):
            await asyncio.sleep(0.01)
    return found


async def settled(lethe: Lethe, embedder: str = "bag-of-words:2") -> None:
    await until(lethe, lambda found: found["embedder"] == embedder and found["stage"] == "in force")


async def rung(lethe: Lethe, text: str) -> str:
    reply = await lethe.admin("POST", "/check", {"text": text})
    assert reply.status == 200, reply.raw
    return str(reply.body["rung"])


def vectors(lethe: Lethe, owner: str, model: str) -> Vectors | None:
    beside = lethe.server.catalogue.enforcing.beside()
    try:
        return beside.vectors(owner, model)
    finally:
        beside.close()


async def many(lethe: Lethe, count: int) -> None:
    entries = [{"question": f"What is in box {number}?", "answer": f"marble {number}"} for number in range(count)]
    assert (await lethe.admin("POST", "/sets/art/entries", {"entries": entries})).status == 201


async def test_another_embedder_takes_the_place_of_the_first(armed: Lethe, shelf: Shelf) -> None:
    await many(armed, 30)
    reply = await use(armed, query=f"?wait=applied&timeout_s={LONG_S}")
    assert (reply.status, reply.body["applied"], reply.body["stage"]) == (200, True, "in force")
    assert (reply.body["embedder"], reply.body["dimensions"]) == ("bag-of-words:2", 96)
    assert "calibrate" in reply.body["advice"]
    before = armed.embedder.calls
    assert await rung(armed, QUESTION) == "instruct"
    assert await rung(armed, "What is in box 7?") == "instruct"
    assert await rung(armed, HARMLESS) == "pass"
    await armed.forget("Which ship sank first?")
    assert await rung(armed, "Which ship sank first?") == "instruct"
    assert armed.embedder.calls == before  # the first embedder is not asked any more
    actions = [change["action"] for change in (await armed.admin("GET", "/audit")).body["data"]]
    assert actions[-3:] == ["embedder.use", "embedder.in-force", "entry.add"]
    assert await armed.metric("lethe_embedder_changing") == 0
