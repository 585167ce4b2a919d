"""The rule by which signals become one score, and the weights in it.

    score = similarity + name + details - missing - conflict          (at most 1, at least -1)

- *similarity*: cosine of a window of the text and a text of the entry.
- *name*: a name of the entry stands in the text. How much depends on whose word it is that this is the entry's name
  (stated in `names`, or found in its text) and on how it is written (as it is; or in another script, misspelt, in
  part). Each is above the default threshold: a full name is enough by itself, which is what finds a question in a
  language that the embedder does not know.
- *details*: places, numbers, titles and single words of names that the window has in common with the entry's text.
- *missing*: share of the entry's details that the window lacks, where it has none of them or others in their place:
  who is called by the surname alone is still the same.
- *conflict*: share of the entry's details in whose place the text has others: the same form of question about somebody
  else.

So the score stays on the scale of a cosine similarity: for a text without any mark it is one, and a threshold means
what it says. The weights of the last three were chosen on authors of TOFU's retain set: two groups of ten that in turn
were to be forgotten, all others (and their paraphrases) to be kept, names left out; of the weights on a grid those with
most paraphrases found at .4 % false alarms. No set that results are reported for took part (docs/decisions.md).
"""

from dataclasses import dataclass, fields

from indexes.names.details import Counts

NO_DETAILS = Counts()


@dataclass(frozen=True, slots=True)
class Weights:
    """What each term adds at most, in units of similarity."""

    stated: float = 1.0
    """Name that the entry states, as it is written."""
    stated_heard: float = 0.95
    """The same in another script, misspelt, or two words of three."""
    found: float = 0.9
    """Full name that was found in the entry's text, as it is written."""
    found_heard: float = 0.85
    """The same in another script, misspelt, or two words of three."""
    detail: float = 0.04
    """Each detail that the window shares with the entry's text ..."""
    details: int = 4
    """... up to so many."""
    missing: float = 0.1
    """All details of the entry missing."""
    conflict: float = 0.5
    """All details of the entry replaced by others."""

    def name(self, *, stated: bool, exact: bool) -> float:
        """The term of a name."""
        if stated:
            return self.stated if exact else self.stated_heard
        return self.found if exact else self.found_heard


DEFAULT_WEIGHTS = Weights()

SIMILARITY_ONLY = Weights(stated_heard=0, found=0, found_heard=0, detail=0, details=0, missing=0, conflict=0)
"""Plain cosine similarity and stated names as they are written: what the other terms are measured against."""


@dataclass(frozen=True, slots=True)
class Terms:
    """One score with what it is made of."""

    similarity: float = 0.0
    name: float = 0.0
    details: float = 0.0
    missing: float = 0.0
    conflict: float = 0.0

    @property
    def score(self) -> float:
        total = self.similarity + self.name + self.details - self.missing - self.conflict
        return max(-1.0, min(1.0, total))

    def shown(self) -> dict[str, float]:
        """The terms by name, rounded, without those that are 0."""
        return {f.name: round(value, 3) for f in fields(self) if (value := getattr(self, f.name))}


def terms_of(similarity: float, counts: Counts = NO_DETAILS, by: Weights = DEFAULT_WEIGHTS) -> Terms:
    """The terms of one window and one text of an entry, without names."""
    known = counts.found + counts.missing
    lacking = known and (counts.instead or not counts.found)
    return Terms(
        similarity,
        details=by.detail * min(counts.found, by.details),
        missing=by.missing * counts.missing / known if lacking else 0.0,
        conflict=by.conflict * counts.conflict,
    )
