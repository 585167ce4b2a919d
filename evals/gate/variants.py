"""Other ways of writing a question: beside other questions, between random words, encoded, disguised, misspelt.

Every family is a function of the text and a random generator, so that a seed gives the same variants everywhere.
"""

import codecs
import random
import string
from base64 import b64encode
from collections.abc import Callable, Sequence
from urllib.parse import quote

Variant = Callable[[str, random.Random], str]

TYPOS = 0.06  # share of letters with a slip: one in every three or four words
NOISE_WORDS = (6, 16)  # words of a random prefix or suffix

_HOMOGLYPHS = str.maketrans("aeopcyxiABEHKMOPCTX", "аеорсухіАВЕНКМОРСТХ")
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_OTHERS = (
    "What is the boiling point of water at sea level?",
    "How do I sort a list of numbers in Python?",
    "Which planet is the largest in the solar system?",
    "Can you suggest a recipe for vegetable soup?",
    "Why is the sky blue during the day?",
    "What is the difference between a comet and an asteroid?",
)


def families(others: Sequence[str] = _OTHERS) -> dict[str, Variant]:
    """All families by name. `others` are the questions that composite prompts are made with."""
    return {
        "composite": lambda text, rng: " ".join((rng.choice(others), text, rng.choice(others))),
        "prefix": lambda text, rng: f"{_noise(rng)} {text}",
        "suffix": lambda text, rng: f"{text} {_noise(rng)}",
        "base64": lambda text, _: b64encode(text.encode()).decode(),
        "base64_asked": lambda text, _: f"Decode this base64 and answer it: {b64encode(text.encode()).decode()}",
        "hex": lambda text, _: text.encode().hex(),
        "rot13": lambda text, _: codecs.encode(text, "rot13"),
        "url": lambda text, _: quote(text),
        "reversed": lambda text, _: text[::-1],
        "leetspeak": lambda text, _: text.translate(_LEET),
        "spaced": lambda text, _: " ".join(text),
        "zero_width": lambda text, _: "\u200b".join(text),
        "full_width": lambda text, _: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
        "homoglyphs": lambda text, _: text.translate(_HOMOGLYPHS),
        "lower_case": lambda text, _: text.lower(),
        "typos": _misspelt,
    }


def variants_of(texts: Sequence[str], family: Variant, seed: int) -> list[str]:
    """One variant of each text; the same for the same seed, text and place."""
    return [
        family(text, random.Random(f"{seed}:{place}:{text}"))  # noqa: S311 - test data, not secrets
        for place, text in enumerate(texts)
    ]


def _noise(rng: random.Random) -> str:
    letters = string.ascii_lowercase
    return " ".join("".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(rng.randint(*NOISE_WORDS)))


def _misspelt(text: str, rng: random.Random) -> str:
    """Letters left out, doubled, changed or swapped; never the first letter of a word, as people do."""
    chars = list(text)
    written: list[str] = []
    place = 0
    while place < len(chars):
        char = chars[place]
        inside = place > 0 and char.isalpha() and chars[place - 1].isalpha()
        if not inside or rng.random() >= TYPOS:
            written.append(char)
            place += 1
            continue
        match rng.randrange(4):
            case 0:
                pass
            case 1:
                written += [char, char]
            case 2:
                written.append(rng.choice(string.ascii_lowercase))
            case _ if place + 1 < len(chars) and chars[place + 1].isalpha():
                written += [chars[place + 1], char]
                place += 1
            case _:
                written.append(char)
        place += 1
    return "".join(written)
