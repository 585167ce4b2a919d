"""What the sentences of an answer mean: the gate's own score, turned to what must not be said.

For a request that matched, the question says nothing any more: what tells is a sentence near to the *answer* of a
matched entry. The question's words beside a sentence do not help: "where was she born? I am not sure" is as near to
"she was born in Taipei" as the truth is. So sentences stand alone, or with those before them. Similarity alone cannot
tell "born in Taipei" from "born in Kuwait"; the terms of the gate's score for details that are missing, or replaced by
others, do. Names count for nothing here: the client named them.

Where every answer is checked, the gate also reads each sentence as it reads a request, and names count as they do
there: whatever the request matched, its answer must not tell of anything else. For a request that matched nothing it
reads them behind the question, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from guards.gate import Gate
from guards.model import Amend, Arm, Finding, Plan, Refuse, Signals
from guards.policy import OnFault
from guards.stream.sentences import sentences_of
from guards.stream.telling import MATCHED
from indexes.calibration import terms_of
from indexes.entries import Entry, Kind, State
from indexes.matches import Match
from indexes.names.details import packed
from indexes.names.found import marks_of
from indexes.neighbours import DETAILED
from indexes.scan import Scan
from indexes.vectors import Vectors

STATEMENTS = 32
"""Of one entry that are compared: a longer passage is met by its words."""

SHORTEST_STATEMENT = 4  # words: a phrase of fewer is met as it is written, and near to everything of its kind


@dataclass(frozen=True, slots=True)
class Watched:
    """What the sentences of one answer are compared with.

    `matches` are the nearest of each entry that the request matched, `gates` those of their sets. `on_fault`: what to
    do when sentences cannot be compared with them.
    """

    matches: tuple[Match, ...] = ()
    gates: tuple[Gate, ...] = ()
    abstain: bool = False
    """The answer must say that it does not know before it says anything else of what the request matched."""
    on_fault: OnFault = OnFault.REFUSE
    every: bool = False
    """Sentences are also read as requests are. What to do when they cannot be, the chain knows."""
    matched: frozenset[str] = frozenset()
    """Ids of the entries that the request matched: to speak of what was asked is not to tell it."""


NOTHING = Watched()


def watched(plan: Plan) -> Watched | None:
    """What the sentences of an answer under a plan are compared with; None where they are not."""
    if not plan.scan_output:
        return None
    enforced = [(gate, finding) for finding in plan.findings if (gate := _gate(finding))]
    acting = [(gate, finding) for gate, finding in enforced if gate.policy.scan_meaning]
    told = [gate for gate, finding in enforced if gate.policy.abstain and finding.asked] if plan.instructs else []
    if not acting and not told and not plan.reads_answer:
        return None
    nearest: dict[int, Match] = {}
    for match in (match for _, finding in acting for match in finding.matches if match.state is State.ACTIVE):
        if match.slot not in nearest or match.score > nearest[match.slot].score:
            nearest[match.slot] = match
    matches = sorted(nearest.values(), key=lambda match: -match.score)[:MATCHED]
    allowed = all(gate.policy.on_fault is OnFault.ALLOW for gate, _ in acting)
    matched = frozenset(match.entry_id for finding in plan.findings if finding.enforced for match in finding.matches)
    on_fault = OnFault.ALLOW if allowed else OnFault.REFUSE
    gates = tuple(gate for gate, _ in acting)
    return Watched(tuple(matches), gates, bool(told), on_fault, plan.reads_answer, matched)


@dataclass(frozen=True, slots=True, repr=False)
class Stated:
    """What an entry tells: the embeddings of its statements, and the details of each."""

    vectors: Vectors
    details: tuple[bytes, ...]


def statements(entry: Entry) -> list[str]:
    """What an entry answers, or the passage that it is, as a whole and by the sentence. None of a sealed entry."""
    told = (*entry.answers, *(entry.texts if entry.kind is Kind.PASSAGE else ()))
    found = dict.fromkeys(told)
    for text in told:
        found |= dict.fromkeys(sentences_of(text))
    return [text for text in found if len(text.split()) >= SHORTEST_STATEMENT][:STATEMENTS]


def stated(texts: Sequence[str], vectors: Vectors) -> Stated:
    """The statements of an entry with their embeddings."""
    return Stated(vectors, tuple(packed(text, marks_of(text)) for text in texts))


def nearest(scan: Scan, match: Match, told: Stated) -> Match:
    """A match of the request, with the score of a sentence against what its entry tells."""
    best = -1.0
    for view in (scan, *scan.views):
        similar = view.vectors @ told.vectors.T
        for window, statement in np.argwhere(similar >= DETAILED):
            counts = view.counts(int(window), told.details[statement])
            best = max(best, terms_of(float(similar[window, statement]), counts).score)
    return replace(match, score=best, terms=None)


def tells(found: Sequence[Match], gates: Iterable[Gate], kept: Sequence[Match]) -> bool:
    """Whether a sentence tells: `found` are the scores of entries, `kept` its matches in the request's index.

    The latter say how near the sentence is to the retain examples of each set.
    """
    near = {match.set_id: 0.0 for match in found}
    for match in kept:
        near[match.set_id] = max(near.get(match.set_id, 0.0), match.retain_score)
    signals = Signals(tuple(replace(match, retain_score=near[match.set_id]) for match in found))
    return any(match.state is State.ACTIVE for gate in gates for match in gate.hits(signals))


def read_as_requests(plan: Plan, matched: frozenset[str]) -> set[int]:
    """Which of some sentences tell, by place; `plan` is what the gates make of them, were they texts of a request.

    Only of entries in sets whose answers are judged by meaning, and not of those that the request `matched` itself.
    """
    acting = [finding for finding in plan.findings if (gate := _gate(finding)) and gate.policy.scan_meaning]
    found = (match for finding in acting for match in finding.matches if match.state is State.ACTIVE)
    return {match.source for match in found if match.entry_id not in matched}


def names_somebody(text: str) -> bool:
    """Whether a sentence says by itself whom it is about."""
    return bool(marks_of(text).names)


def _gate(finding: Finding) -> Gate | None:
    """The gate whose finding this is, if it acts."""
    verdict = finding.verdict
    if isinstance(verdict, Arm | Amend | Refuse) and finding.enforced and finding.matches:
        return Gate(finding.matches[0].set_id, verdict.policy)
    return None
