"""How a word sounds: the same name in any script and spelling has the same *skeleton*.

A word is written in Latin letters (`anyascii`, with repairs for scripts that leave vowels out), then reduced to its
consonants in classes: labials p b f v (P), dentals t d th (T), velars k q c g (K), h and kh (H), sibilants s z sh j ch
(S), liquids l r (L), m (M), n (N). Vowels are dropped but for a vowel at the start (A). Хина, هینا, हिना, 히나 and Hina
are all `HN`. Letters that languages read differently (the j of Jaime, the w of Kuwait, a silent h) give a few
skeletons.

Skeletons find candidates; they are far too coarse to decide. `likeness` decides: it aligns the letters themselves, and
charges for what differs.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product

from anyascii import anyascii

from indexes.words import Word

MAX_SKELETONS = 6  # readings kept of one word: beyond, a word has too many ambiguous letters to be told by sound
LONGEST_WORD = 40  # characters: nothing longer is a name

# Arabic and Hebrew write no short vowels and `anyascii` drops the letters that carry long ones; z is what the world
# hears in ظ and ذ.
_BEFORE = str.maketrans(
    {
        **dict.fromkeys("اأإآٱעאىع", "a"),
        **dict.fromkeys("ةءئؤ", ""),
        **dict.fromkeys("ظذ", "z"),
        "ו": "w",
    }
)
_ARTICLES = re.compile(r"^(?:ال|וה|ה(?=\w{4}))")
_PREFIXES = re.compile(r"^[وفبلك](?=\w{3})")  # and, so, by, for, as: written with the word that follows
_ENDINGS = re.compile(r"(?:ами|ями|ого|его|ому|ему|ом|ем|ём|ым|им|ой|ей|ою|ах|ях)$")  # Russian cases with a consonant
_PARTICLES = re.compile(
    r"(?:에게서|에게|에서|으로|이라는|라는|의|은|는|이|가|을|를|에|와|과|도|로|씨|님)$"  # Korean, written with the word
)

_NASAL = re.compile("[\u0901\u0902\u0981\u0982](?P<labial>[पफबभम])?")
_LATIN_PART = re.compile(r"^[a-z]{2,}|[a-z]{2,}$")
_SOUNDS = re.compile(r"shch|tsch|sch|tch|dzh|ph|kh|gh|sh|zh|ch|ck|th|dh|ts|tz|dj|ng$|[bcdfghjklmnpqrstvwxz]|[aeiouy]+")
_VOWELS = frozenset("aeiouy")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")

# What each sound is read as, in order of likelihood.
_READINGS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("p", "b", "f", "v", "ph"), ("P",)),
    **dict.fromkeys(("t", "d"), ("T",)),
    **dict.fromkeys(("k", "q", "ck"), ("K",)),
    **dict.fromkeys(("l", "r"), ("L",)),
    **dict.fromkeys(("s", "z", "sh", "zh", "sch", "shch", "tsch", "tch", "ts", "tz", "dzh", "dj"), ("S",)),
    "m": ("M",),
    "n": ("N",),
    "ng": ("N",),
    "c": ("K", "S"),
    "g": ("K", "S"),
    "h": ("H", ""),
    "kh": ("H", "K"),
    "gh": ("K", "H"),
    "ch": ("S", "K", "H"),
    "j": ("S", "H", ""),
    "x": ("KS", "S", "H"),
    "th": ("T", "S"),
    "dh": ("T", "S"),
}

# Sounds that one script writes for the other's: what a difference costs, of 1 for a letter that is not there.
_NEAR: dict[frozenset[str], float] = {
    frozenset(pair.split("/")): cost
    for cost, pairs in (
        (0.0, "ph/f kh/h ck/k c/k q/k zh/j dzh/j dj/j ts/tz sch/sh shch/sh tch/ch tsch/ch ng/n"),
        (0.15, "t/d p/b s/z f/v v/w th/t dh/d dh/z gh/g kh/k gh/kh c/s x/s j/z g/j g/k g/kh"),
        (0.3, "f/p f/b w/b v/b v/p ph/p ph/b j/h j/kh x/h ch/j ch/sh ch/k sh/s zh/z th/s ts/s ts/z ch/h z/dzh ch/ts"),
        (0.5, "l/r z/t m/n ch/s j/s j/ch j/sh"),
    )
    for pair in pairs.split()
}
_FAR = 1.0
_UNSTRESSED = 0.12  # a vowel written as another of its kind
_OTHER_VOWEL = 0.3  # a light vowel for a dark one
_UNWRITTEN = 0.25  # a vowel that is not written
_INITIAL = 0.7  # a vowel at the start that is not written


@lru_cache(65536)
def latin(word: str) -> str:
    """A word (normal form) in small Latin letters; "" where it has none."""
    if word.isascii():
        return word
    bare = unicodedata.normalize("NFC", word).translate(_BEFORE)
    bare = _NASAL.sub(lambda found: "म" + found["labial"] if found["labial"] else "न", bare)
    return re.sub(r"[^a-z0-9]", "", anyascii(bare).lower())


@lru_cache(65536)
def readings(word: str) -> tuple[str, ...]:
    """A word as a request may hold it: as it stands, and without what its language writes with it."""
    if word.isascii():
        return (word,)
    found = {word: None}
    script = ord(word[0])
    if 0x0590 <= script <= 0x08FF:
        for form in (word, _PREFIXES.sub("", word)):
            found[form] = None
            found[_ARTICLES.sub("", form)] = None
        if word.startswith("لل"):
            found[word[2:]] = None
    elif 0x0400 <= script <= 0x052F:
        found[_ENDINGS.sub("", word)] = None
    elif word[0] in _LETTERS or word[-1] in _LETTERS:  # Abilov는: an ending of another script
        found |= dict.fromkeys(_LATIN_PART.findall(word))
    elif 0xAC00 <= script <= 0xD7A3:
        shorter = _PARTICLES.sub("", word)
        found[shorter] = None
        if shorter.startswith("알") and len(shorter) > 3:
            found[shorter[1:]] = None
    forms = [latin_form for form in found if form and (latin_form := latin(form))]
    if 0x0400 <= script <= 0x052F:  # Г is written for H as well
        forms += [form.replace("g", "h") for form in forms if "g" in form]
    return tuple(dict.fromkeys(forms))


@lru_cache(65536)
def sounds(letters: str) -> tuple[str, ...]:
    """Consonants and runs of vowels of a word in Latin letters."""
    found: list[str] = []
    for sound in _SOUNDS.findall(letters[:LONGEST_WORD]):
        if not found or found[-1] != sound:  # doubled letters sound once
            found.append(sound)
    return tuple(found)


@lru_cache(65536)
def skeletons(letters: str) -> tuple[str, ...]:
    """The skeletons of a word in Latin letters, likeliest first; () for a word without letters."""
    parts: list[tuple[str, ...]] = []
    heard = sounds(letters)
    if not heard:
        return ()
    for place, sound in enumerate(heard):
        if sound[0] in _VOWELS:
            if place == 0:
                parts.append(("A",))
        elif sound == "w":
            parts.append(("P", "A") if place == 0 else ("", "P"))
        elif sound == "h" and place > 0 and (place == len(heard) - 1 or heard[place - 1][0] not in _VOWELS):
            parts.append(("", "H"))  # mostly silent
        elif sound == "h" and place == 0:
            parts.append(("H",))
        else:
            parts.append(_READINGS.get(sound, (sound,)))
    found = dict.fromkeys("".join(way) for way in product(*parts)) if _ways(parts) <= 64 else {}
    return tuple(found)[:MAX_SKELETONS] if found else (("".join(p[0] for p in parts),) if parts else ())


def _ways(parts: list[tuple[str, ...]]) -> int:
    ways = 1
    for part in parts:
        ways *= len(part)
    return ways


@lru_cache(65536)
def likeness(heard: str, name: str, vowelless: bool = False) -> float:
    """How much a word sounds like a word of a name, both in Latin letters: 1 the same, 0 or below not at all.

    `vowelless`: the word comes from a script that writes few vowels, so that a missing one says nothing.
    """
    if heard == name:
        return 1.0
    a, b = sounds(heard), sounds(name)
    if not a or not b:
        return 0.0
    unwritten = 0.05 if vowelless else _UNWRITTEN
    above = [0.0]
    for place, sound in enumerate(b):
        above.append(above[-1] + _missing(sound, place, unwritten))
    for row, sound in enumerate(a):
        line = [above[0] + _missing(sound, row, _UNWRITTEN)]
        for place, other in enumerate(b):
            line.append(
                min(
                    above[place] + _instead(sound, other),
                    above[place + 1] + _missing(sound, row, _UNWRITTEN),
                    line[place] + _missing(other, place, unwritten),
                )
            )
        above = line
    weight = sum(0.5 if sound[0] in _VOWELS else 1.0 for sound in b)
    return 1.0 - above[-1] / max(weight, 1.0)


def _missing(sound: str, place: int, unwritten: float) -> float:
    if sound[0] in _VOWELS:
        return _INITIAL if place == 0 else unwritten
    return 0.3 if sound in {"h", "w"} and place > 0 else _FAR


def _instead(a: str, b: str) -> float:
    if a == b:
        return 0.0
    if a[0] in _VOWELS and b[0] in _VOWELS:
        return _UNSTRESSED if _light(a) == _light(b) or {a, b} <= {"a", "e", "ae", "ai", "ay"} else _OTHER_VOWEL
    if a[0] in _VOWELS or b[0] in _VOWELS:
        if "w" in {a, b}:
            return 0.1 if {"o", "u"} & {*a, *b} else 0.3
        return 0.4 if {"j", "y"} & {*a, *b} == {"j", "y"} else 2.0
    return _NEAR.get(frozenset((a, b)), _FAR)


def _light(vowels: str) -> bool:
    """True for i and e and what is written so, False for a, o, u."""
    return (vowels.lstrip("wy") or vowels)[0] in "iey" or vowels == "ai"


@lru_cache(65536)
def writes_few_vowels(word: str) -> bool:
    """True for a word in Hebrew, Arabic or Indic letters: the last leave out the a that every letter holds."""
    return bool(word) and 0x0590 <= ord(word[0]) <= 0x0DFF


def joined(words: Iterable[Word]) -> Iterator[Word]:
    """Words, with runs of one script without spaces as one: ヒナ is a word of a name, に after it another."""
    run: list[Word] = []
    for word in words:
        script = _unspaced(word.text)
        if run and not (script and script == _unspaced(run[-1].text) and word.start == run[-1].end):
            yield Word("".join(w.text for w in run), run[0].start, run[-1].end)
            run = []
        if script:
            run.append(word)
        else:
            yield word
    if run:
        yield Word("".join(w.text for w in run), run[0].start, run[-1].end)


def _unspaced(text: str) -> str:
    """Which script a single character is of, if of one that writes no spaces; "" otherwise."""
    if len(text) != 1:
        return ""
    if "\u30a0" <= text <= "\u30ff" or "\u31f0" <= text <= "\u31ff":
        return "katakana"
    if "\u3040" <= text <= "\u309f":
        return "hiragana"
    return "han" if "\u4e00" <= text <= "\u9fff" else ""
