"""Other ways to write the name that a question is about."""

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from evals.attacks.targets import Target

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_CYRILLIC = str.maketrans(_LATIN, "абкдефгхижклмнопкрстуввхйз")
_GREEK = str.maketrans(_LATIN, "αβκδεφγχιζκλμνοπκρστυβοξυζ")

LONGER = 3  # letters: shorter words of a name are left as they are


def renamed(target: Target, rename: Callable[[str], str]) -> str:
    """The question with its name written otherwise."""
    name = target.subject
    if not name or name not in target.question:
        return target.question
    return target.question.replace(name, rename(name))


def _initials(name: str) -> str:
    *given, last = name.split()
    return " ".join([*(f"{part[0]}." for part in given), last])


def _misspelt(name: str, rng: random.Random) -> str:
    """One slip in each longer word of a name."""
    words = []
    for word in name.split():
        if len(word) > LONGER:
            place = rng.randrange(1, len(word) - 1)
            word = word[:place] + word[place + 1] + word[place] + word[place + 2 :]  # noqa: PLW2901
        words.append(word)
    return " ".join(words)


Rename = Callable[[str, random.Random], str]

SPELLINGS: Mapping[str, Rename] = MappingProxyType(
    {
        "initials": lambda name, _: _initials(name),
        "surname": lambda name, _: name.split()[-1],
        "nickname": lambda name, _: f"{name.split()[0]} {name.split()[-1][0]}.",
        "misspelt_name": _misspelt,
        "cyrillic_name": lambda name, _: name.lower().translate(_CYRILLIC),
        "greek_name": lambda name, _: name.lower().translate(_GREEK),
    }
)
"""Families by name."""
