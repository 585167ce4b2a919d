"""Builds a forget index in memory from rows and measures which share of a text set the gate flags.

The code is the server's own: entries as `forget add` makes them, `Reader`, `Generation.matches` and the chain of guards
with the default policy.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from evals.metrics.intervals import wilson
from guards.chain import Chain
from guards.model import Signals
from guards.policy import DEFAULT_POLICY, Policy
from indexes.calibration import DEFAULT_WEIGHTS
from indexes.embedder import Embedder
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.reading import Reader
from indexes.told import cues

SET = "eval"
BATCH = 32  # texts whose windows are embedded together
SHOWN = 10  # mistakes listed for each set


@dataclass(frozen=True, slots=True)
class Outcome:
    """One set of texts: how many were flagged, and the first mistakes."""

    name: str
    expected: bool
    n: int
    flagged: int
    mistakes: tuple[dict[str, Any], ...]

    def figures(self) -> dict[str, Any]:
        low, high = wilson(self.flagged, self.n)
        return {
            "name": self.name,
            "kind": "positive" if self.expected else "negative",
            "n": self.n,
            "flagged": self.flagged,
            "share": round(self.flagged / self.n, 5) if self.n else None,
            "interval95": [round(low, 5), round(high, 5)],
            "mistakes": list(self.mistakes),
        }


class GateUnderTest:
    """A gate over entries made from rows."""

    def __init__(self, embedder: Embedder, policy: Policy = DEFAULT_POLICY) -> None:
        self._embedder = embedder
        self._reader = Reader(embedder)
        self._policy = policy
        self._index = ForgetIndex(embedder.dimensions)
        self._entries = 0

    def retain(self, texts: Sequence[str]) -> None:
        """Texts that must pass although they are near. Once, before `forget`."""
        self._index.put_set(ForgetSet(SET, retain=tuple(texts)), self._embedder.embed(list(texts)), 1)

    def forget(self, facts: Sequence[tuple[str, str]], done: Callable[[int], None] = lambda n: None) -> None:
        """Adds a fact for each question with its answer."""
        for question, answer in facts:
            self._entries += 1
            answers = (answer,) if answer.strip() else ()
            self._put(Entry(f"e{self._entries}", SET, Kind.FACT, texts=(question,), answers=answers))
            done(1)
        self._index.publish(1)

    def put(self, entries: Sequence[Entry], done: Callable[[int], None] = lambda n: None) -> None:
        """Adds entries as they are, whatever set they came from."""
        for entry in entries:
            self._entries += 1
            self._put(replace(entry, set_id=SET))
            done(1)
        self._index.publish(1)

    def _put(self, entry: Entry) -> None:
        self._index.put_entry(entry, self._embedder.embed(cues(entry)), 1)

    @property
    def generation(self) -> Generation:
        return self._index.current

    def settings(self) -> dict[str, Any]:
        """What the figures were made with."""
        return {
            "entries": self._entries,
            "embedder": self._embedder.name,
            "threshold": self._policy.threshold,
            "margin": self._policy.margin,
            "weights": asdict(DEFAULT_WEIGHTS),
        }

    def measure(
        self, name: str, texts: Sequence[str], *, expected: bool, done: Callable[[int], None] = lambda n: None
    ) -> Outcome:
        """The share of texts that is flagged. `expected`: whether they should be."""
        generation = self._index.current
        chain = Chain.of(generation.sets.values(), self._policy)
        flagged = 0
        mistakes: list[dict[str, Any]] = []
        for text, signals in self._signals(texts, generation):
            armed = chain.decide(signals).armed
            flagged += armed
            if armed is not expected and len(mistakes) < SHOWN:
                mistakes.append(_mistake(text, signals))
            done(1)
        return Outcome(name, expected, len(texts), flagged, tuple(mistakes))

    def pairs(
        self, texts: Sequence[str], lowest: float, done: Callable[[int], None] = lambda n: None
    ) -> list[tuple[tuple[float, float], ...]]:
        """(score, retain score) of the matches of each text; those of `lowest` and more are complete."""
        found = []
        for _, signals in self._signals(texts, self._index.current, lowest):
            found.append(tuple((match.score, match.retain_score) for match in signals.matches))
            done(1)
        return found

    def _signals(
        self, texts: Sequence[str], generation: Generation, lowest: float | None = None
    ) -> Iterator[tuple[str, Signals]]:
        waiting = iter(texts)
        while batch := list(islice(waiting, BATCH)):
            read = self._reader.read(batch)
            _, found = self._reader.matched(read, generation, lowest or self._policy.threshold)
            for text, matches in zip(batch, found, strict=True):
                yield text, Signals(tuple(matches))


def _mistake(text: str, signals: Signals) -> dict[str, Any]:
    best = max(signals.matches, key=lambda match: match.score, default=None)
    if best is None or best.terms is None:
        return {"text": text, "score": None}
    shown = {"text": text, "score": round(best.score, 3), "via": best.via.value, "terms": best.terms.shown()}
    return shown | {"entry": best.entry_id, "retain": round(best.retain_score, 3)}
