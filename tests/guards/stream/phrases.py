"""What the phrase filter must do, by a reference that reads the text anew at every character; and texts to ask both.

The reference knows nothing of streams: at each prefix of the text it splits the whole prefix into words and compares
every run of words with every phrase.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import strategies as st

from guards.stream.phrase import Cut, PhraseFilter
from indexes.phrases import PhraseTable, pieces
from indexes.words import Word, words_of
from tests.indexes.texts import fragments

Phrase = tuple[str, ...]

# -- the reference


def occurrences(phrases: list[Phrase], words: list[Word]) -> Iterator[tuple[int, int, int]]:
    """Where any phrase stands: start and end in characters, and its last word; by last word, then by start."""
    for last in range(len(words)):
        for first in range(last + 1):
            if tuple(word.text for word in words[first : last + 1]) in phrases:
                yield words[first].start, words[last].end, last


@dataclass
class Reference:
    """What must have left at each prefix of a text, and where it is cut."""

    shown: list[int]
    cut_at: int | None
    """Length of the prefix at which the cut is known, one more than all when by its end; None when it is never cut."""

    def outcome(self, text: str) -> tuple[str, bool]:
        return text[: self.shown[-1]], self.cut_at is not None


def reference(phrases: list[Phrase], text: str, bound: int) -> Reference:
    longest = max((len(word) for phrase in phrases for word in phrase), default=0)
    shown = [0]
    for size in range(1, len(text) + 1):
        complete, growing = split(text[:size])
        hit = next(occurrences(phrases, complete), None)
        if hit:
            return Reference([*shown, max(shown[-1], hit[0])], size)
        candidates = [size, *(w.start for i, w in enumerate(complete) if begins(phrases, complete[i:]))]
        if growing and len(growing.text) <= longest:
            candidates.append(growing.start)
        shown.append(max(shown[-1], size if growing and len(growing.text) > longest else min(candidates)))
        if size - shown[-1] > bound:
            return Reference(shown, size)
    hit = next(occurrences(phrases, words_of(text)), None)
    return Reference([*shown, max(shown[-1], hit[0] if hit else len(text))], len(text) + 1 if hit else None)


def split(prefix: str) -> tuple[list[Word], Word | None]:
    """The complete words of a prefix and the one that is still growing: whichever a letter would join."""
    words, probe = words_of(prefix), words_of(prefix + "a")[-1]
    return (words[:-1], words[-1]) if probe.start < len(prefix) else (words, None)


def begins(phrases: list[Phrase], words: list[Word]) -> bool:
    said = tuple(word.text for word in words)
    return any(len(said) < len(phrase) and phrase[: len(said)] == said for phrase in phrases)


# -- texts that hold phrases, beginnings of phrases, and what only looks like them

RAW_WORDS = ("ann", "lee", "Ann", "annlee", "é", "ﬁn", "한국", "東", "京", "パ", "का", "ﷺ", "½", "محمد", "x", "go")
DISGUISES = (
    str,
    str,
    str.upper,
    lambda word: unicodedata.normalize("NFD", word),
    lambda word: unicodedata.normalize("NFKC", word),
    "\u200b".join,
    lambda word: "".join(f"{char}\u0336" for char in word),
    lambda word: word[:-1],
    lambda word: f"{word}s",
)
GAPS = (" ", " ", " ", ", ", "**", "\n", "", " \u200b", "'", " — ", ". ", " " * 30)

# Two words only, as well: such phrases overlap and begin like one another.
raw_phrases = st.lists(st.sampled_from(RAW_WORDS), min_size=1, max_size=4)
tangled_phrases = st.lists(st.sampled_from("ab"), min_size=1, max_size=5)
forget_lists = st.lists(raw_phrases, min_size=1, max_size=4) | st.lists(tangled_phrases, min_size=2, max_size=4)


def normal(raw: list[str]) -> Phrase:
    return pieces(" ".join(raw))[0]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Phrase], str]:
    """A forget list and a text made for it."""
    raw = draw(forget_lists)
    words: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        source = draw(st.sampled_from(raw) | st.just(draw(st.sampled_from(raw))) | raw_phrases)
        words += source[: draw(st.integers(1, len(source)))] if draw(st.booleans()) else source
        if draw(st.integers(0, 3)) == 0:
            words.append(draw(fragments))
    text = "".join(draw(st.sampled_from(DISGUISES))(word) + draw(st.sampled_from(GAPS)) for word in words)
    return [normal(phrase) for phrase in raw], text


def table_of(phrases: list[Phrase]) -> PhraseTable:
    table = PhraseTable()
    for slot, phrase in enumerate(phrases):
        table.add(phrase, slot)
    return table


def always(slot: int) -> bool:
    return True


def filter_of(phrases: list[Phrase]) -> PhraseFilter:
    return PhraseFilter(table_of(phrases), always)


def feed(one: PhraseFilter, deltas: list[str]) -> tuple[str, bool]:
    """What left and whether the stream was cut."""
    left = ""
    for delta in deltas:
        step = one.on_delta(delta)
        left += step.text
        if isinstance(step, Cut):
            return left, True
    step = one.on_finish()
    return left + step.text, isinstance(step, Cut)
