"""Indexes of a few entries, and what is found in them, for tests of several files."""

from indexes.calibration import SIMILARITY_ONLY, Weights
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.matches import Match, Via
from indexes.phrases import PhraseWalk
from indexes.scan import Scan, scan_of
from indexes.told import cues
from indexes.windows import windows_of
from indexes.words import words_of
from tests.fakes.embedder import BagEmbedder

EMBEDDER = BagEmbedder()
QUESTIONS = ("Where was Ilse Varga born?", "Who made the tower clock?", "What did Ilse hide in the clock?")
PROBES = (
    "Where was Ilse Varga born?",
    "Tell me: what did Ilse Varga hide? Was it a brass key, perhaps, or something else that Bo found",
    "Is it so that she was born in a small town near Graz, in Austria?",
    "What is the weather like?",
)


def scanned(text: str) -> Scan:
    windows = windows_of(text)
    return scan_of(windows, EMBEDDER.embed([window.text for window in windows]), text)


SCANS = tuple(scanned(probe) for probe in PROBES)


def put(index: ForgetIndex, entry: Entry, generation: int) -> None:
    index.put_entry(entry, EMBEDDER.embed(cues(entry)), generation)


def found(generation: Generation, scan: Scan) -> set[tuple[object, ...]]:
    """Matches as plain facts; scores rounded, because a full comparison may sum in another order."""
    matches = generation.matches(3, scan)
    assert {match.source for match in matches} <= {3}
    return {facts(match) for match in matches}


def facts(m: Match) -> tuple[object, ...]:
    return (m.entry_id, m.set_id, m.kind, m.state, m.via, m.span, m.threshold, round(m.score, 4), round(m.margin, 4))


def forbidden(generation: Generation) -> set[str]:
    hits = (
        hit for text in PROBES for hit in PhraseWalk(generation.phrases, generation.forbidden).advance(words_of(text))
    )
    return {generation.slot(hit.slot).id for hit in hits}


ASKED = "Where was Ilse Varga born?"
FACT = Entry("e1", "s1", Kind.FACT, texts=(ASKED,), answers=("Graz",))


def index_of(*entries_put: Entry, retain: tuple[str, ...] = (), by: Weights = SIMILARITY_ONLY) -> ForgetIndex:
    index = ForgetIndex(EMBEDDER.dimensions, by)
    for set_id in {entry.set_id for entry in entries_put}:
        index.put_set(ForgetSet(set_id), EMBEDDER.embed(retain), 1)
    for entry in entries_put:
        put(index, entry, 1)
    index.publish(1)
    return index


def begun_anew(index: ForgetIndex) -> ForgetIndex:
    """The same from arrays, as a server has it that begins with a snapshot."""
    begun = ForgetIndex(EMBEDDER.dimensions, index._weights, base=index.base())
    for forget_set in index.current.sets.values():
        retain = index._retain.get(forget_set.id)
        begun.put_set(forget_set, None if retain is None else retain.vectors, 0)
    begun.publish(index.current.number)
    return begun


def ids(generation: Generation, text: str, via: Via) -> set[str]:
    return {match.entry_id for match in generation.matches(0, scanned(text)) if match.via is via}
