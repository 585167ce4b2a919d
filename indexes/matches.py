"""A match: one text of a request that is near one forget entry. A plain record, shared by everyone above."""

from dataclasses import dataclass
from enum import StrEnum

from indexes.calibration import Terms
from indexes.entries import Kind, State


class Via(StrEnum):
    """By which comparison a match was found."""

    EMBEDDING = "embedding"
    NAME = "name"
    """A name as it is written."""
    SOUND = "sound"
    """A name in another script, misspelt, or two words of three."""
    DATE = "date"
    """A full date, with a word of the entry beside it."""
    PHRASE = "phrase"


@dataclass(frozen=True, slots=True)
class Match:
    """A text of the request that is near an entry. `score` is a similarity in [-1, 1]; higher is nearer. `terms` say
    what it is made of, and `view` which steps had to be undone to read it so.

    `retain_score` is the similarity of the same window to the nearest retain example of the entry's set.
    `source` numbers the text of the request, `span` are characters in it. `threshold` is the entry's own, if any.
    """

    entry_id: str
    set_id: str
    kind: Kind
    state: State
    score: float
    retain_score: float
    source: int
    span: tuple[int, int]
    via: Via
    threshold: float | None = None
    terms: Terms | None = None
    view: tuple[str, ...] = ()
    slot: int = -1
    """Where the entry stands in the index: see `Generation.secret`."""
    raised: int = 0
    """By how many rungs the entry's ladder begins higher."""

    @property
    def margin(self) -> float:
        """How much nearer the text is to what must be forgotten than to what must be kept."""
        return self.score - self.retain_score
