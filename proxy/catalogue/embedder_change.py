"""Changes the embedder while the server serves.

What is chosen stands in the ledger, and every process brings itself to it: it embeds what has no vectors of the new
embedder yet, in a thread of its own that gives way to requests, builds a second index, and puts both in force in one
step. Until then the former serves, and whatever is added gets vectors of both. All processes share the embedding, and
each keeps page by page what it made: a process that is killed costs a page.

A failure leaves the former embedder in force; it is counted, shown in the status, and tried again.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from random import Random
from threading import Event
from typing import Any

import structlog

from indexes.embedder import Embedder, EmbedderError
from indexes.follower import IndexFollower
from indexes.forget_index import ForgetIndex
from indexes.ledger.records import CHOICES, Conflict, Ledger, LedgerError
from proxy.catalogue.choice import CONFIGURED, Choice, Embedders, Named, Source
from proxy.catalogue.enforcing import Enforcing, Standing
from proxy.catalogue.pace import Pace
from proxy.catalogue.patient import Patient, Stopped
from proxy.metrics import Metrics
from proxy.reading import Reading
from proxy.workers.following import Following, uses

LOOK_S = 0.1  # between looks at whether the others have swapped
RETRY_S = 10.0
CATCH_UPS = 3  # before the swap, so that little is left for it

_log = structlog.get_logger("lethe.embedder")


class Stage(StrEnum):
    """How far a change has come in this process."""

    IN_FORCE = "in force"
    EMBEDDING = "embedding"
    OTHERS = "waiting for other processes"
    FAILED = "failed, will be tried again"


class EmbedderChange:
    """Owns the thread. One for a process; `run` is its task."""

    def __init__(
        self,
        enforcing: Enforcing,
        embedders: Embedders,
        in_force: Named,
        metrics: Metrics,
        *,
        following: Following | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`busy` tells whether a request waits for the embedder in force."""
        self._enforcing = enforcing
        self._embedders = embedders
        self._metrics = metrics
        self._following = following
        self._busy = busy
        self._in_force = in_force
        self._thread = ThreadPoolExecutor(1, "embedder-change")
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._stop = Event()
        self._under_way: Named | None = None
        self._pace = Pace()
        self._stage, self._problem, self._behind = Stage.IN_FORCE, "", 0
        enforcing.on_documents.append(self._look)

    async def close(self) -> None:
        """Gives up what is under way; the next start goes on with it."""
        self._stop.set()
        await self._loop.run_in_executor(None, self._thread.shutdown, True)

    # -- for the admin API

    async def use(self, source: Source, *, actor: str) -> int:
        """Chooses an embedder for all processes on the ledger; the generation of the choice.

        Raises EmbedderError where it cannot be used, and Conflict where sealed entries have no vectors of it: then
        nothing has changed.
        """
        name = await self._loop.run_in_executor(None, self._embedders.tried, source)
        chosen = Named(name, source)

        def commit(ledger: Ledger) -> int:
            def change(documents: dict[str, str]) -> dict[str, str]:
                if lost := ledger.sealed_without(name):
                    raise Conflict(
                        f"{lost} sealed entries have no vectors of '{name}', and no text to make them of: remove them, "
                        "or import them again, unsealed or after the change; nothing was changed"
                    )
                former = Choice.of({CHOICES: documents})
                settled = name == self._in_force.embedder and (former is None or former.before is None)
                return Choice(chosen, None if settled else self._in_force).documents()

            generation = ledger.change_documents(CHOICES, change, actor=actor, action="embedder.use")
            self._problem = ""  # it was of another choice, or is worth another try
            self._enforcing.enforce(generation, None)
            return generation

        return await self._enforcing.change(commit)

    async def applied(self, timeout_s: float) -> bool:
        """Waits until all processes use what was chosen, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.settled and self._stage is not Stage.FAILED:  # noqa: ASYNC110 - it may take minutes
                    await asyncio.sleep(LOOK_S / 4)
        return self.settled

    @property
    def settled(self) -> bool:
        """True when nobody uses another embedder than the chosen one."""
        choice = self._choice
        if choice is None:
            return self._in_force.source == CONFIGURED
        return choice.before is None and choice.chosen.embedder == self._in_force.embedder

    def status(self) -> dict[str, Any]:
        """How far it has come, as the admin API shows it."""
        reading, choice = self._enforcing.reading, self._choice
        stage = Stage.IN_FORCE
        if not self.settled:  # the task may not have begun yet
            stage = Stage.EMBEDDING if self._stage is Stage.IN_FORCE else self._stage
        shown: dict[str, Any] = {
            "embedder": reading.embedder.name,
            "dimensions": reading.embedder.dimensions,
            "source": self._in_force.source.shown(),
            "stage": stage.value,
            "changing_to": None,
            "problem": self._problem or None,
        }
        if choice is None or stage is Stage.IN_FORCE:
            return shown
        shown["changing_to"] = {"embedder": choice.chosen.embedder, "source": choice.chosen.source.shown()}
        if stage is Stage.EMBEDDING:
            pace = self._pace
            shown["progress"] = {
                "entries": pace.read,
                "of": pace.total,
                "per_s": round(pace.rate, 1),
                "left_s": None if pace.left_s is None else round(pace.left_s, 1),
            }
        elif stage is Stage.OTHERS:
            shown["behind"] = self._behind
        return shown

    # -- the task

    async def run(self) -> None:
        """Brings this process to what is chosen, until it is cancelled."""
        while True:
            self._woken.clear()
            pause = await self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _step(self) -> float | None:
        """Does what is to be done; returns how long to wait before the next look, None: until something changes."""
        choice = self._choice
        self._metrics.embedder_changing.set(not self.settled)
        try:
            if choice is None:
                return await self._return()
            if choice.chosen.embedder != self._in_force.embedder:
                return await self._bring(choice.chosen)
            return await self._settle(choice)
        except Stopped:
            return 0
        except Exception as error:  # whatever it was: the former embedder is in force, and goes on serving
            told = isinstance(error, EmbedderError | LedgerError)
            self._problem = str(error) if told else f"the new embedder failed ({type(error).__name__})"
            self._stage = Stage.FAILED
            self._metrics.embedder_failures.inc()
            _log.error("embedder_change_failed", problem=self._problem)
            return RETRY_S
        finally:
            self._under_way = None

    async def _return(self) -> float | None:
        """Nothing is chosen: the configured embedder it is, which this process left for one that no longer is."""
        if self._in_force.source != CONFIGURED:
            name = await self._loop.run_in_executor(None, self._embedders.tried, CONFIGURED)
            return await self._bring(Named(name, CONFIGURED))
        self._enforcing.also = ()
        self._stage, self._problem = Stage.IN_FORCE, ""
        return None

    async def _bring(self, chosen: Named) -> float:
        """Puts the chosen embedder in force in this process."""
        former, self._pace, self._stage = self._in_force, Pace(), Stage.EMBEDDING
        self._stop.clear()
        self._under_way = chosen
        if not self._wanted(chosen):  # it was replaced before `_look` could see it
            return 0
        _log.info("embedder_change_began", embedder=chosen.embedder)
        try:
            embedder, index = await self._loop.run_in_executor(self._thread, self._built, chosen)
            own = self._enforcing.reading.embedder

            def swap(ledger: Ledger) -> None:
                follower = IndexFollower(ledger, index, embedder)
                self._enforcing.swap(Standing(Reading(embedder), index, follower))
                self._enforcing.also = (own,)  # for those that still use it
                self._in_force = chosen

            await self._enforcing.ask(swap)
        except BaseException:
            self._enforcing.also = ()
            raise
        _log.info("embedder_swapped", embedder=chosen.embedder, former=former.embedder, embedded=self._pace.embedded)
        if self._following is not None:
            await self._following.tell()
        return 0

    async def _settle(self, choice: Choice) -> float | None:
        """Ends the change when no process uses another embedder any more."""
        if choice.before is not None:
            members = [] if self._following is None else await self._following.members()
            others = [one for one in members if self._following is None or one.id != self._following.id]
            self._behind = sum(uses(choice.chosen.embedder) not in member.holds for member in others)
            if self._behind:
                self._stage = Stage.OTHERS
                return LOOK_S
            await self._enforcing.change(lambda ledger: self._ended(ledger, choice))
        self._enforcing.also = ()
        self._stage, self._problem = Stage.IN_FORCE, ""
        self._metrics.embedder_changing.set(False)
        return None

    def _ended(self, ledger: Ledger, choice: Choice) -> None:
        """Nobody needs the former one any more: the ledger says so, once."""

        def change(documents: dict[str, str]) -> dict[str, str]:
            now = Choice.of({CHOICES: documents})
            return Choice(choice.chosen).documents() if now == choice else documents

        generation = ledger.change_documents(CHOICES, change, actor="embedder", action="embedder.in-force")
        self._enforcing.enforce(generation, None)

    @property
    def _choice(self) -> Choice | None:
        return Choice.of(self._enforcing.documents)

    def _wanted(self, embedder: Named) -> bool:
        choice = self._choice
        return embedder.source == CONFIGURED if choice is None else choice.chosen == embedder

    def _look(self) -> None:
        """The documents have changed, or may have. From any thread."""
        if self._under_way is not None and not self._wanted(self._under_way):
            self._stop.set()
        self._loop.call_soon_threadsafe(self._woken.set)

    # -- in a thread of its own

    def _built(self, chosen: Named) -> tuple[Embedder, ForgetIndex]:
        """The chosen embedder, and an index of its vectors that is at most a moment behind the ledger."""
        embedder = self._embedders.named(chosen)
        self._enforcing.also = (embedder,)
        patient = Patient(self._embedders.named(chosen, threads=1), self._busy, self._stop)
        ledger = self._enforcing.beside()
        try:
            standing = Standing.on(ledger, Reading(patient), self._enforcing.sealing)
            standing.follower.build(self._pace.tell, Random())  # noqa: S311 - an order of its own, not a secret
            for _ in range(CATCH_UPS):
                standing.follower.catch_up()
            return embedder, standing.index
        finally:
            ledger.close()
