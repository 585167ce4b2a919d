"""The turns of a conversation: which texts belong to earlier ones, and what several of them say together.

A question can be asked in pieces, so the last user turns are also read as one text. And a question that was asked long
ago still stands in the conversation: the model can be asked for its answer later, so it stays armed; but it does not
silence what has nothing to do with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from indexes.entries import State
from indexes.matches import Match

JOINED_TURNS = 4  # of the user, read as one text
JOINED_WORDS = 96  # their last words: a question in pieces is short, and each window of words costs an embedding


@dataclass(frozen=True, slots=True)
class Turns:
    """Places, among the texts of a request, of those of earlier turns and of the one that joins the last turns."""

    earlier: frozenset[int] = frozenset()
    joined: frozenset[int] = frozenset()

    def only_earlier(self, hits: Sequence[Match]) -> bool:
        """True when what acts was said in earlier turns alone: the last turn adds nothing to it."""
        acting = [match for match in hits if match.state is State.ACTIVE]
        known = {match.entry_id for match in acting if match.source in self.earlier}
        return bool(acting) and all(
            match.source in self.earlier or (match.source in self.joined and match.entry_id in known)
            for match in acting
        )


ONE_TURN = Turns()


def joined(turns: Sequence[str]) -> str | None:
    """The end of the last turns of a user as one text; None where there is one turn, which is read anyway."""
    if len(turns) < 2:
        return None
    words = " ".join(turns[-JOINED_TURNS:]).split()
    return " ".join(words[-JOINED_WORDS:])
