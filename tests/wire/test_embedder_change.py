"""Another embedder for a server that serves: in the background, put in force in one step, or not at all."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexes.embedder import Embedder, EmbedderError
from indexes.ledger.records import set_owner
from indexes.sealed.keys import new_key
from indexes.vectors import Vectors
from proxy.catalogue import embedder_change
from proxy.catalogue.choice import Embedders, Source
from tests.fakes.embedder import BagEmbedder
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Reached, Say, Wait
from tests.postgresql import PostgresServer
from tests.wire.harness import HARMLESS, QUESTION, Gate, Lethe, Reply, TestEmbedder, started

LONG_S = 20  # for what must happen, however slow the machine is
NEW = "/embedders/new"


class Another(TestEmbedder):
    """Another bag of words: other numbers, and fewer of them."""

    __test__ = False

    def __init__(self, name: str = "bag-of-words:2", dimensions: int = 96) -> None:
        super().__init__()
        self._bag = BagEmbedder(dimensions, name)
        self.texts = 0
        self.fails_after: int | None = None

    def embed(self, texts: Any) -> Vectors:
        if self.fails_after is not None and self.texts >= self.fails_after:
            raise EmbedderError("enough")
        made = super().embed(texts)
        self.texts += len(texts)
        return made


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


@pytest.fixture
def replicas_url(postgres: PostgresServer) -> str:
    return postgres.fresh("embedders")


async def use(lethe: Lethe, path: str | None = NEW, query: str = "") -> Reply:
    return await lethe.admin("PUT", f"/embedder{query}", {} if path is None else {"path": path})


async def status(lethe: Lethe) -> dict[str, Any]:
    body: dict[str, Any] = (await lethe.admin("GET", "/embedder")).body
    return body


async def until(lethe: Lethe, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(LONG_S):
        while not true(found := await status(lethe)):  # noqa: ASYNC110 - seen as an operator sees it
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


async def test_the_former_serves_and_everything_that_is_changed_meanwhile_holds(armed: Lethe, shelf: Shelf) -> None:
    await many(armed, 20)
    held = shelf.background[NEW].gate = Gate()
    assert (await use(armed)).status == 202
    await asyncio.to_thread(held.entered.wait, LONG_S)
    assert (await status(armed))["embedder"] == "bag-of-words:1"
    assert await armed.metric("lethe_embedder_changing") == 1
    assert await rung(armed, QUESTION) == "instruct"

    entries = (await armed.admin("GET", "/sets/art/entries")).body["data"]
    gone = next(entry["id"] for entry in entries if entry["texts"] == ["What is in box 3?"])
    quiet = next(entry["id"] for entry in entries if entry["texts"] == ["What is in box 4?"])
    await armed.forget("Which ship sank first?", id="both")
    assert (await armed.admin("DELETE", f"/sets/art/entries/{gone}")).status == 200
    assert (await armed.admin("PATCH", f"/sets/art/entries/{quiet}", {"state": "disabled"})).status == 200
    assert (await armed.admin("PATCH", "/sets/art", {"retain": ["What is in box 5?"]})).status == 200
    await armed.make_set("late", retain=["How long is a week?"])
    for owner in ("both", set_owner("art"), set_owner("late")):
        for model, width in (("bag-of-words:1", 256), ("bag-of-words:2", 96)):
            found = vectors(armed, owner, model)
            assert found is not None
            assert found.shape == (1, width)
    held.open()
    await settled(armed)

    asked = {"Which ship sank first?": "instruct", "What is in box 2?": "instruct"}
    asked |= {"What is in box 3?": "pass", "What is in box 4?": "pass", "What is in box 5?": "pass", HARMLESS: "pass"}
    assert {text: await rung(armed, text) for text in asked} == asked
    assert vectors(armed, gone, "bag-of-words:2") is None


async def test_requests_during_the_swap_are_decided_by_one_embedder_each(armed: Lethe, shelf: Shelf) -> None:
    """Two dimensions cannot be compared, so a mixture would be a fault; and no text may pass or be stopped wrongly."""
    await many(armed, 40)
    wrong: list[Any] = []
    ended = asyncio.Event()

    async def ask(number: int) -> None:
        turn = 0
        while not ended.is_set():
            turn += 1
            near = turn % 2 == 0
            text = f"What is in box {turn % 40}?" if near else f"How many days has week {number}.{turn}?"
            reply = await armed.admin("POST", "/check", {"text": text})
            if reply.status != 200 or (reply.body["rung"] == "pass") is near:
                wrong.append((text, reply.raw))

    asking = [asyncio.create_task(ask(number)) for number in range(4)]
    for path, name in ((NEW, "bag-of-words:2"), (None, "bag-of-words:1"), (NEW, "bag-of-words:2")):
        assert (await use(armed, path)).status in (200, 202)
        await settled(armed, name)
    ended.set()
    await asyncio.gather(*asking)
    assert not wrong
    assert await armed.metric("lethe_guard_faults_total") == 0


async def test_an_answer_in_flight_is_decided_anew_with_the_new_embedder(armed: Lethe, shelf: Shelf) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    armed.engine.answers(Say("The one "), Reached(reached), Wait(go_on), Say("who did it"))
    async with armed.streaming("Which ship sank first?") as response:
        await reached.wait()
        await use(armed)
        await settled(armed)
        await armed.forget("Which ship sank first?")
        go_on.set()
        raw = await asyncio.wait_for(response.content.read(), LONG_S)
    assert b"who did it" not in raw


async def test_an_answer_that_nothing_forbids_goes_on_through_the_swap(armed: Lethe, shelf: Shelf) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    armed.engine.answers(Say("The one "), Reached(reached), Wait(go_on), Say("who did it"))
    async with armed.streaming() as response:
        await reached.wait()
        await use(armed)
        await settled(armed)
        go_on.set()
        raw = await asyncio.wait_for(response.content.read(), LONG_S)
    assert Reply(200, {}, raw).text() == "The one who did it"


# -- what fails


@pytest.mark.parametrize(
    "body",
    [
        {"path": "/nowhere"},
        {"path": "relative"},
        {"url": "http://127.0.0.1:1"},
        {"url": "x", "model": "m"},
        {"url": "http://127.0.0.1:1", "model": "m"},
        {"path": NEW, "url": "http://127.0.0.1:1", "model": "m"},
        {"unknown": 1},
    ],
)
async def test_what_cannot_be_used_changes_nothing(armed: Lethe, shelf: Shelf, body: dict[str, str]) -> None:
    before = (await armed.admin("GET", "/generations")).body
    reply = await armed.admin("PUT", "/embedder", body)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert (await armed.admin("GET", "/generations")).body == before
    assert (await status(armed))["stage"] == "in force"


async def test_an_embedder_that_does_not_embed_is_not_chosen(armed: Lethe, shelf: Shelf) -> None:
    shelf.serving[NEW].fails = RuntimeError("the text")
    reply = await use(armed)
    assert reply.status == 400
    assert b"the text" not in reply.raw
    assert "does not embed (RuntimeError)" in reply.error["message"]


async def test_a_failure_on_the_way_leaves_the_former_in_force_and_is_made_good(armed: Lethe, shelf: Shelf) -> None:
    await many(armed, 20)
    shelf.background[NEW].fails = EmbedderError("the embedder at nowhere does not answer")
    assert (await use(armed, query=f"?wait=applied&timeout_s={LONG_S}")).status == 202
    found = await until(armed, lambda found: found["problem"] is not None)
    assert (found["embedder"], found["problem"]) == ("bag-of-words:1", "the embedder at nowhere does not answer")
    assert found["changing_to"] == {"embedder": "bag-of-words:2", "source": {"path": NEW}}
    assert await armed.metric("lethe_embedder_change_failures_total") >= 1
    assert await rung(armed, QUESTION) == "instruct"
    await armed.forget("Which ship sank first?")
    assert await rung(armed, "Which ship sank first?") == "instruct"
    shelf.background[NEW].fails = None
    await settled(armed)
    assert await rung(armed, "Which ship sank first?") == "instruct"
    assert (await status(armed))["problem"] is None


async def test_entries_are_added_although_the_coming_embedder_fails(armed: Lethe, shelf: Shelf) -> None:
    held = shelf.background[NEW].gate = Gate()
    await use(armed)
    await asyncio.to_thread(held.entered.wait, LONG_S)
    shelf.serving[NEW].fails = RuntimeError()
    await armed.forget("Which ship sank first?", id="late")
    assert vectors(armed, "late", "bag-of-words:2") is None
    assert await rung(armed, "Which ship sank first?") == "instruct"
    shelf.serving[NEW].fails = None
    held.open()
    await settled(armed)
    assert await rung(armed, "Which ship sank first?") == "instruct"


async def test_what_was_chosen_can_be_called_off(armed: Lethe, shelf: Shelf) -> None:
    held = shelf.background[NEW].gate = Gate()
    await use(armed)
    await asyncio.to_thread(held.entered.wait, LONG_S)
    assert (await use(armed, None)).status == 202
    held.open()
    await settled(armed, "bag-of-words:1")
    assert await rung(armed, QUESTION) == "instruct"
    assert await armed.metric("lethe_embedder_changing") == 0


# -- restarts


async def test_a_restart_on_the_way_serves_with_the_former_and_goes_on(
    engine: FakeVllm, state: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexes.follower.BUILT", 10)
    async with started(engine, state) as lethe:
        await lethe.make_set()
        await many(lethe, 40)
        shelf.background[NEW].fails_after = 16  # so that some pages are kept, and some are not
        await use(lethe)
        await until(lethe, lambda found: found["problem"] is not None)
    shelf.put(NEW)
    held = shelf.background[NEW].gate = Gate()
    async with started(engine, state) as lethe:
        assert (await status(lethe))["embedder"] == "bag-of-words:1"
        assert await rung(lethe, "What is in box 7?") == "instruct"
        held.open()
        await settled(lethe)
        assert await rung(lethe, "What is in box 7?") == "instruct"
        assert shelf.background[NEW].texts < 40  # what was made before the restart is not made again
    shelf.put(NEW)
    async with started(engine, state) as lethe:
        assert (await status(lethe))["embedder"] == "bag-of-words:2"
        assert await rung(lethe, "What is in box 7?") == "instruct"
        assert (shelf.background[NEW].calls, lethe.embedder.calls) == (0, 0)
        await use(lethe, None)
        await settled(lethe, "bag-of-words:1")
    async with started(
        engine, state, embedder=Another("bag-of-words:3", 128)
    ) as lethe:  # the configuration counts again
        assert (await status(lethe))["embedder"] == "bag-of-words:3"
        assert await rung(lethe, "What is in box 7?") == "instruct"


async def test_a_start_with_another_embedder_says_that_it_embeds_first(
    engine: FakeVllm, state: Path, log: list[dict[str, Any]]
) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set(retain=["How long is a week?"])
        await many(lethe, 12)
    async with started(engine, state, embedder=Another()) as lethe:
        assert await rung(lethe, "What is in box 7?") == "instruct"
        assert await rung(lethe, "How long is a week?") == "pass"
    said = [line for line in log if line["event"] == "embedding_before_start"]
    assert said[-1] | {"per_s": 0} == {
        "event": "embedding_before_start",
        "log_level": "warning",
        "note": "the ledger holds no vectors of this embedder for some entries",
        "embedder": "bag-of-words:2",
        "entries": "12 of 12",
        "per_s": 0,
        "left_s": 0,
    }


# -- sealed entries

SEALED_KEY = new_key()


async def test_sealed_entries_that_would_be_lost_are_counted_and_refused(
    engine: FakeVllm, state: Path, shelf: Shelf
) -> None:
    async with started(engine, state, {"ledger": {"sealing_key": SEALED_KEY}}) as lethe:
        await lethe.make_set()
        for number in range(3):
            await lethe.forget(f"What is in box {number}?", storage="sealed")
        await lethe.forget()
        before = (await lethe.admin("GET", "/generations")).body
        reply = await use(lethe)
        assert (reply.status, reply.error["type"]) == (409, "conflict_error")
        assert "3 sealed entries have no vectors of 'bag-of-words:2'" in reply.error["message"]
        assert (await lethe.admin("GET", "/generations")).body == before
        assert shelf.background[NEW].calls == 0


async def test_sealed_entries_of_the_time_of_a_change_have_vectors_of_both(
    engine: FakeVllm, state: Path, shelf: Shelf
) -> None:
    async with started(engine, state, {"ledger": {"sealing_key": SEALED_KEY}}) as lethe:
        await lethe.make_set()
        await lethe.forget()
        held = shelf.background[NEW].gate = Gate()
        await use(lethe)
        await asyncio.to_thread(held.entered.wait, LONG_S)
        shelf.serving[NEW].fails = RuntimeError()
        reply = await lethe.admin("POST", "/sets/art/entries", {"question": "Which ship sank?", "storage": "sealed"})
        assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")  # nobody could make its vectors later
        shelf.serving[NEW].fails = None
        await lethe.forget("Which ship sank first?", storage="sealed")
        held.open()
        await settled(lethe)
        assert await rung(lethe, "Which ship sank first?") == "instruct"
        await use(lethe, None)  # there are vectors of both, so the way back is open
        await settled(lethe, "bag-of-words:1")
        assert await rung(lethe, "Which ship sank first?") == "instruct"


# -- several processes


async def test_a_replica_swaps_when_it_can_and_is_waited_for(
    engine: FakeVllm, state: Path, shelf: Shelf, replicas_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"ledger": {"url": replicas_url, "poll_s": 0.1, "lease_s": 20, "sealing_key": SEALED_KEY}}
    async with (
        started(engine, state / "a", settings) as a,
        started(engine, state / "b", settings) as b,
    ):
        await a.make_set()
        await a.forget()
        blocked, really = asyncio.Event(), Embedders.named

        def named(self: Embedders, *args: Any, **more: Any) -> Embedder:
            if self is b.server.embedder._embedders and not blocked.is_set():
                raise EmbedderError("there is no such folder here")
            return really(self, *args, **more)

        monkeypatch.setattr(Embedders, "named", named)
        reply = await use(a, query="?wait=applied&timeout_s=1")
        assert (reply.status, reply.body["applied"]) == (202, False)
        found = await until(a, lambda found: found["stage"] == "waiting for other processes")
        assert (found["embedder"], found["behind"]) == ("bag-of-words:2", 1)
        found = await until(b, lambda found: found["problem"] is not None)
        assert (found["embedder"], found["problem"]) == ("bag-of-words:1", "there is no such folder here")

        refused = await b.admin("POST", "/sets/art/entries", {"question": "Who sank it?", "storage": "sealed"})
        assert refused.status == 409
        assert "another embedder was chosen" in refused.error["message"]
        sealed = {"question": "Which ship sank first?", "storage": "sealed"}
        for server, body in ((a, sealed), (b, {"question": "Who lives in box 7?"})):
            added = await server.admin("POST", f"/sets/art/entries?wait=applied&timeout_s={LONG_S}", body)
            assert (added.status, added.body["applied"], added.body["members"]) == (201, True, 2)
        asked = (QUESTION, "Which ship sank first?", "Who lives in box 7?")
        assert {await rung(server, text) for server in (a, b) for text in asked} == {"instruct"}

        blocked.set()
        await settled(a)
        await settled(b)
        assert {await rung(server, text) for server in (a, b) for text in asked} == {"instruct"}
        actions = [change["action"] for change in (await a.admin("GET", "/audit")).body["data"]]
        assert [actions.count(action) for action in ("embedder.use", "embedder.in-force")] == [1, 1]
    async with started(engine, state / "b", settings) as b:
        assert (await status(b))["embedder"] == "bag-of-words:2"
