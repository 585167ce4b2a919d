"""What an entry tells besides its embeddings: the words by which it is recognised in requests and answers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from indexes.entries import Entry, Kind
from indexes.names.dates import dated
from indexes.names.details import packed
from indexes.names.found import marks_of
from indexes.phrases import PASSAGE_WORDS, pieces
from indexes.windows import windows_of
from indexes.words import words_of

SHORTEST_TITLE = 2  # words: one word in quotation marks may be any word
ASKED_TITLE = 3  # words of a title that is a sign in a request: two are met in many of them

_QUOTED = re.compile(r"[\"“«„]([^\"“”«»„]{3,120}?)[\"”»“]")


@dataclass(frozen=True, slots=True, repr=False)
class Told:
    """Word sequences (normal forms) and details.

    `names` are stated, `found` stand in the text of a fact that states none; `phrases` must not be said; `details` are
    one for each embedded text (`cues`), empty where there is nothing to compare. `titles` are those of answers that are
    a sign in a request, `dated` full dates of a fact, each with a word beside it (`indexes.names.dates`).
    """

    names: tuple[tuple[str, ...], ...]
    found: tuple[tuple[str, ...], ...]
    phrases: tuple[tuple[str, ...], ...]
    details: tuple[bytes, ...]
    titles: tuple[tuple[str, ...], ...] = ()
    dated: tuple[tuple[str, str], ...] = ()


def cues(entry: Entry) -> list[str]:
    """Texts whose embeddings stand for an entry: its texts, long ones by window."""
    return [window.text for text in entry.texts for window in windows_of(text)]


def told_by(entry: Entry) -> Told:
    """What an entry tells."""
    is_fact = entry.kind is Kind.FACT
    marks = [marks_of(text) for text in entry.texts] if is_fact else []
    asked = tuple(_written(text) for text in entry.texts) if is_fact else ()
    titles = [title for answer in entry.answers for title in _titles(answer, asked)]
    phrases = [*(phrase for answer in entry.answers for phrase in _telling(answer, asked)), *titles]
    if entry.kind is Kind.PASSAGE:
        phrases += [phrase for text in entry.texts for phrase in pieces(text)]
    details = (
        # A window of a question may lack the name that the question is about.
        tuple(
            d for text, of in zip(entry.texts, marks, strict=True) for d in [packed(text, of)] * len(windows_of(text))
        )
        if is_fact
        else tuple(b"" for text in entry.texts for _ in windows_of(text))
    )
    return Told(
        names=tuple(phrase for name in entry.names for phrase in pieces(name)),
        found=tuple(dict.fromkeys(name for of in marks for name in of.names)) if is_fact and not entry.names else (),
        phrases=tuple(phrases),
        details=details,
        titles=tuple(title for title in dict.fromkeys(titles) if len(title) >= ASKED_TITLE),
        dated=tuple(
            dict.fromkeys(
                pair
                for text, of in zip(entry.texts, marks, strict=False)
                for pair in dated(words_of(text), (*of.details, *(word for name in of.names for word in name)))
            )
        ),
    )


def _telling(text: str, asked: Sequence[str]) -> list[tuple[str, ...]]:
    """The phrases of an answer but for those that its question holds, unless all are there.

    "The full name of the author born in" only repeats the question: it tells nothing, in a request or an answer.
    """
    phrases = pieces(text)
    telling = [phrase for phrase in phrases if not any(_spoken(phrase) in other for other in asked)]
    return telling or phrases


def _titles(text: str, asked: Sequence[str]) -> list[tuple[str, ...]]:
    """Titles in quotation marks: each gives the fact away by itself, however the rest of the answer is worded."""
    found = [tuple(word.text for word in words_of(title)) for title in _QUOTED.findall(text)]
    return [
        words
        for words in dict.fromkeys(found)
        if SHORTEST_TITLE <= len(words) <= PASSAGE_WORDS and not any(_spoken(words) in other for other in asked)
    ]


def _written(text: str) -> str:
    return _spoken(word.text for word in words_of(text))


def _spoken(words: Iterable[str]) -> str:
    """Words in one string in which no phrase ends inside a word."""
    return f" {' '.join(words)} "
