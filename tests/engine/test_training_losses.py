"""Each loss against its formula, written out number by number in plain Python."""

import math

import pytest
import torch

from guards.engine.training import losses
from guards.engine.training.encode import IGNORED
from guards.engine.training.objectives import FORGET, IDK, OBJECTIVES, RETAIN, RETAIN_IDK, Weights, streams_of
from guards.engine.training.rows import Row

VOCAB, POSITIONS = 7, 4


def stream(seed: int, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels; answers of different lengths, so that something is ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, POSITIONS, VOCAB, generator=generator)
    labels = torch.randint(0, VOCAB, (rows, POSITIONS), generator=generator)
    for row in range(rows):
        labels[row, : row % POSITIONS] = IGNORED
    return logits, labels


def log_p(logits: torch.Tensor, row: int, position: int) -> list[float]:
    values = logits[row, position].tolist()
    total = math.log(sum(math.exp(value) for value in values))
    return [value - total for value in values]


def counted(labels: torch.Tensor):
    return [(r, t, label) for r, line in enumerate(labels.tolist()) for t, label in enumerate(line) if label != IGNORED]


def cross_entropy(logits, labels) -> float:
    told = [-log_p(logits, row, position)[label] for row, position, label in counted(labels)]
    return sum(told) / len(told)


def uniform_kl(logits, labels) -> float:
    """Σ_v (1/V) · log((1/V) / p_v), a mean over the positions that count."""
    told = [
        sum((math.log(1 / VOCAB) - value) / VOCAB for value in log_p(logits, row, position))
        for row, position, _ in counted(labels)
    ]
    return sum(told) / len(told)


def negative_log_likelihoods(logits, labels) -> list[float]:
    found = [0.0] * len(labels)
    for row, position, label in counted(labels):
        found[row] -= log_p(logits, row, position)[label]
    return found


def preservation(retain, retain_idk, beta: float) -> float:
    """−log σ(β (loss_idk − loss_answer)) / β, a mean over rows."""
    pairs = zip(negative_log_likelihoods(*retain_idk), negative_log_likelihoods(*retain), strict=True)
    told = [-math.log(1 / (1 + math.exp(-beta * (idk - answer)))) / beta for idk, answer in pairs]
    return sum(told) / len(told)


@pytest.mark.parametrize("seed", range(5))
def test_uld(seed: int):
    forget, retain = stream(seed), stream(seed + 100, rows=4)
    want = cross_entropy(*forget) + 5.5 * uniform_kl(*retain)
    assert losses.uld(forget, retain, 5.5).item() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_me_gd(seed: int):
    forget, retain = stream(seed), stream(seed + 100, rows=4)
    want = 0.1 * uniform_kl(*forget) + cross_entropy(*retain)
    assert losses.me_gd(forget, retain, 0.1).item() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_idk_ap(seed: int):
    idk, retain, retain_idk = stream(seed), stream(seed + 100), stream(seed + 200)
    want = cross_entropy(*idk) + 2.0 * preservation(retain, retain_idk, 0.1)
    assert losses.idk_ap(idk, retain, retain_idk, 0.1, 2.0).item() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_agreement(seed: int):
    """Σ_v q_v · log(q_v / p_v), a mean over the positions that count."""
    logits, labels = stream(seed)
    wanted, _ = stream(seed + 100)
    told = []
    for row, position, _ in counted(labels):
        q, p = log_p(wanted, row, position), log_p(logits, row, position)
        told.append(sum(math.exp(a) * (a - b) for a, b in zip(q, p, strict=True)))
    assert losses.agreement(logits, labels, wanted).item() == pytest.approx(sum(told) / len(told), rel=1e-4)
    assert losses.agreement(logits, labels, logits).item() == pytest.approx(0, abs=1e-6)


def test_a_uniform_model_has_no_divergence_and_a_sure_one_much():
    labels = torch.zeros(1, 2, dtype=torch.int64)
    assert losses.uniform_divergence(torch.full((1, 2, VOCAB), 3.0), labels).item() == pytest.approx(0, abs=1e-6)
    sure = torch.zeros(1, 2, VOCAB)
    sure[..., 0] = 50
    assert losses.uniform_divergence(sure, labels).item() > 30


def test_the_objectives_use_the_losses_they_are_named_after():
    weights = Weights(uniform=5.5, entropy=0.1, preservation=2.0, beta=0.1)
    outputs = {FORGET: stream(1), RETAIN: stream(2), IDK: stream(3), RETAIN_IDK: stream(4)}
    last = {name: objective.stages[-1] for name, objective in OBJECTIVES.items()}

    def loss(name: str) -> float:
        return last[name].loss({stream: outputs[stream] for stream in last[name].streams}, weights).item()

    assert loss("uld") == losses.uld(outputs[FORGET], outputs[RETAIN], 5.5).item()
    assert loss("offset-me") == losses.me_gd(outputs[FORGET], outputs[RETAIN], 0.1).item()
    assert loss("offset-idk") == losses.idk_ap(outputs[IDK], outputs[RETAIN], outputs[RETAIN_IDK], 0.1, 2.0).item()
    both = [torch.cat(pair) for pair in zip(outputs[FORGET], outputs[RETAIN], strict=True)]
    assert loss("divergence") == pytest.approx(cross_entropy(*both), rel=1e-4)  # plain fine-tuning on all rows
    assert OBJECTIVES["offset-me"].stages[-1].whole == {FORGET}  # ME flattens the question, too


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_stage_begins_from_one_that_came_before_and_every_part_is_trained(name: str):
    seen: list[str] = []
    for stage in OBJECTIVES[name].stages:
        assert stage.start is None or stage.start in seen
        seen.append(stage.role)
    assert sorted(seen) == sorted(OBJECTIVES[name].roles)


def test_pairs_of_streams_hold_the_same_questions():
    forget, retain = [Row("q1", "a1"), Row("q2", "a2")], [Row("q3", "a3")]
    streams = streams_of(forget, [Row("q1", "wrong")], retain)
    assert [row.question for row in streams[IDK]] == ["q1", "q2"]
    assert [row.question for row in streams[RETAIN_IDK]] == [row.question for row in streams[RETAIN]] == ["q3", "q1"]
    assert not {row.answer for row in streams[IDK]} & {"a1", "a2"}
