"""The turns of a conversation: which texts belong to earlier ones, and what several of them say together.

A question can be asked in pieces: over turns, over the parts of one message, from the system prompt into the first
turn. So where texts meet they are also read as one. And a question that was asked long ago still stands in the
conversation: the model can be asked for its answer later, so it stays armed; but it does not silence what has nothing
to do with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from indexes.entries import State
from indexes.matches import Match

BEFORE = 36  # words before a seam that are read with what follows
AFTER = 24  # words after it: as many as the widest window of a text has
EVERY = 12  # words from which the next seam is read: texts of a word each must not cost a reading each
SHORT_ANSWER = 24  # words of an assistant's turn that can be a piece of a question; a longer one parts two


@dataclass(frozen=True, slots=True)
class Turns:
    """Places, among the texts of a request, of those of earlier turns and of those that join several texts.

    `beside`: all that is not the client's last turn itself: earlier turns, system prompts, tools and what they brought.
    """

    earlier: frozenset[int] = frozenset()
    joined: frozenset[int] = frozenset()
    beside: frozenset[int] = frozenset()

    def only_earlier(self, hits: Sequence[Match]) -> bool:
        """True when what acts was said in earlier turns alone: the last turn adds nothing to it."""
        acting = [match for match in hits if match.state is State.ACTIVE]
        known = {match.entry_id for match in acting if match.source in self.earlier}
        return bool(acting) and all(
            match.source in self.earlier or (match.source in self.joined and match.entry_id in known)
            for match in acting
        )

    def asked(self, hits: Sequence[Match]) -> bool:
        """True when the last turn itself asks for what acts, and not only what stands beside it."""
        acting = [match for match in hits if match.state is State.ACTIVE]
        known = {match.entry_id for match in acting if match.source in self.beside}
        return any(
            match.source not in self.beside and not (match.source in self.joined and match.entry_id in known)
            for match in acting
        )


ONE_TURN = Turns()


def seams(texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Where texts meet: the words around, and the place of the text after the seam.

    Every run of `AFTER` words that lies in several texts stands in one of them. They do not change when the
    conversation goes on, so what was read once need not be read again.
    """
    spoken = [(place, words) for place, text in enumerate(texts) if (words := text.split())]
    before: list[str] = []
    since = 0
    for place, words in spoken:
        since += len(words)
        if before and (since >= EVERY or place == spoken[-1][0]):
            yield place, " ".join((*before, *words[:AFTER]))
            since = 0
        before = [*before, *words[-BEFORE:]][-BEFORE:]
