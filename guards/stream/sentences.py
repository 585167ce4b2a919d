"""Sentences of an answer, judged one by one: text is held until somebody has said whether its sentence tells.

What a sentence tells is measured elsewhere, and takes a while. So whoever feeds the filter first shows it the next
piece (`look_ahead`), has the sentences judged that it completes, writes the verdicts into them and then feeds it.

Invariants
1. No sentence leaves before it was judged, nor any that tells, nor anything after it.
2. Where sentences part, and where a cut falls, depend on the text and not on how it was cut into deltas.
3. What is held is bounded: a sentence ends after `LONGEST` characters at the latest.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from guards.stream.abstention import abstains
from guards.stream.json_text import JsonTextFilter
from guards.stream.phrase import Cut, PhraseFilter, Release, Step
from guards.stream.telling import TellingFilter
from indexes.phrases import PhraseTable

SHORTEST = 12  # characters: "1.", "Dr." and "Yes." end no sentence
LONGEST = 400  # characters: some 64 words, of which an embedding still says something
_ENDERS = frozenset(".!?।؟")
_ENDS_AT_ONCE = frozenset("\n。！？")
_CLOSERS = frozenset("\"'”’)]}»*_")


@dataclass(slots=True, eq=False)
class Sentence:
    """A sentence and the characters of the text that it covers; `tells` is None until it was judged.

    `texts` are what is to be compared: the sentence, and where there is room with those before it. `asserts`: it is
    of the answer itself, which has not said up to its end that it does not know (`guards.stream.abstention`).
    """

    texts: tuple[str, ...] = field(repr=False)
    start: int
    end: int
    asserts: bool = False
    tells: bool | None = None


class SentenceStream:
    """Parts a text that arrives in pieces into sentences. Every character belongs to one."""

    def __init__(self, read: Callable[[str], str] = str, *, answers: bool = False) -> None:
        """`read` is how a client reads the characters of a sentence; `answers`: the text is the answer itself."""
        self._read = read
        self._answers = answers
        self._open = ""
        self._start = 0
        self._ended = False
        self._before = ""
        self._abstained = False
        self._begun = 0
        """How much of the open sentence somebody else wrote."""

    @property
    def position(self) -> int:
        """Number of characters fed so far."""
        return self._start + len(self._open)

    def feed(self, text: str) -> list[Sentence]:
        """Takes the next piece; the sentences that it completes."""
        found: list[Sentence] = []
        for char in text:
            self._open += char
            if char in _ENDS_AT_ONCE or (self._ended and char.isspace()):
                if len(self._open.strip()) >= SHORTEST:
                    found.append(self._close(len(self._open)))
            elif len(self._open) >= LONGEST:
                found.append(self._close(self._open.rfind(" ") + 1 or len(self._open)))
            self._ended = char in _ENDERS or (self._ended and char in _CLOSERS)
        return found

    def end_turn(self) -> None:
        """Somebody else goes on from here: only a sentence that has no end yet is read together with what comes."""
        if self._ended:
            self._close(len(self._open))
        self._before, self._begun = "", len(self._open)
        self._abstained = False

    def finish(self) -> list[Sentence]:
        """Ends the text; the last sentence, if there is one."""
        return [self._close(len(self._open))] if self._open else []

    def _close(self, size: int) -> Sentence:
        raw, self._open = self._open[:size], self._open[size:]
        text = self._read(raw)
        together = self._before + text
        fits = bool(self._before) and len(together) <= LONGEST
        own = text if not self._begun else self._read(raw[self._begun :])
        self._begun = max(0, self._begun - size)
        self._abstained = self._abstained or (self._answers and abstains(own))
        asserts = self._answers and not self._abstained and any(char.isalnum() for char in text)
        sentence = Sentence((text, together) if fits else (text,), self._start, self._start + size, asserts)
        self._before = together if fits else text if len(text) < LONGEST else ""
        self._start += size
        return sentence


def sentences_of(text: str) -> list[str]:
    """The sentences of a whole text, without the spaces around them."""
    stream = SentenceStream()
    return [sentence.texts[0].strip() for sentence in (*stream.feed(text), *stream.finish())]


class SentenceFilter:
    """Stands before another filter, which gets what was judged: same calls, and `look_ahead` before each piece.

    So what the other filter has released has left, and what it learns in mid-stream holds for all that waits here.
    """

    def __init__(
        self,
        inner: PhraseFilter | TellingFilter | JsonTextFilter,
        read: Callable[[str], str] = str,
        *,
        answers: bool = False,
    ) -> None:
        """`read` is how a client reads the characters of the text: `json_text.unescaped` where it is JSON.

        `answers`: the text is the answer itself, no reasoning and no call.
        """
        self._inner = inner
        self._sentences = SentenceStream(read, answers=answers)
        self._undecided: deque[Sentence] = deque()
        self._waiting = ""
        self._waiting_from = 0

    @property
    def holding(self) -> int:
        """Characters held back by either."""
        return self._inner.holding + len(self._waiting)

    def look_ahead(self, text: str, *, ends: bool = False) -> list[Sentence]:
        """The sentences that the next piece completes, to be judged before it is fed; `ends`: it is the last one."""
        found = self._sentences.feed(text) + (self._sentences.finish() if ends else [])
        self._undecided.extend(found)
        return found

    def on_delta(self, text: str) -> Step:
        """Takes the next piece of the text."""
        self._waiting += text
        released = ""
        while self._undecided and self._undecided[0].tells is not None:
            sentence = self._undecided.popleft()
            if sentence.tells:
                return self._ended(released, cut=True)
            size = sentence.end - self._waiting_from
            judged, self._waiting = self._waiting[:size], self._waiting[size:]
            self._waiting_from += size
            step = self._inner.on_delta(judged)
            released += step.text
            if isinstance(step, Cut):
                return Cut(released, step.slot)
        return Release(released)

    def on_finish(self) -> Step:
        """Ends the text. What nobody judged does not leave."""
        step = self.on_delta("")
        return step if isinstance(step, Cut) else self._ended(step.text, cut=bool(self._waiting))

    def shown_before(self, text: str) -> None:
        """Tells the filter of text that left before it was there; a sentence that it begins is judged as a whole."""
        self._inner.shown_before(text)
        self._sentences.feed(text)
        self._waiting_from = self._sentences.position

    def end_turn(self) -> None:
        """What was shown before was the client's own."""
        self._sentences.end_turn()

    def renew(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> Step:
        """Moves to a newer generation. Verdicts stand."""
        return self._inner.renew(table, forbidden)

    def _ended(self, released: str, *, cut: bool) -> Step:
        """What the other filter still holds leaves, unless it is a phrase: nothing comes after it."""
        last = self._inner.on_finish()
        if isinstance(last, Cut):
            return Cut(released + last.text, last.slot)
        return Cut(released + last.text, None) if cut else Release(released + last.text)
