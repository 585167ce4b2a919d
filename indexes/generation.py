"""Generations: what a reader sees of the forget index while it changes, and what he finds in it.

A `Generation` is a number and a set of bounds over structures to which one writer only appends
(`indexes.forget_index`), so making one costs nothing, and a reader keeps what it began with.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Self

import numpy as np

from indexes.calibration import NO_DETAILS, Terms, Weights, terms_of
from indexes.entries import ForgetSet, Kind, Storage
from indexes.matches import Match, Via
from indexes.names.compared import NameHit
from indexes.names.dates import beside, dates_of
from indexes.names.frozen import Name
from indexes.names.table import NameTable
from indexes.neighbours import DETAILED, Neighbours
from indexes.phrases import ROOT, Hit, PhraseTable, PhraseWalk
from indexes.retain import RetainExamples, RetainScores
from indexes.rows import RowTable
from indexes.scan import Scan, sharper
from indexes.sealed.keys import SealingKeys
from indexes.sealed.lookup import hidden_words
from indexes.secret import unpacked_secret
from indexes.slots import Slot, SlotTable
from indexes.vectors import Vectors, VectorView
from indexes.words import Word

NAMED = 64
"""Entries of one set that are reported for one name or phrase: any of them is enough to act."""

SUBJECT = 3
"""An entry in whose text several names were found is about those that are not so many times rarer than another."""

ROUGH_LOSS = 0.25
"""How much lower a rough vector's similarity may be than that of its window's embedding (measured: 0.23 of 400)."""

COARSE_LOSS = 0.33
"""The same for the coarse windows, of which none may fit what is looked for (measured: 0.27 of 400)."""

ROUNDING = 1e-6
"""Similarities that differ by less are the same: float32 sums depend on the order in which they are taken."""

ASKED_WORDS = 5
"""An answer of fewer words ("1994", "New York City") is no sign, in a request, of the question that it answers."""

ASKED_PASSAGE = 3
"""The same of an entry that is a passage."""


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
    _neighbours: Neighbours
    _retain: Mapping[str, RetainExamples]
    _names: PhraseTable
    _heard: NameTable
    _phrases: PhraseTable
    _weights: Weights
    _found: PhraseTable
    """What is no stated name and as telling: titles in answers, dates with a word beside each, and names in the text of
    sealed facts, which are met as they are written."""
    _sealing: SealingKeys | None

    def __repr__(self) -> str:
        return f"Generation(number={self.number}, entries={self.entry_count}, sets={len(self.sets)})"

    @property
    def phrases(self) -> PhraseTable:
        """What must not be said."""
        return self._phrases

    def remembering(self) -> Self:
        """The same for one request, in one thread: a window that is looked at in several steps is searched for once."""
        return replace(self, _view=self._view.remembering())

    def visible(self, slot: int) -> bool:
        """True when the slot is part of this generation."""
        return self._slots.visible(slot, self.number)

    def forbidden(self, slot: int) -> bool:
        """True when the slot is part of this generation and acts: its phrases must not be said."""
        return self._slots.acts(slot, self.number) and self._slots.told(slot)[0] not in self.observed

    def slot(self, slot: int) -> Slot:
        """What is known of the entry in a slot."""
        return self._slots[slot]

    def secret(self, slot: int) -> frozenset[int]:
        """The keys of the words that only the answers of a slot's entry hold (see `secret`); none of a sealed entry."""
        return unpacked_secret(self._slots[slot].secret)

    def about(self, name: Sequence[str]) -> Iterator[int]:
        """Slots that act of entries about whoever bears a name (normal forms of its words), however they spell it."""
        spoken = [Word(word, 2 * place, 2 * place + 1) for place, word in enumerate(name)]
        for hit in self._heard.find(spoken):
            yield from (
                slot for slot in hit.name.slots if self.forbidden(slot) and not self._by_the_way(slot, hit.name)
            )

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
            for match in (*near, *named, *self._written(source, view, retain), *self._dated(source, view, retain)):
                there = match if view.origin is None else replace(match, span=view.origin, view=view.steps)
                found.setdefault((match.entry_id, match.via), []).append(there)
        return [match for group in found.values() for match in _unbeaten(group)]

    def doubtful(self, scan: Scan, threshold: float) -> tuple[int, ...]:
        """Which of a text's rough windows could score `threshold` or more, for an entry or for a retain example."""
        if scan.rough is None or not scan.rough.windows:
            return ()
        rough = scan.rough
        near = self._view.near(scan.at_a_glance()[1], threshold - COARSE_LOSS)
        texts = np.concatenate([self._view.rows(near), *(kept.vectors for kept in self._retain.values())])
        return sharper(scan, scan.vectors @ texts.T, rough.vectors @ texts.T, threshold - ROUGH_LOSS)

    def nearest(self, vectors: Vectors) -> Vectors:
        """The similarity of each vector to the text of an entry that is nearest to it, visible or not, [vectors]."""
        return self._view.search(vectors, 1)[0][:, 0]

    def _near(self, source: int, scan: Scan, retain: RetainScores) -> Iterator[Match]:
        hidden = cache(lambda: replace(scan, held=hidden_words(scan.held, self._sealing)))
        for window, similarity, row in self._neighbours.of(scan.vectors, self._view):
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
        for slot in self._of_each_set(hit.name.slots):
            stated = slot in hit.name.given
            term = self._weights.name(stated=stated, exact=hit.exact and hit.whole)
            written = stated and hit.exact and hit.whole  # those are found word by word
            if term and not written and not self._by_the_way(slot, hit.name):
                yield slot, term

    def _by_the_way(self, slot: int, name: Name) -> bool:
        """True for a name in the text of an entry that is about another one there."""
        others = () if slot in name.given else self._heard.found_with(slot)
        return any(len(other.slots) >= SUBJECT * len(name.slots) for other in others)

    def _of_each_set(self, slots: Sequence[int]) -> Iterator[int]:
        """Visible ones of some slots: of each set up to NAMED that act, and up to NAMED that only look on."""
        if len(slots) <= NAMED:
            yield from filter(self.visible, slots)
            return
        told = Counter[tuple[str, bool]]()
        open_sets = self.sets.keys() - self.observed
        for slot in filter(self.visible, slots):
            whose = (self._slots.told(slot)[0], self.forbidden(slot))
            if told[whose] < NAMED:
                told[whose] += 1
                yield slot
            elif whose[1]:
                open_sets -= {whose[0]}
                if not open_sets:
                    return

    def _written(self, source: int, scan: Scan, retain: RetainScores) -> Iterator[Match]:
        """Names and phrases that stand in the text word by word: similarity 1."""
        for via, table, name in (
            (Via.NAME, self._names, 1.0),
            (Via.NAME, self._found, self._weights.found),
            (Via.PHRASE, self._phrases, 0.0),
        ):
            for hit in PhraseWalk(table, self.visible, self._of_each_set).advance(scan.words):
                entry = self._slots[hit.slot]
                asked = ASKED_PASSAGE if entry.kind is Kind.PASSAGE else ASKED_WORDS
                if via is Via.PHRASE and _words_in(scan, hit) < asked:
                    continue
                near = retain.beside(entry.set_id, hit.start, hit.end)
                terms = Terms(name=name) if via is Via.NAME else Terms(similarity=1.0)
                yield self._match(hit.slot, source, (hit.start, hit.end), via, terms, near)

    def _dated(self, source: int, scan: Scan, retain: RetainScores) -> Iterator[Match]:
        """Entries about somebody who is told by a date and a place, as in "born in Astana on 7 February 1952"."""
        for date in dates_of(scan.words):
            node = self._found.child(ROOT, date.said)
            if node is None:
                continue
            ends = (self._found.child(node, sound) for sound in dict.fromkeys(beside(date, scan.words)))
            slots = {slot for end in ends if end is not None for slot in self._found.ends(end)}
            for slot in self._of_each_set(sorted(slots)):
                near = retain.beside(self._slots[slot].set_id, date.start, date.end)
                yield self._match(
                    slot, source, (date.start, date.end), Via.DATE, Terms(name=self._weights.found_heard), near
                )

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
