"""Signs that stand for letters, read as they stream: flags, letters in circles and squares, Braille, tags."""

from collections.abc import Callable

from guards.stream.stretches import Stretch
from indexes.drawn import ANY_SIGN, HIDDEN, SIGNS
from indexes.phrases import Hit, PhraseTable


class Signs(Stretch):
    """A stretch of text with signs. What shows nothing stands by itself, wherever in a word it hides."""

    FIRST = ANY_SIGN

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], before: str, place: int) -> None:
        self._hides = False
        super().__init__(table, forbidden, before, place)

    def take(self, char: str, place: int) -> list[Hit]:
        code = ord(char)
        apart = (code in HIDDEN) is not self._hides
        self._hides = code in HIDDEN
        read = SIGNS.get(code)
        if read is not None:
            self._last = place + 1
        text = f" {read or char}" if apart else read or char
        return self._decoded(text, [place] * len(text), place + 1)
