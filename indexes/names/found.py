"""Names and details in the text of an entry, found by how they are written.

Rows of questions and answers say nothing about which words are names. In scripts with capital letters a *run* of
capitalised words (with particles inside: Basil Mahfouz Al-Kuwaiti, Ludwig van Beethoven) is taken for a person's full
name when it
1. has two words or more, a first word that only starts the sentence ("Has Hina Ameen ...") left out,
2. holds no word of a place, people, time or institution (`common.NOT_PERSONS`),
3. does not stand in quotation marks (that is a title), and
4. does not follow "the" or "her", nor "in", "at", "near" and the like, unless something is said to be its own
   ("in Hina Ameen's books").

Every other capitalised word, every word in quotation marks and every number is a *detail*: no sign by itself, but a
text about the same question holds it, and a question of the same form about another subject does not.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

from indexes.names.common import (
    FUNCTION_WORDS,
    JOINERS,
    MONTHS,
    NOT_PERSONS,
    PARTICLES,
    PLACE_SIGNS,
    STARTERS,
    THING_SIGNS,
)
from indexes.words import words_of

MAX_NAMES = 8  # of one text: a text with more is a list of people, and about none of them
MAX_DETAILS = 24  # of one text
MAX_OWN = 4096  # words of a long text that are looked at as its own details

_TOKEN = re.compile(r"[^\W_]+(?:['’](?![sS]\b)[^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?:;]\s+[\"'“‘«(]*$|\n")
_QUOTED = re.compile(
    r"\"([^\"]{2,80})\"|“([^”]{2,80})”|«([^»]{2,80})»|(?<!\w)['‘]([^'’]{2,80}(?:['’]\w+ [^'’]*)?)['’](?!\w)"
)
BEFORE = 24  # characters before a run in which the word before it is looked for
_LAST_WORD = re.compile(r"(\w+)\W*$")
_NUMBER = re.compile(r"^(\d{1,9})(?:st|nd|rd|th|[^\W\d_a-z]+)?$")  # with what other scripts write to it: 1956년
_ALL_CAPITALS = 0.8  # share of capitalised words from which capitals say nothing


@dataclass(frozen=True, slots=True, repr=False)
class Marks:
    """What marks a text out: full names as lists of words, and details, all in normal form."""

    names: tuple[tuple[str, ...], ...] = ()
    details: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int
    capital: bool
    first: bool
    own: bool  # followed by 's
    quoted: bool


def marks_of(text: str) -> Marks:
    """Names and details of a text."""
    tokens = _tokens(text)
    names: dict[tuple[str, ...], None] = {}
    details: dict[str, None] = {}
    telling = _telling(tokens)
    for token in tokens:
        for word in _normal(token.text):
            if (detail := detail_of(word)) is not None and (detail[0].isdigit() or token.quoted):
                details[detail] = None
    for run in _runs(text, tokens) if telling else ():
        words = tuple(word for token in run for word in _normal(token.text))
        if _is_person(text, run, words):
            names[words] = None
        else:
            details |= dict.fromkeys(d for word in words if (d := detail_of(word)) is not None)
    return Marks(tuple(names)[:MAX_NAMES], tuple(details)[:MAX_DETAILS])


def own_details(text: str) -> set[tuple[int, int]]:
    """Where in a text its capitalised words, numbers and quoted words stand, except where capitals say nothing."""
    tokens = _tokens(text)[:MAX_OWN]
    telling = _telling(tokens)
    return {
        (token.start, token.end)
        for token in tokens
        if token.text[0].isdigit()
        or token.quoted
        or (telling and token.capital and not (token.first and token.text.lower() in STARTERS))
    }


@lru_cache(65536)
def detail_of(word: str) -> str | None:
    """A word (normal form) as details compare it: numbers by value, months as numbers; None where it says nothing."""
    number = _NUMBER.match(word)
    if number:
        return str(int(number[1]))
    if word in MONTHS:
        return str(MONTHS[word])
    if len(word) < 2 or word in FUNCTION_WORDS or word in PARTICLES:
        return None
    return word


def significant(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a name that are compared: without particles, unless nothing else is left."""
    return tuple(word for word in words if word not in PARTICLES) or words


def _tokens(text: str) -> list[_Token]:
    quoted = [m.span() for m in _QUOTED.finditer(text)]
    found: list[_Token] = []
    end_before = 0
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        raw = match[0]
        capital = raw[0].isupper() or unicodedata.category(raw[0]) == "Lt"
        between = text[end_before:start]
        initial = bool(found) and len(found[-1].text) == 1 and found[-1].capital and between.startswith(".")
        first = not found or (not initial and bool(_SENTENCE_END.search(between)))
        own = text[end : end + 2] in {"'s", "’s", "'S", "’S"} or (raw[-1] in "sS" and text[end : end + 1] in {"'", "’"})
        if raw in {"s", "S"} and text[start - 1 : start] in {"'", "’"}:
            end_before = end
            continue
        inside = any(a < start and end <= b for a, b in quoted)
        found.append(_Token(raw, start, end, capital, first, own, inside))
        end_before = end
    return found


def _telling(tokens: list[_Token]) -> bool:
    """False for a text written in capitals throughout, where they say nothing."""
    lettered = [t for t in tokens if t.text[0].isalpha() and not t.quoted and not t.first]
    return sum(t.capital for t in lettered) < _ALL_CAPITALS * len(lettered) or len(lettered) <= 3


def _runs(text: str, tokens: list[_Token]) -> list[list[_Token]]:
    """Capitalised tokens that stand together."""
    runs: list[list[_Token]] = []
    run: list[_Token] = []
    for place, token in enumerate(tokens):
        follows = bool(run) and re.fullmatch(r"[ \u00a0]?[-–.]?[ \u00a0]?", text[run[-1].end : token.start]) is not None
        follows = follows and not run[-1].own and not token.first
        if token.quoted:
            continue
        if token.capital and not (token.first and token.text.lower() in STARTERS):
            if not follows:
                runs.append(run)
                run = []
            run.append(token)
        elif follows and token.text.lower() in JOINERS and place + 1 < len(tokens) and tokens[place + 1].capital:
            run.append(token)
        else:
            runs.append(run)
            run = []
    runs.append(run)
    return [run for run in runs if run]


def _is_person(text: str, run: list[_Token], words: tuple[str, ...]) -> bool:
    if len(significant(words)) < 2 or len(words) > 7 or any(word in NOT_PERSONS for word in words):
        if len(words) < 3 or words[0] in NOT_PERSONS or words[1] in NOT_PERSONS:
            return False
        # A nationality may be a surname (Basil Mahfouz Al-Kuwaiti), but hardly the first or second of three words.
        if sum(word in NOT_PERSONS for word in words) > 1 or words[-1] not in NOT_PERSONS or words[-2] not in PARTICLES:
            return False
    if any(char.isdigit() for word in words for char in word) or all(t.text.isupper() and len(t.text) > 2 for t in run):
        return False
    before = _LAST_WORD.search(text[max(0, run[0].start - BEFORE) : run[0].start])
    if before is None:
        return True
    return before[1].lower() not in THING_SIGNS and (run[-1].own or before[1].lower() not in PLACE_SIGNS)


@lru_cache(65536)
def _normal(raw: str) -> tuple[str, ...]:
    return tuple(word.text for word in words_of(raw))
