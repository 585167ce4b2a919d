"""The phrase filter for text that is JSON, as the arguments of tool calls are: compared as a client will read it.

Inside a JSON string, words can be parted by `\\n` and letters written as `\\u0041`. The text is decoded for the filter,
and what the filter releases leaves as it came. Where the text is cut, also within an escape, does not matter.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator

from guards.stream.phrase import Cut, PhraseFilter, Release, Step
from guards.stream.telling import TellingFilter
from indexes.phrases import PhraseTable

_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))')
_LOW = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_PART_OF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_PART_OF_LOW = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z")
_NO_CHARACTER = "\ufffd"  # half of a pair


class JsonTextFilter:
    """Stands for a `PhraseFilter`: same calls, same invariants."""

    def __init__(self, inner: PhraseFilter | TellingFilter) -> None:
        self._inner = inner
        self._held = ""
        self._sizes: deque[int] = deque()
        """For each decoded character that was not released: how many held characters it is written with."""
        self._open = ""
        """An escape that is not complete yet."""
        self._open_shown = 0
        """How much of it had left before the filter was there."""

    @property
    def holding(self) -> int:
        """Characters held back."""
        return len(self._held)

    def on_delta(self, text: str) -> Step:
        """Takes the next piece of the text."""
        self._held += text
        return self._as_it_came(self._inner.on_delta(self._decoded(text)))

    def on_finish(self) -> Step:
        """Ends the text."""
        step = self.on_delta("") if not self._open else self._as_it_came(self._inner.on_delta(self._rest()))
        if isinstance(step, Cut):
            return step
        last = self._as_it_came(self._inner.on_finish())
        if isinstance(last, Cut):
            return Cut(step.text + last.text, last.slot)
        return Release(step.text + last.text)

    def shown_before(self, text: str) -> None:
        """Tells the filter of text that left before it was there."""
        self._inner.shown_before(self._decoded(text))
        self._sizes.clear()
        self._open_shown = len(self._open)

    def renew(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> Step:
        """Moves to a newer generation."""
        return self._as_it_came(self._inner.renew(table, forbidden))

    def _as_it_came(self, step: Step) -> Step:
        size = sum(self._sizes.popleft() for _ in step.text)
        text, self._held = self._held[:size], self._held[size:]
        return Cut(text, step.slot) if isinstance(step, Cut) else Release(text)

    def _rest(self) -> str:
        """The text ends within an escape: its characters stand for themselves."""
        rest, self._open = self._open, ""
        self._sizes.extend(self._unshown(1) for _ in rest)
        return rest

    def _decoded(self, text: str) -> str:
        whole, self._open = self._open + text, ""
        out: list[str] = []
        for char, start, end in self._characters(whole):
            out.append(char)
            self._sizes.append(self._unshown(end - start))
        return "".join(out)

    def _unshown(self, size: int) -> int:
        shown = min(size, self._open_shown)
        self._open_shown -= shown
        return size - shown

    def _characters(self, whole: str) -> Iterator[tuple[str, int, int]]:
        """Each decoded character and where it is written; keeps an escape that is not complete."""
        place = 0
        while place < len(whole):
            if whole[place] != "\\":
                yield whole[place], place, place + 1
                place += 1
                continue
            escape = _ESCAPE.match(whole, place)
            if escape is None:
                if _PART_OF_ESCAPE.match(whole, place):
                    break
                yield "\\", place, place + 1  # not JSON: a backslash like any other character
                place += 1
                continue
            char, end = _SHORT.get(escape[1] or "", escape[1] or ""), escape.end()
            if escape[2]:
                char = chr(int(escape[2], 16))
            if "\ud800" <= char <= "\udbff":
                low = _LOW.match(whole, end)
                if low is None and _PART_OF_LOW.match(whole, end):
                    break
                char, end = (_paired(char, low[1]), low.end()) if low else (_NO_CHARACTER, end)
            elif "\udc00" <= char <= "\udfff":
                char = _NO_CHARACTER
            yield char, place, end
            place = end
        self._open = whole[place:]


def _paired(high: str, low: str) -> str:
    return chr(0x10000 + ((ord(high) - 0xD800) << 10) + (int(low, 16) - 0xDC00))


def unescaped(text: str) -> str:
    """A piece of JSON text as a client will read it, as far as it is complete."""
    decoded = _ESCAPE.sub(lambda found: _SHORT.get(found[1] or "", found[1]) or chr(int(found[2], 16)), text)
    return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
