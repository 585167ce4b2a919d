"""What each objective trains, in which order, from which rows, and how its parts are subtracted afterwards.

| objective | parts (slot, role, weight at strength 1) | stages |
|---|---|---|
| uld | 0 assistant −1 | assistant: ULD |
| divergence | 0 retain +1, 1 forget −1 | retain: plain on retain rows; forget: plain on forget and retain rows |
| offset-me | 0 unlearned +1, 1 original −1 | original: plain on forget and retain rows; unlearned, from it: ME+GD |
| offset-idk | 0 unlearned +1, 1 original −1 | original, as above; unlearned, from it: IDK+AP |

A shortened base is no language model before it is trained, so the published "same small model, fine-tuned twice" is a
second stage that goes on from the first: what both parts get wrong is then the same, and cancels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from guards.engine.card import Part
from guards.engine.training import losses
from guards.engine.training.rows import Row

Outputs = Mapping[str, tuple[Tensor, Tensor]]  # stream → logits and labels of its rows in this step
FORGET, RETAIN, IDK, RETAIN_IDK = "forget", "retain", "idk", "retain_idk"


@dataclass(frozen=True, slots=True)
class Weights:
    """Constants of the losses; the defaults are the published ones."""

    uniform: float = 5.0  # ULD's w: 5 to 6.5
    entropy: float = 0.1  # ME+GD
    preservation: float = 1.0  # IDK+AP
    beta: float = 0.1  # IDK+AP
    anchor: float = 0.0  # of the second part of a pair to the first on retain rows; 0: the published methods


@dataclass(frozen=True, slots=True)
class Stage:
    """One adapter's training.

    start: the role whose adapter it begins from; None is a fresh one. streams: which rows each step draws. whole:
    streams whose question tokens are labels, too. loss: of one step. anchored: `Weights.anchor` · KL(first ‖ this) on
    retain rows is added, so that what must stay is said alike by both parts and cancels.
    """

    role: str
    start: str | None
    streams: Sequence[str]
    loss: Callable[[Outputs, Weights], Tensor]
    whole: frozenset[str] = frozenset()
    anchored: bool = False


@dataclass(frozen=True, slots=True)
class Objective:
    """See the head of this file."""

    parts: Sequence[Part]
    stages: Sequence[Stage]

    @property
    def roles(self) -> list[str]:
        """In the order of their slots."""
        return [part.role for part in sorted(self.parts, key=lambda part: part.slot)]


def _plain(outputs: Outputs, _: Weights) -> Tensor:
    """Cross-entropy, a mean over all tokens of the step whichever stream they are from."""
    counts = {name: (labels != losses.IGNORED).sum() for name, (_, labels) in outputs.items()}
    total = sum(losses.cross_entropy(*outputs[name]) * count for name, count in counts.items())
    return total / sum(counts.values())


def _uld(outputs: Outputs, weights: Weights) -> Tensor:
    return losses.uld(outputs[FORGET], outputs[RETAIN], weights.uniform)


def _me_gd(outputs: Outputs, weights: Weights) -> Tensor:
    return losses.me_gd(outputs[FORGET], outputs[RETAIN], weights.entropy)


def _idk_ap(outputs: Outputs, weights: Weights) -> Tensor:
    return losses.idk_ap(outputs[IDK], outputs[RETAIN], outputs[RETAIN_IDK], weights.beta, weights.preservation)


_BOTH = (FORGET, RETAIN)
_PAIR = (Part(0, "unlearned", 1.0), Part(1, "original", -1.0))
_ORIGINAL = Stage("original", None, _BOTH, _plain)
OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "uld": Objective((Part(0, "assistant", -1.0),), (Stage("assistant", None, _BOTH, _uld),)),
        "divergence": Objective(
            (Part(0, "retain", 1.0), Part(1, "forget", -1.0)),
            (Stage("retain", None, (RETAIN,), _plain), Stage("forget", "retain", _BOTH, _plain, anchored=True)),
        ),
        "offset-me": Objective(
            _PAIR, (_ORIGINAL, Stage("unlearned", "original", _BOTH, _me_gd, whole=frozenset({FORGET}), anchored=True))
        ),
        "offset-idk": Objective(_PAIR, (_ORIGINAL, Stage("unlearned", "original", (IDK, RETAIN, RETAIN_IDK), _idk_ap))),
    }
)

# "I don't know" in as many ways as it takes not to teach one sentence.
UNKNOWN_ANSWERS = (
    "I don't know.",
    "I'm not sure about that.",
    "I have no information about that.",
    "I'm afraid I can't say.",
    "That is not something I know.",
    "I haven't come across that.",
    "I'm not aware of the answer to this question.",
    "I don't have that information.",
)


def streams_of(forget: Sequence[Row], perturbed: Sequence[Row], retain: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of every stream. `perturbed`, wrong answers to forget questions, stand with what must stay in ULD."""
    return {
        FORGET: list(forget),
        RETAIN: [*retain, *perturbed],
        IDK: [_unknown(row, index) for index, row in enumerate(forget)],
        # Row i has the question of retain row i: the two are drawn together.
        RETAIN_IDK: [_unknown(row, index) for index, row in enumerate([*retain, *perturbed])],
    }


def _unknown(row: Row, index: int) -> Row:
    return Row(row.question, UNKNOWN_ANSWERS[index % len(UNKNOWN_ANSWERS)])
