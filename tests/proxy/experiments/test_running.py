"""Experiments of a ledger: one runs at a time in all processes, each request counts once, rails stop what all count."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from indexes.ledger.records import Ledger, LedgerError, Observation, Per, Tally
from indexes.ledger.sqlite import SqliteLedger
from proxy.catalogue.enforcing import Enforcing
from proxy.catalogue.shared import Shared
from proxy.errors import Conflicting, NotFound
from proxy.experiments.definition import Experiment, GuardRail, Metric, Unit
from proxy.experiments.results import breached, results
from proxy.experiments.running import Experiments
from proxy.experiments.stored import Stored, read
from proxy.keys import ANONYMOUS
from proxy.metrics import Metrics
from proxy.reading import Reading
from tests.fakes.embedder import BagEmbedder

AT = "2026-01-01T00:00:00+00:00"
EXPERIMENT = Experiment(id="e", arms={"guarded": 1, "strict": 1})
OTHER = Experiment(id="other", arms={"guarded": 1})
EVERY = dict.fromkeys(Metric, 0.0)
KEY = b"k" * 32


class Process:
    """What a worker has of a ledger that it shares."""

    def __init__(self, ledger: Ledger) -> None:
        self.enforcing = Enforcing(ledger, Reading(BagEmbedder(dimensions=8)), Metrics(), anonymous=True, sealing=None)
        self.experiments = Experiments(Shared(self.enforcing), KEY)

    def sees(self, session: str, arm: str, outcome: str = "answered", seconds: float = 0.1) -> None:
        """A request of a session ends."""
        exchange: Any = SimpleNamespace(
            arm=arm,
            arm_chosen=False,
            outcome=outcome,
            seconds=seconds,
            tokens=8,
            caller=ANONYMOUS,
            call=SimpleNamespace(body={"user": session}),
        )
        self.experiments.saw(exchange, {})


@asynccontextmanager
async def processes(path: Path, number: int = 2) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        ledgers = [SqliteLedger(path / "ledger.db", locked=place > 0) for place in range(number)]
        found = [Process(ledger) for ledger in ledgers]
        for process in found:
            await process.enforcing.start()
            stack.push_async_callback(process.enforcing.close)
        yield found


def sessions(arm: str, number: int, experiment: Experiment) -> list[str]:
    """So many that get an arm."""
    names = (f"s{i}" for i in range(10_000))
    return [name for name in names if experiment.arm_of(f"user:anonymous:{name}") == arm][:number]


async def refuses(call: Callable[[], Awaitable[Any]], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        await call()


async def test_one_experiment_runs_at_a_time_whoever_starts_it(tmp_path: Path) -> None:
    async with processes(tmp_path) as (a, b):
        await a.experiments.start(EXPERIMENT, "ann")
        await refuses(
            lambda: b.experiments.start(OTHER, "bob"), Conflicting, "'e' is running"
        )  # b has not followed yet
        await b.enforcing.follow()
        assert b.experiments.running == EXPERIMENT
        await b.experiments.stop("e", "enough", "bob")
        assert a.experiments.running == EXPERIMENT
        await a.enforcing.follow()
        assert a.experiments.running is None
        await refuses(lambda: a.experiments.stop("e", "again", "ann"), Conflicting, "not running")
        await refuses(lambda: a.experiments.start(EXPERIMENT, "ann"), Conflicting, "choose another id")
        await a.experiments.start(OTHER, "ann")
        assert [(one.experiment.id, one.reason) for one in a.experiments.all()] == [("other", None), ("e", "enough")]


async def test_only_a_stopped_experiment_can_be_removed(tmp_path: Path) -> None:
    async with processes(tmp_path, 1) as (a,):
        await a.experiments.start(EXPERIMENT, "ann")
        await refuses(lambda: a.experiments.remove("e", "ann"), Conflicting, "stop it first")
        await refuses(lambda: a.experiments.remove("other", "ann"), NotFound, "no experiment 'other'")
        await a.experiments.stop("e", "", "ann")
        await a.experiments.remove("e", "ann")
        assert a.experiments.all() == []


async def test_traffic_of_all_processes_counts_once(tmp_path: Path) -> None:
    experiment = EXPERIMENT.model_copy(update={"unit": Unit.USER})
    strict = sessions("strict", 3, experiment)
    async with processes(tmp_path) as (a, b):
        await a.experiments.start(experiment, "ann")
        await b.enforcing.follow()
        for process in (a, b):
            for session in strict:
                process.sees(session, "strict", "refused")
            process.sees(strict[0], "guarded")  # not its arm: it began under another experiment
        await asyncio.gather(*(one.experiments.flush() for one in (a, b, a, b)))
        for process in (a, b):
            shown = (await process.experiments.report("e"))["arms"]
            assert (shown["strict"]["requests"], shown["strict"]["units"]) == (6, 3)
            assert shown["strict"]["metrics"]["refused"]["mean"] == 1
            assert shown["guarded"]["requests"] == 0


async def test_clients_that_give_up_waiting_are_counted_as_slow(tmp_path: Path) -> None:
    """Left out, an arm that hangs would look as fast as those who wait for it are few."""
    experiment = EXPERIMENT.model_copy(update={"unit": Unit.USER})
    (session,) = sessions("strict", 1, experiment)
    async with processes(tmp_path, 1) as (a,):
        await a.experiments.start(experiment, "ann")
        a.sees(session, "strict", "left", seconds=experiment.slow_after_s + 1)
        a.sees(session, "strict", "left")
        a.sees(session, "strict")
        metrics = (await a.experiments.report("e"))["arms"]["strict"]["metrics"]
    assert {name: round(found["of_requests"], 3) for name, found in metrics.items()} == {
        "refused": 0.0,
        "cut": 0.0,
        "failed": 0.0,
        "left": 0.667,
        "slow": 0.333,
        "length": 0.008,
    }


async def test_a_rail_is_crossed_by_what_all_have_seen_and_holds_for_all(
    tmp_path: Path,
) -> None:
    rail = GuardRail(arm="strict", metric=Metric.REFUSED, at_most=0.2)
    experiment = EXPERIMENT.model_copy(update={"unit": Unit.USER, "guard_rails": (rail,)})
    (session,) = sessions("strict", 1, experiment)
    async with processes(tmp_path) as (a, b):
        await a.experiments.start(experiment, "ann")
        await b.enforcing.follow()
        for _ in range(2):  # neither alone has seen enough
            a.sees(session, "strict", "refused")
        await a.experiments.flush()
        assert a.experiments.running is not None
        for _ in range(2):
            b.sees(session, "strict", "refused")
        await b.experiments.flush()
        assert b.experiments.running is None
        await a.enforcing.follow()
        assert a.experiments.running is None
        shown = await a.experiments.report("e")
        assert (shown["state"], shown["reason"]) == ("stopped", "refused of arm 'strict' is above 0.2")
        log = await a.enforcing.ask(lambda ledger: ledger.changes(0, 10))
        assert [(change.actor, change.action) for change in log] == [
            ("ann", "experiment.start e"),
            ("guard-rail", "experiment.stop e"),
        ]


async def test_what_was_seen_of_an_experiment_that_is_over_is_its_own(tmp_path: Path) -> None:
    experiment = EXPERIMENT.model_copy(update={"unit": Unit.USER})
    (session,) = sessions("guarded", 1, experiment)
    async with processes(tmp_path) as (a, b):
        await a.experiments.start(experiment, "ann")
        await b.enforcing.follow()
        b.sees(session, "guarded")
        await a.experiments.stop("e", "", "ann")
        await a.experiments.start(OTHER, "ann")
        await b.enforcing.follow()
        await b.experiments.flush()
        assert (await b.experiments.report("e"))["arms"]["guarded"]["requests"] == 1
        assert (await b.experiments.report("other"))["arms"]["guarded"]["requests"] == 0


async def test_what_cannot_be_written_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(tmp_path, 1) as (a,):
        await a.experiments.start(OTHER, "ann")

        def full(*_: object) -> bool:
            raise LedgerError("no space")

        with monkeypatch.context() as patch:
            patch.setattr(SqliteLedger, "observe", full)
            a.sees("s", "guarded")
            await refuses(a.experiments.flush, LedgerError, "no space")
            await a.experiments.close()
        assert (await a.experiments.report("other"))["arms"]["guarded"]["requests"] == 1


def test_an_experiment_is_read_as_it_was_written() -> None:
    for stored in (Stored(EXPERIMENT, AT), Stored(EXPERIMENT, AT, AT, "enough")):
        assert read(stored.body()) == stored


def test_the_report_says_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.change_documents("experiments", lambda _: {"e": "{}"}, actor="ann", action="x")
    for i in range(600):
        arm = "strict" if i % 2 else "guarded"
        values = EVERY | {Metric.REFUSED: float(arm == "strict" and i % 4 == 1)}
        ledger.observe("experiments", "e", [Observation(arm, values, str(i))] * 2)
    shown = results(Stored(EXPERIMENT, AT), ledger.tallies("experiments", "e"))
    ledger.close()
    strict = shown["arms"]["strict"]
    assert (strict["units"], strict["requests"]) == (300, 600)
    assert strict["metrics"]["refused"]["mean"] == 0.5
    assert strict["metrics"]["refused"]["from_control"]["verdict"] == "higher"
    assert strict["metrics"]["cut"]["from_control"]["verdict"] == "not known"
    assert "from_control" not in shown["arms"]["guarded"]["metrics"]["cut"]


def test_a_guard_rail_is_crossed_with_confidence_or_not_at_all() -> None:
    rail = GuardRail(arm="strict", metric=Metric.REFUSED, at_most=0.1)
    experiment = EXPERIMENT.model_copy(update={"guard_rails": (rail,)})
    key = ("strict", Per.REQUEST, Metric.REFUSED)
    assert breached(experiment, {}) is None
    assert breached(experiment, {key: Tally(3, 1.0)}) is None  # above, but who knows
    assert breached(experiment, {key: Tally(300, 100.0)}) is rail
    assert breached(EXPERIMENT, {key: Tally(300, 100.0)}) is None
