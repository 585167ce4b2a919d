"""Views of a text: what it says when what hides it is undone.

A text is rewritten step by step in place: invisible characters and look-alike letters, escapes and URL encoding,
base64, hexadecimal and binary, letters set apart, digits for letters, rot13, and text written backwards. Each step
that changes something gives a *view* that is scanned beside the original; steps are repeated for what is nested.

Bounds, so that no text can make its reading expensive: of a text longer than MAX_LOOKED its beginning and its end are
looked at, at most 2·ROUNDS times, each step is linear in the text and lets it grow by no more than GROWTH, at most
MAX_VIEWS views are kept, and a view holds what changed and CONTEXT characters around it, not the rest again.
"""

import binascii
import codecs
import html
import re
import unicodedata
from base64 import b64decode, urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from urllib.parse import unquote

from indexes.drawn import LOOK_ALIKES, read
from indexes.names.common import FUNCTION_WORDS

MAX_LOOKED = 65536  # characters at either end of a text; a 16k-token prompt has as many
ROUNDS = 3  # nested encodings that are undone
MAX_VIEWS = 4  # kept: the first ones, and the last, which holds all steps
GROWTH = 256  # characters by which a text may grow in a step; decoding shrinks it
CONTEXT = 80  # characters kept around what changed
SCORED = 4000  # characters of a segment by which it is judged whether it is language
MIN_CODE = 12  # characters of base64 or hexadecimal from which it is decoded
MIN_SPACED = 5  # single letters in a row from which they are read as spaced out
MIN_TURNED = 8  # letters of a segment from which it is judged
CLEAR = 0.8  # likeness to language from which a text is not taken for another turned round; none of 800 turned had 0.7
CLEARER = 0.15  # how much more like language rot13 or reversed text must be than what stands there


@dataclass(frozen=True, slots=True)
class View:
    """A text as it reads after some steps, and the characters of the original that it stands for."""

    text: str = field(repr=False)
    start: int
    end: int
    steps: tuple[str, ...]


def views_of(text: str) -> list[View]:
    """The views of a text; mostly none."""
    if len(text) > 2 * MAX_LOOKED:
        offset = len(text) - MAX_LOOKED
        tail = (View(v.text, v.start + offset, v.end + offset, v.steps) for v in views_of(text[offset:]))
        return [*views_of(text[:MAX_LOOKED]), *tail]
    found: list[View] = []
    now, done = text, []
    for steps in (DECODING, REWRITING) * ROUNDS:
        before = now
        for name, step in [item for item in steps.items() for _ in range(ROUNDS if steps is DECODING else 1)]:
            changed = step(now)
            if changed == now or not changed.strip() or len(changed) > len(now) + GROWTH:
                continue
            now = changed
            done.append(name)
            found.append(view_of(text, now, tuple(done)))
        if now == before and steps is REWRITING:
            break
    return found if len(found) <= MAX_VIEWS else [*found[: MAX_VIEWS - 1], found[-1]]


def view_of(original: str, text: str, steps: tuple[str, ...]) -> View:
    """What changed of a text, and a little around it."""
    same = _same_start(original, text)
    tail = _same_start(original[same:][::-1], text[same:][::-1])
    first = max(0, same - CONTEXT)
    last = min(len(text), len(text) - tail + CONTEXT)
    first = text.rfind(" ", 0, first) + 1 if first else 0
    return View(text[first:last], min(same, len(original)), len(original) - tail, steps)


def _same_start(a: str, b: str) -> int:
    low, high = 0, min(len(a), len(b))
    while low < high:  # by halves: slices are compared in C
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


# -- what is written, however it is drawn

_LATIN = re.compile(r"[A-Za-z]")
_WORD = re.compile(r"\w+")


def _plain(text: str) -> str:
    if text.isascii():
        return text
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if c in "\n\r\t" or not _hidden(c))
    if len(_LATIN.findall(shown)) * 3 < sum(map(str.isalpha, shown)):
        return shown if shown != unicodedata.normalize("NFKC", text) else text  # another script is no disguise
    mostly_latin = len(_LATIN.findall(shown)) * 5 > 3 * sum(map(str.isalpha, shown))
    rewritten = _WORD.sub(lambda m: _undisguised(m[0], alone=mostly_latin), shown)
    return rewritten if rewritten != unicodedata.normalize("NFC", text) else text


@lru_cache(4096)
def _hidden(char: str) -> bool:
    return unicodedata.category(char) in {"Cf", "Me", "Cc"} or char in "\u034f\u115f\u1160\u3164\uffa0\ufe0f\ufe0e"


def _undisguised(word: str, *, alone: bool) -> str:
    """A word with look-alikes read as Latin; one without any Latin letter only among Latin words."""
    if word.isascii() or not (alone or _LATIN.search(word)):
        return word
    drawn = word.translate(LOOK_ALIKES)
    return drawn if drawn.isascii() else word


# -- encodings

_URL = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_PLUS = re.compile(r"(?<=\w)[+](?=\w)")
_ESCAPES = re.compile(r"(?:\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2})+")
_BASE64 = re.compile(rf"(?<![\w+/])[A-Za-z0-9+/_-]{{{MIN_CODE},}}(?:\r?\n[A-Za-z0-9+/_-]+)*={{0,2}}")
_HEX = re.compile(rf"(?<!\w)(?:0x)?(?:[0-9A-Fa-f]{{2}}[\s:,]?(?:0x|\\x)?){{{MIN_CODE // 2},}}(?!\w)")
_BITS = re.compile(r"(?<!\w)(?:[01]{8}\s?){4,}(?!\w)")


def _escaped(text: str) -> str:
    if "&" in text and ";" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPES.sub(lambda m: _readable(m[0].encode("ascii").decode("unicode_escape"), m[0]), text)
    return text


def _url(text: str) -> str:
    if "%" not in text:
        return text

    decoded = _URL.sub(lambda m: _shown(unquote(m[0], errors="replace"), m[0]), text)
    return _PLUS.sub(" ", decoded) if decoded != text and decoded.count("+") > 2 * decoded.count(" ") else decoded


def _base64(text: str) -> str:
    return _BASE64.sub(_from_base64, text)


def _from_base64(match: re.Match[str]) -> str:
    code = "".join(match[0].split()).rstrip("=")
    if code.isdigit() or (code.islower() and code.isalpha()):
        return match[0]
    decode = urlsafe_b64decode if "-" in code or "_" in code else b64decode
    try:
        return _readable(decode(code[: len(code) - (len(code) % 4 == 1)] + "=" * (-len(code) % 4)).decode(), match[0])
    except (ValueError, binascii.Error):
        return match[0]


def _hex(text: str) -> str:
    return _HEX.sub(_from_hex, text)


def _from_hex(match: re.Match[str]) -> str:
    code = re.sub(r"0x|\\x|[\s:,]", "", match[0])
    try:
        return _readable(bytes.fromhex(code).decode(), match[0])
    except ValueError:
        return match[0]


def _bits(text: str) -> str:
    def decoded(match: re.Match[str]) -> str:
        code = "".join(match[0].split())
        try:
            return _readable(bytes(int(code[i : i + 8], 2) for i in range(0, len(code), 8)).decode(), match[0])
        except ValueError:
            return match[0]

    return _BITS.sub(decoded, text)


def _shown(decoded: str, code: str) -> str:
    """What was decoded, if all of it can be shown; else the code."""
    fits = "\ufffd" not in decoded and all(char.isprintable() or char in "\n\r\t" for char in decoded)
    return decoded if fits else code


def _readable(decoded: str, code: str) -> str:
    """What was decoded, if it is text; else the code."""
    letters = sum(char.isalpha() or char.isspace() for char in decoded)
    shown = all(char.isprintable() or char in "\n\r\t" for char in decoded)
    return decoded if shown and letters * 10 >= len(decoded) * 5 and "\ufffd" not in decoded else code


# -- letters moved apart or changed

_GAP = r"[ \t.,_*|/~·•+=-]{1,5}"
_SPACED = re.compile(rf"(?<!\w)\w(?:{_GAP}\w(?!\w)){{{MIN_SPACED - 1},}}")
LONGEST_LEET = 24  # characters: what is longer is a code, not a word
_LEET = str.maketrans("0134578$@!9", "oieastbsaig")
_LEET_WORD = re.compile(r"[\w@$!]+")
_LEET_MIXED = re.compile(r"[A-Za-z][\d@$!]|[\d@$!][A-Za-z]")
_LEET_INSIDE = re.compile(r"[A-Za-z][\d@$!]+[A-Za-z]|[\d@$][A-Za-z]+[\d@$!]")
_ORDINAL = re.compile(r"^\d+(?:st|nd|rd|th|s)$")
_SHORT_NUMBER = re.compile(r"(?<![\w/.:-])\d{1,3}(?![\w/.:%-])")


def _spaced(text: str) -> str:
    return _SPACED.sub(_closed_up, text)


def _closed_up(match: re.Match[str]) -> str:
    letters = [m.span() for m in re.finditer(r"\w", match[0])]
    gaps = [match[0][a[1] : b[0]] for a, b in pairwise(letters)]
    usual = Counter(gaps).most_common(1)[0][0]
    joined = match[0][letters[0][0] : letters[0][1]]
    for (start, end), gap in zip(letters[1:], gaps, strict=True):
        parted = gap != usual and (len(gap) > len(usual) or " " in gap)
        joined += (" " if parted else "") + match[0][start:end]
    return joined


def _leet(text: str) -> str:
    mixed = [
        m[0].rstrip("!") for m in _LEET_WORD.finditer(text) if len(m[0]) <= LONGEST_LEET and _LEET_MIXED.search(m[0])
    ]
    clear = {word for word in mixed if _LEET_INSIDE.search(word)}
    if not clear:
        return text
    every = len(clear) > 1 or len(clear) * 4 > len(mixed)  # one such word may be a name of a thing; two are a manner

    def plain(match: re.Match[str]) -> str:
        word = match[0].rstrip("!")
        changes = word in clear or (every and len(word) <= LONGEST_LEET and not _ORDINAL.match(word))
        return word.translate(_LEET) + match[0][len(word) :] if changes and _LEET_MIXED.search(word) else match[0]

    changed = _LEET_WORD.sub(plain, text)
    if len(clear) * 6 >= len(text.split()):  # then short numbers are words as well
        changed = _SHORT_NUMBER.sub(lambda m: m[0].translate(_LEET), changed)
    return changed


# -- rot13 and text written backwards

_SEGMENT = re.compile(r"[^\n:.?!\"“”«»]+(?:[.][^\s\n:?!\"“”«»]+)*")
_PAIRS = frozenset(
    """
    th he in er an re nd on en at ou ed ha to or it is hi es ng st ar te se me ve of as al le ti ne de ro li ri io ic
    co ea la el ma ra ll ho ch ce om ur be wh wa no si us ut na mi ot ct ge ta ec tr ns so et ac ad mo
    """.split()
)


_BEFORE_THE = frozenset("of in is on to at by for was from with and are did does about into that".split())


def _likely(text: str) -> float:
    """How much a text looks like English or its neighbours, 0 to 2: pairs of letters, and small words."""
    words = re.findall(r"[a-z]+", text[:SCORED].lower())
    pairs = [word[i : i + 2] for word in words for i in range(len(word) - 1)]
    if not pairs:
        return 0.0
    return sum(p in _PAIRS for p in pairs) / len(pairs) + sum(w in FUNCTION_WORDS for w in words) / len(words)


def _turned(text: str) -> str:
    """Written backwards as a whole, or with each segment turned in the way that makes it most like language."""
    if _likely(text) < CLEAR:
        whole = max((text[::-1], _words_back(text)), key=_clarity)
        if _clarity(whole) > _likely(text) + CLEARER:
            return whole
    parts, done = [], 0
    for start, end in _segments(text):
        segment = text[start:end]
        if _likely(segment) >= CLEAR:
            continue
        ways = [segment[::-1], _words_back(segment), codecs.encode(segment, "rot13")]
        best = max(ways, key=_clarity)
        if _likely(best) > _likely(segment) + CLEARER:
            parts += [text[done:start], best]
            done = end
    return "".join((*parts, text[done:]))


def _clarity(text: str) -> float:
    return _likely(text) + _in_order(text)


def _words_back(text: str) -> str:
    return _WORD.sub(lambda m: m[0][::-1], text)


def _in_order(text: str) -> float:
    """A little for punctuation and capitals where they belong: tells a line turned from its words turned."""
    text = text[:SCORED].strip()
    right = len(re.findall(r"\w[,.?!](?:\s|$)", text)) + len(re.findall(r"\b[A-Z][a-z]", text))
    wrong = len(re.findall(r"(?:^|\s)[,.?!]\w", text)) + len(re.findall(r"[a-z][A-Z]\b", text))
    words = re.findall(r"[a-z]+", text.lower())
    right += sum(a in _BEFORE_THE and b == "the" for a, b in pairwise(words))
    wrong += sum(a == "the" and b in _BEFORE_THE for a, b in pairwise(words))
    balance: float = (right - wrong) / max(right + wrong, 1)
    return 0.05 * balance


def _segments(text: str) -> Iterator[tuple[int, int]]:
    for match in _SEGMENT.finditer(text):
        letters = [char for char in match[0][:SCORED] if char.isalpha()]
        if sum(map(str.isascii, letters)) >= max(MIN_TURNED, len(letters) // 2):
            yield match.span()


Steps = dict[str, Callable[[str], str]]

DECODING: Steps = {
    **{"signs": read, "plain": _plain, "escapes": _escaped, "url": _url},
    **{"binary": _bits, "hex": _hex, "base64": _base64},
}
"""Undone first, as often as they are nested, so that no code is read as words."""

REWRITING: Steps = {"spaced": _spaced, "leet": _leet, "turned": _turned}
"""Undone in what is then there: letters set apart, digits for letters, rot13 and text written backwards."""
