"""Generations: what a reader sees of the forget index while it changes.

The index is append-only and stamped: every entry takes a *slot* that says in which generation it was born, and a
removal or change records in which generation the slot died (a changed entry takes a new slot). A `Generation` is a
number and a set of bounds over these structures, so making one costs nothing, and a reader keeps what it began with.

One writer (`ForgetIndex`), any number of readers, no locks on the read path: the writer only appends, and
publishes by replacing one reference.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from types import MappingProxyType

import numpy as np

from indexes.calibration import DEFAULT_WEIGHTS, NO_DETAILS, Terms, Weights, terms_of
from indexes.entries import Entry, ForgetSet, State, Storage
from indexes.growing import GrowingVectors
from indexes.matches import Match, Via
from indexes.names.details import packed
from indexes.names.found import marks_of
from indexes.names.frozen import NO_NAMES, FrozenNames
from indexes.names.table import NameHit, NameTable
from indexes.phrases import FrozenPhrases, Hit, PhraseTable, PhraseWalk
from indexes.retain import RetainExamples, RetainScores
from indexes.scan import Scan, sharper
from indexes.sealed import NO_KEY, Sealed, SealedPhraseTable, SealError, SealingKeys, hidden_words
from indexes.secret import packed_secret, unpacked_secret
from indexes.slots import FrozenRows, FrozenSlots, RowTable, Slot, SlotTable
from indexes.told import cues as cues  # noqa: PLC0414 - part of what an index offers
from indexes.told import told_by
from indexes.vectors import VectorRows, Vectors, VectorView
from indexes.words import words_of

NEIGHBOURS = 16
"""Rows of active entries looked at per window. Rows of removed entries and of those in `observe` come on top, so that
they hide nothing however many there are."""

FLOOR = 0.3
"""Similarities below this are noise for every encoder measured and are not reported."""

DETAILED = 0.45
"""Similarity from which details are compared: below, no number of them reaches a threshold."""

NAMED = 64
"""Entries of one name that are reported for a text: any of them is enough to act."""

SUBJECT = 3
"""An entry in whose text several names were found is about those that are not so many times rarer than another."""

ROUGH_LOSS = 0.25
"""How much lower a rough vector's similarity may be than that of its window's embedding (measured: 0.23 of 400)."""

COARSE_LOSS = 0.33
"""The same for the coarse windows, of which none may fit what is looked for (measured: 0.27 of 400)."""

ROUNDING = 1e-6
"""Similarities that differ by less are the same: float32 sums depend on the order in which they are taken."""

ASKED_WORDS = 3
"""A phrase of fewer words ("1994", "yes", a city) is no sign, in a request, of the question that it answers."""


def _only_observes(forget_set: ForgetSet) -> bool:
    """True where a set's own policy acts on nothing, whatever the global one says."""
    return forget_set.policy.get("on_match") in ("observe", ["observe"], ("observe",))


@dataclass(frozen=True, repr=False)
class Generation:
    """An immutable view of the index as of one change of the ledger."""

    number: int
    sets: Mapping[str, ForgetSet]
    entry_count: int
    lowest_threshold: float
    """The lowest that any entry has had of its own; 1 where none had one."""
    observed: frozenset[str]
    """Sets that only look on."""
    _slots: SlotTable
    _view: VectorView
    _rows: RowTable
    _retain: Mapping[str, RetainExamples]
    _names: PhraseTable
    _heard: NameTable
    _phrases: PhraseTable
    _weights: Weights
    _found: PhraseTable
    """Names in the text of sealed facts: they are met as they are written, or not at all."""
    _sealing: SealingKeys | None

    def __repr__(self) -> str:
        return f"Generation(number={self.number}, entries={self.entry_count}, sets={len(self.sets)})"

    @property
    def phrases(self) -> PhraseTable:
        """What must not be said."""
        return self._phrases

    def visible(self, slot: int) -> bool:
        """True when the slot is part of this generation."""
        return self._slots.visible(slot, self.number)

    def forbidden(self, slot: int) -> bool:
        """True when the slot is part of this generation and acts: its phrases must not be said."""
        if not self.visible(slot):
            return False
        entry = self._slots[slot]
        return entry.state is State.ACTIVE and entry.set_id not in self.observed

    def slot(self, slot: int) -> Slot:
        """What is known of the entry in a slot."""
        return self._slots[slot]

    def secret(self, slot: int) -> frozenset[int]:
        """The keys of the words that only the answers of a slot's entry hold (see `secret`); none of a sealed entry."""
        return unpacked_secret(self._slots[slot].secret)

    def matches(self, source: int, scan: Scan) -> list[Match]:
        """Everything in one text that is near an entry: per entry and way, the matches that no other one beats.

        That is one match, or a few where the windows nearest to the entry are near a retain example as well: which of
        them counts depends on the threshold and the margin of the set's policy.
        """
        found: dict[tuple[str, Via], list[Match]] = {}
        for view in (scan, *scan.views):
            retain = RetainScores(self._retain, view, self._weights)
            near = list(self._near(source, view, retain))
            named = self._named(source, view, retain, near)
            for match in (*near, *named, *self._written(source, view, retain)):
                there = match if view.origin is None else replace(match, span=view.origin, view=view.steps)
                found.setdefault((match.entry_id, match.via), []).append(there)
        return [match for group in found.values() for match in _unbeaten(group)]

    def doubtful(self, scan: Scan, threshold: float) -> tuple[int, ...]:
        """Which of a text's rough windows could score `threshold` or more, for an entry or for a retain example."""
        if scan.rough is None or not scan.rough.windows:
            return ()
        rough = scan.rough
        coarse = np.array([i for i, window in enumerate(rough.windows) if window.coarse], np.intp)
        queries = np.concatenate([scan.vectors, rough.vectors[coarse]])
        near = self._view.near(queries, threshold - COARSE_LOSS)
        texts = np.concatenate([self._view.rows(near), *(kept.vectors for kept in self._retain.values())])
        return sharper(scan, scan.vectors @ texts.T, rough.vectors @ texts.T, threshold - ROUGH_LOSS)

    def nearest(self, vectors: Vectors) -> Vectors:
        """The similarity of each vector to the text of an entry that is nearest to it, visible or not, [vectors]."""
        return self._view.search(vectors, 1)[0][:, 0]

    def _near(self, source: int, scan: Scan, retain: RetainScores) -> Iterator[Match]:
        hidden = cache(lambda: replace(scan, held=hidden_words(scan.held, self._sealing)))
        for window, similarity, row in self._neighbours(scan.vectors):
            slot = self._rows.slot(row)
            entry = self._slots[slot]
            span = (scan.windows[window].start, scan.windows[window].end)
            near = float(retain.of(entry.set_id)[window])
            compared = hidden() if entry.storage is Storage.SEALED else scan
            counts = compared.counts(window, self._rows.details(row)) if similarity >= DETAILED else NO_DETAILS
            terms = terms_of(similarity, counts, by=self._weights)
            yield self._match(slot, source, span, Via.EMBEDDING, terms, near)

    def _named(self, source: int, scan: Scan, retain: RetainScores, near: Sequence[Match]) -> Iterator[Match]:
        """Names that stand in the text in whatever script or spelling, with the similarity of their entry on top."""
        similar: dict[str, float] = {}
        for match in near:
            if match.terms is not None:
                similar[match.entry_id] = max(similar.get(match.entry_id, 0.0), match.terms.similarity)
        for hit in self._heard.find(scan.words):
            for slot, term in self._entries_named(hit):
                entry = self._slots[slot]
                via = Via.NAME if hit.exact and hit.whole else Via.SOUND
                span, terms = (hit.start, hit.end), Terms(similar.get(entry.id, 0.0), name=term)
                yield self._match(slot, source, span, via, terms, retain.beside(entry.set_id, *span))

    def _entries_named(self, hit: NameHit) -> Iterator[tuple[int, float]]:
        """Slots that a name belongs to, with what it adds to the score."""
        acting = 0
        for slot in hit.name.slots:
            if acting == NAMED:
                return
            if not self.visible(slot):
                continue
            stated = slot in hit.name.given
            term = self._weights.name(stated=stated, exact=hit.exact and hit.whole)
            others = self._heard.found_with(slot)
            beside = not stated and any(len(other.slots) >= SUBJECT * len(hit.name.slots) for other in others)
            written = stated and hit.exact and hit.whole  # those are found word by word
            if term and not beside and not written:
                acting += self.forbidden(slot)
                yield slot, term

    def _neighbours(self, queries: Vectors) -> Iterator[tuple[int, float, int]]:
        """Window, similarity and row of the visible rows near each window."""
        pending, depth = np.arange(len(queries)), NEIGHBOURS
        while len(pending):
            scores, rows = self._view.search(queries[pending], depth)
            deeper = []
            for window, row_scores, row_numbers in zip(pending, scores.tolist(), rows.tolist(), strict=True):
                near = [
                    (score, row)
                    for score, row in zip(row_scores, row_numbers, strict=True)
                    if row >= 0 and score >= FLOOR
                ]
                hidden = len(near) == depth < len(self._view)
                if hidden and self._outnumbered(near):
                    deeper.append(window)
                    continue
                yield from ((int(window), score, row) for score, row in near if self.visible(self._rows.slot(row)))
            pending, depth = np.array(deeper, np.intp), depth * 4

    def _outnumbered(self, near: Sequence[tuple[float, int]]) -> bool:
        """True where rows of a set that acts may lie behind those of others: each set must be heard by itself."""
        acting = Counter(self._slots[slot].set_id for _, row in near if self.forbidden(slot := self._rows.slot(row)))
        if acting.total() < NEIGHBOURS:
            return True
        return near[-1][0] >= DETAILED and any(acting[name] < NEIGHBOURS for name in self.sets.keys() - self.observed)

    def _written(self, source: int, scan: Scan, retain: RetainScores) -> Iterator[Match]:
        """Names and phrases that stand in the text word by word: similarity 1."""
        for via, table, name in (
            (Via.NAME, self._names, 1.0),
            (Via.NAME, self._found, self._weights.found),
            (Via.PHRASE, self._phrases, 0.0),
        ):
            for hit in PhraseWalk(table, self.visible).advance(scan.words):
                entry = self._slots[hit.slot]
                if via is Via.PHRASE and _words_in(scan, hit) < ASKED_WORDS:
                    continue
                near = retain.beside(entry.set_id, hit.start, hit.end)
                terms = Terms(name=name) if via is Via.NAME else Terms(similarity=1.0)
                yield self._match(hit.slot, source, (hit.start, hit.end), via, terms, near)

    def _match(self, slot: int, source: int, span: tuple[int, int], via: Via, terms: Terms, near: float) -> Match:
        entry = self._slots[slot]
        return Match(
            entry_id=entry.id,
            set_id=entry.set_id,
            kind=entry.kind,
            state=entry.state,
            score=terms.score,
            retain_score=near,
            source=source,
            span=span,
            via=via,
            threshold=entry.threshold,
            terms=terms,
            slot=slot,
            raised=entry.raised,
        )


def _unbeaten(group: list[Match]) -> Iterator[Match]:
    """The matches of a group that no other one beats in both score and margin."""
    margin = float("-inf")
    for match in sorted(group, key=lambda match: (-match.score, -match.margin)):
        if match.margin > margin + ROUNDING:
            margin = match.margin
            yield match


def _words_in(scan: Scan, hit: Hit) -> int:
    return sum(hit.start <= word.start and word.end <= hit.end for word in scan.words)


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
        return Generation(
            number=generation,
            sets=MappingProxyType(self._sets),
            entry_count=self._slots.living,
            lowest_threshold=self._lowest_threshold,
            observed=frozenset(name for name, one in self._sets.items() if _only_observes(one)),
            _slots=self._slots,
            _view=self._vectors.view(),
            _rows=self._rows,
            _retain=self._retain,
            _names=self._names,
            _heard=self._heard,
            _phrases=self._phrases,
            _weights=self._weights,
            _found=self._found,
            _sealing=self._sealing,
        )
