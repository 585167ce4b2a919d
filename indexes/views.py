"""Views of a text: what it says when what hides it is undone.

A text is rewritten step by step in place: invisible characters and look-alike letters, escapes and URL encoding,
base64, hexadecimal and binary, letters set apart, digits for letters, rot13, and text written backwards. Each step
that changes something gives a *view* that is scanned beside the original; steps are repeated for what is nested.
Words in another script among Latin ones are read in Latin letters in a view of their own: as look-alikes they would be
other words, and which of the two they are cannot be told ("РАТЕ": Pate, or Rate).

Bounds, so that no text can make its reading expensive: of a text longer than MAX_LOOKED its beginning and its end are
looked at, at most 2·ROUNDS times, each step is linear in the text and lets it grow by no more than GROWTH, at most
MAX_VIEWS views and the one beside them are kept, and a view holds what changed and CONTEXT characters around it, not
the rest again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from indexes.drawn import read
from indexes.encodings import undo_base64, undo_binary, undo_escapes, undo_hex, undo_url
from indexes.lettering import undo_leet, undo_look_alikes, undo_script, undo_spacing
from indexes.turned import undo_turning

MAX_LOOKED = 65536  # characters at either end of a text; a 16k-token prompt has as many
ROUNDS = 3  # nested encodings that are undone
MAX_VIEWS = 4  # kept: the first ones, and the last, which holds all steps
GROWTH = 256  # characters by which a text may grow in a step; decoding shrinks it
CONTEXT = 80  # characters kept around what changed

Steps = dict[str, Callable[[str], str]]

DECODING: Steps = {
    "signs": read,
    "plain": undo_look_alikes,
    "escapes": undo_escapes,
    "url": undo_url,
    "binary": undo_binary,
    "hex": undo_hex,
    "base64": undo_base64,
}
"""Undone first, as often as they are nested, so that no code is read as words."""

REWRITING: Steps = {"spaced": undo_spacing, "leet": undo_leet, "turned": undo_turning}
"""Undone in what is then there: letters set apart, digits for letters, rot13 and text written backwards."""


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
    latin = undo_script(text)
    beside = [view_of(text, latin, ("script",))] if latin != text and len(latin) <= len(text) + GROWTH else []
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
    return [*beside, *(found if len(found) <= MAX_VIEWS else [*found[: MAX_VIEWS - 1], found[-1]])]


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
