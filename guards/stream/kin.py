"""Entries about the same person as those that a request matched.

Asked for one fact by way of another ("what do the parents of the author born there do?"), a model tells what stands in
an entry that the request is not near. So the sentences of its answer are compared with what the entries tell that are
about the same: those which hold a name of whoever the matched one is about. Words are not counted for them: of twenty
entries about one author, three in four long answers about others say a quarter of the words of one, and none of their
sentences means what one tells (docs/results.md).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from indexes.entries import Entry, Kind
from indexes.generation import Generation
from indexes.matches import Match, Via
from indexes.names.found import marks_of
from indexes.words import words_of

KIN = 64  # entries compared for one answer, nearest to the request first: each takes some 10 µs a sentence
SOUGHT = 1024  # entries about the same as one matched entry among which those are looked for

Named = tuple[tuple[str, ...], ...]
"""Names, each the normal forms of its words."""


@dataclass(frozen=True, slots=True, repr=False)
class About:
    """A match, and whom its entry is about."""

    match: Match
    names: Named


def subjects(entry: Entry) -> Named:
    """Whom an entry is about: the names that it states, or that stand in its questions, or else in its answers."""
    if entry.names:
        return tuple(tuple(word.text for word in words_of(name)) for name in entry.names)
    if entry.kind is not Kind.FACT:
        return ()
    asked = dict.fromkeys(name for text in entry.texts for name in marks_of(text).names)
    return tuple(asked or dict.fromkeys(name for text in entry.answers for name in marks_of(text).names))


def kin(matched: Iterable[About], generation: Generation, near: Callable[[], Mapping[int, float]]) -> list[Match]:
    """The entries, other than the matched ones, about the same as one of them in its set.

    `near` says how near the request is to the entry of a slot; it is asked where there are more than `KIN`.
    """
    known: set[int] = set()
    found: dict[int, None] = {}
    for about in matched:
        known.add(about.match.slot)
        slots = chain.from_iterable(map(generation.about, about.names))
        alike = (slot for slot in slots if generation.slot(slot).set_id == about.match.set_id)
        found |= dict.fromkeys(islice(alike, SOUGHT))
    others = [slot for slot in found if slot not in known]
    if len(others) > KIN:
        scores = near()
        others = sorted(others, key=lambda slot: -scores.get(slot, 0.0))[:KIN]
    return [_by_name(slot, generation) for slot in others]


def _by_name(slot: int, generation: Generation) -> Match:
    """As if the request had named whom the entry is about."""
    entry = generation.slot(slot)
    return Match(
        entry_id=entry.id,
        set_id=entry.set_id,
        kind=entry.kind,
        state=entry.state,
        score=1.0,
        retain_score=0.0,
        source=0,
        span=(0, 0),
        via=Via.NAME,
        threshold=entry.threshold,
        slot=slot,
        raised=entry.raised,
    )
