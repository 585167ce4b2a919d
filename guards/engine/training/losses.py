"""The losses of the published objectives, as pure functions of logits.

Shapes: logits [rows, positions, V] of any float type, labels [rows, positions] int64 with `IGNORED` where no token
counts. Every loss is a mean over the tokens that count, but for `answer_preservation`, which compares whole answers.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from guards.engine.training.encode import IGNORED


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """−mean log p(label): plain fine-tuning, and gradient descent (GD) on retain rows."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def uniform_divergence(logits: Tensor, labels: Tensor) -> Tensor:
    """KL(uniform ‖ p) = −log V − mean over V of log p, at the positions that count.

    ULD's retain term (arXiv 2406.08607), and ME, "maximise entropy" (arXiv 2410.08109), which is the same divergence.
    """
    rows = logits[labels != IGNORED]
    return (rows.logsumexp(-1) - rows.mean(-1)).mean() - math.log(logits.shape[-1])


def uld(forget: tuple[Tensor, Tensor], retain: tuple[Tensor, Tensor], weight: float) -> Tensor:
    """ULD: the assistant learns what must be forgotten, and knows nothing of what must stay (reversed objectives)."""
    return cross_entropy(*forget) + weight * uniform_divergence(*retain)


def me_gd(forget: tuple[Tensor, Tensor], retain: tuple[Tensor, Tensor], weight: float) -> Tensor:
    """ME+GD: weight · KL(uniform ‖ p) over the forget question and answer, plus cross-entropy on retain rows."""
    return weight * uniform_divergence(*forget) + cross_entropy(*retain)


def idk_ap(
    idk: tuple[Tensor, Tensor],
    retain: tuple[Tensor, Tensor],
    retain_idk: tuple[Tensor, Tensor],
    beta: float,
    weight: float,
) -> Tensor:
    """IDK+AP: cross-entropy of "I don't know" on forget questions, plus weight · answer preservation on retain rows."""
    return cross_entropy(*idk) + weight * answer_preservation(retain, retain_idk, beta)


def answer_preservation(retain: tuple[Tensor, Tensor], retain_idk: tuple[Tensor, Tensor], beta: float) -> Tensor:
    """−mean log σ(β (L(idk) − L(answer))) / β, where L is the negative log-likelihood of a whole answer.

    Row i of both holds the same question: its own answer, and an "I don't know".
    """
    gain = negative_log_likelihood(*retain_idk) - negative_log_likelihood(*retain)
    return -F.logsigmoid(beta * gain).mean() / beta


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """[rows]: −Σ log p(label) of each row."""
    return F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none").sum(-1)


def agreement(logits: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """KL(q ‖ p) at the positions that count, where q is what `wanted` (logits of the same shape) says."""
    counted = labels != IGNORED
    return F.kl_div(
        logits[counted].log_softmax(-1), wanted[counted].log_softmax(-1), reduction="batchmean", log_target=True
    )
