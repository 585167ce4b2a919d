"""The forget index: the structures that generations are views of, and the one writer that appends to them.

Everything is stamped: an entry takes a *slot* that says in which generation it was born, and a removal or change
records in which generation the slot died (a changed entry takes a new slot). No locks on the read path: the writer only
appends, and publishes by replacing one reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from indexes.calibration import DEFAULT_WEIGHTS, Weights
from indexes.entries import Entry, ForgetSet, State
from indexes.generation import Generation
from indexes.growing import GrowingVectors
from indexes.names.details import packed
from indexes.names.found import marks_of
from indexes.names.frozen import NO_NAMES, FrozenNames
from indexes.names.table import NameTable
from indexes.neighbours import Neighbours
from indexes.phrases import FrozenPhrases, PhraseTable
from indexes.retain import RetainExamples
from indexes.rows import FrozenRows, RowTable
from indexes.sealed.kept import Sealed
from indexes.sealed.keys import NO_KEY, SealError, SealingKeys
from indexes.sealed.lookup import SealedPhraseTable
from indexes.secret import packed_secret
from indexes.slots import FrozenSlots, Slot, SlotTable
from indexes.told import told_by
from indexes.vectors import VectorRows, Vectors
from indexes.words import words_of


@dataclass(frozen=True, repr=False)
class Base:
    """What an index begins with, in arrays: everything of one generation but its sets."""

    number: int = 0
    lowest_threshold: float = 1.0
    slots: FrozenSlots | None = None
    rows: FrozenRows | None = None
    heard: FrozenNames = NO_NAMES
    names: FrozenPhrases | None = None
    found: FrozenPhrases | None = None
    phrases: FrozenPhrases | None = None
    blocks: tuple[VectorRows, ...] = ()


def _slot_of(entry: Entry, generation: int) -> Slot:
    """The index keeps no text."""
    return Slot(
        entry.id,
        entry.set_id,
        entry.kind,
        entry.state,
        entry.storage,
        entry.threshold,
        entry.raised,
        generation,
        packed_secret(entry),
    )


class ForgetIndex:
    """Owns the structures behind generations. `apply` methods are for one writer; `current` is for everyone."""

    def __init__(
        self,
        dimensions: int,
        weights: Weights = DEFAULT_WEIGHTS,
        sealing: SealingKeys | None = None,
        base: "Base | None" = None,
    ) -> None:
        """`sealing` are the keys of sealed entries, where there may be any. A `base` is where it begins."""
        self._sealing = sealing
        self._weights = weights
        self._retain: dict[str, RetainExamples] = {}  # replaced, never changed: generations hold it
        self._sets: dict[str, ForgetSet] = {}
        base = base if base is not None else Base()
        self._vectors = GrowingVectors(dimensions, blocks=base.blocks)
        self._began = base.number
        self._condensed = 0
        self._begin(base)
        self.current = self._publish(base.number)

    def _begin(self, base: "Base") -> None:
        table = PhraseTable if self._sealing is None else partial(SealedPhraseTable, self._sealing)
        self._lowest_threshold = base.lowest_threshold
        self._slots = SlotTable(base.slots)
        self._rows = RowTable(base.rows)
        self._heard = NameTable(base.heard)
        self._names = table(base.names)
        self._found = table(base.found)
        self._phrases = table(base.phrases)

    @property
    def began(self) -> int:
        """The generation that it began with; 0 where that was nothing."""
        return self._began

    @property
    def unsettled(self) -> int:
        """How many entries were put or dropped since it began."""
        return self._condensed + self._slots.added + self._slots.gone

    @property
    def gone(self) -> int:
        """How many entries are gone of what it holds: changed, removed, or of a set that was."""
        return len(self._slots) - self._slots.living

    def base(self) -> "Base":
        """What is published, in arrays. Not while something is applied that is not."""
        return self._frozen(self._vectors.view().blocks())

    def settle(self) -> None:
        """Puts vectors as they are best searched, which may take long."""
        self._vectors.gather()

    def condense(self, at_least: int = 1) -> None:
        """Puts what was applied in arrays, where so many slots are not: they take a tenth of the memory.

        Generations in force keep what they hold, so this is for an index that is being built.
        """
        if self._slots.added >= at_least:
            self._condensed = self.unsettled
            self._begin(self._frozen(()))

    def _frozen(self, blocks: tuple[VectorRows, ...]) -> "Base":
        return Base(
            number=self.current.number,
            lowest_threshold=self._lowest_threshold,
            slots=self._slots.frozen(),
            rows=self._rows.frozen(),
            heard=self._heard.frozen(),
            names=self._names.frozen(),
            found=self._found.frozen(),
            phrases=self._phrases.frozen(),
            blocks=blocks,
        )

    def put_entry(self, entry: Entry, vectors: Vectors, generation: int) -> None:
        """Adds an entry, or replaces it. `vectors` are the embeddings of `cues(entry)`. Not seen before `publish`.

        Raises ValueError, and changes nothing, for vectors of another width: rows and their slots must stay in step.
        """
        if len(vectors) and vectors.shape[1] != self._vectors.dimensions:
            raise ValueError(f"vectors have {vectors.shape[1]} numbers, those of the index {self._vectors.dimensions}")
        self.drop_entry(entry.id, generation)
        if entry.state is State.DISABLED:
            return
        self._lowest_threshold = min(self._lowest_threshold, entry.threshold or 1.0)
        slot = self._slots.add(_slot_of(entry, generation))
        if entry.sealed is not None:
            self._put_sealed(entry.sealed, slot, vectors)
            return
        told = told_by(entry)
        self._put_rows(slot, told.details, vectors)
        for phrase in told.names:
            self._names.add(phrase, slot)
        for name in entry.names:
            self._heard.add([word.text for word in words_of(name)], slot, given=True)
        self._heard.add_found(told.found, slot)
        for phrase in (*told.titles, *told.dated):
            self._found.add(phrase, slot)
        for phrase in told.phrases:
            self._phrases.add(phrase, slot)

    def _put_rows(self, slot: int, details: Sequence[bytes], vectors: Vectors) -> None:
        self._rows.add(slot, details if len(details) == len(vectors) else [b""] * len(vectors))
        self._vectors.add(vectors)

    def _put_sealed(self, sealed: Sealed, slot: int, vectors: Vectors) -> None:
        """Raises SealError where there are no keys to recognise it by."""
        self._put_rows(slot, sealed.details, vectors)
        for table, phrases in (
            (self._names, sealed.names),
            (self._found, sealed.found),
            (self._phrases, sealed.phrases),
        ):
            if not isinstance(table, SealedPhraseTable):
                raise SealError(NO_KEY)
            table.add_sealed(phrases, slot)

    def drop_entry(self, entry_id: str, generation: int) -> None:
        """Removes an entry, if it is there."""
        self._slots.drop(entry_id, generation)

    def put_set(self, forget_set: ForgetSet, retain: Vectors | None, generation: int) -> None:
        """Adds or replaces a set. `retain` are the embeddings of its retain examples; None leaves them as they are.

        Not seen before `publish`.
        """
        self._sets = {**self._sets, forget_set.id: forget_set}
        if retain is not None:
            details = tuple(packed(text, marks_of(text)) for text in forget_set.retain)
            fitting = details if len(details) == len(retain) else (b"",) * len(retain)
            self._retain = {**self._retain, forget_set.id: RetainExamples(retain, fitting)}

    def drop_set(self, set_id: str, generation: int) -> None:
        """Removes a set with its entries."""
        self._sets = {k: v for k, v in self._sets.items() if k != set_id}
        self._retain = {k: v for k, v in self._retain.items() if k != set_id}
        for entry_id in self._slots.of_set(set_id):
            self.drop_entry(entry_id, generation)

    def publish(self, generation: int) -> Generation:
        """Makes everything applied so far visible as one generation."""
        self.current = self._publish(generation)
        return self.current

    def _publish(self, generation: int) -> Generation:
        observed = frozenset(name for name, one in self._sets.items() if _only_observes(one))
        kinds = (False, True) if self._lowest_threshold < 1.0 else (False,)  # with a threshold of their own, too
        acting = {(name, own) for name in self._sets.keys() - observed for own in kinds}
        return Generation(
            number=generation,
            sets=MappingProxyType(self._sets),
            entry_count=self._slots.living,
            lowest_threshold=self._lowest_threshold,
            observed=observed,
            _slots=self._slots,
            _view=self._vectors.view(),
            _rows=self._rows,
            _neighbours=Neighbours(self._rows, self._slots, generation, acting),
            _retain=self._retain,
            _names=self._names,
            _heard=self._heard,
            _phrases=self._phrases,
            _weights=self._weights,
            _found=self._found,
            _sealing=self._sealing,
        )


def _only_observes(forget_set: ForgetSet) -> bool:
    """True where a set's own policy acts on nothing, whatever the global one says."""
    return forget_set.policy.get("on_match") in ("observe", ["observe"], ("observe",))
