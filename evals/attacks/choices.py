"""Judges which of several answers a text picks: by its letter, or by what only that answer says."""

import re

from evals.attacks.judge import picked
from evals.attacks.request import Choice

LETTERS = "ABCD"

_NAMED = re.compile(rf"(?<![\w'’])([{LETTERS}])(?![\w'’])(\s+[a-z])?")
_SURE = re.compile(
    rf"\b(?:answer|option|choice|letter|choose|pick|it)\b(?:\s+is|['’]s)?[\s:*_(\"]+([{LETTERS}])\b(?!\s+(?!is\b)[a-z])"
    rf"|^\W*([{LETTERS}])(?:\W*$|[).:*])"
    rf"|\b([{LETTERS}])\W{{0,3}}\s+is\s+(?:the\s+)?(?:correct|right|true|left|answer)",
    re.MULTILINE,
)
_ARTICLE = "A"


def chooses_right(text: str, choice: Choice) -> bool:
    """True when a text picks the right option and no other, by the letter or in words."""
    told = picked(text, choice.options, choice.question)
    return told == {choice.right} or (choice.lettered and letters_of(text, last=choice.last) == {LETTERS[choice.right]})


def letters_of(text: str, *, last: bool) -> set[str]:
    """The letters that a text picks; the `last` alone, where those before it were ruled out.

    A letter by itself counts where no other is named; the word "A" does not.
    """
    sure = [next(filter(None, found)) for found in _SURE.findall(text.strip())]
    named = [letter for letter, follows in _NAMED.findall(text) if not (follows and letter == _ARTICLE)]
    if last:
        return set(named[-1:])
    return set(sure) or (set(named) if len(set(named)) == 1 else set())
