"""Training of one stage: which rows each step draws, the schedule, and where it goes on after an interruption.

A step is a function of the seed, its number and the weights before it, and of nothing else; so a training that was
interrupted ends with the weights that it would have had (on the same machine, with the same number of threads).
"""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from peft import PeftModel
from torch import Tensor

from guards.engine.training import auxiliary, encode
from guards.engine.training import losses as losses_of
from guards.engine.training.checkpoints import Checkpoints, Saved
from guards.engine.training.encode import Batch, Encoded
from guards.engine.training.objectives import RETAIN, RETAIN_IDK, Outputs, Stage, Weights


@dataclass(frozen=True, slots=True)
class Schedule:
    """steps of `rows` rows a stream each; the learning rate rises over the first tenth, then falls to 0 as a cosine."""

    steps: int
    rows: int
    learning_rate: float
    seed: int = 0
    save_every: int = 10  # steps; an interruption loses at most these
    warm_up: float = 0.1

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rising = max(1, round(self.warm_up * self.steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising)))


@dataclass(frozen=True, slots=True)
class Progress:
    """Said after each step: `left_s` is estimated from the steps of this run."""

    role: str
    step: int
    steps: int
    loss: float
    left_s: float


def drawn(pool: int, stream: str, step: int, rows: int, seed: int) -> list[int]:
    """Positions in a pool of `pool` rows that a step draws: epoch after epoch, each in an order of its own."""
    name = RETAIN if stream == RETAIN_IDK else stream  # pairs: the same question with two answers
    first = step * rows
    return [_order(pool, name, place // pool, seed)[place % pool] for place in range(first, first + rows)]


@cache
def _order(pool: int, name: str, epoch: int, seed: int) -> tuple[int, ...]:
    order = list(range(pool))
    random.Random(f"{seed} {name} {epoch}").shuffle(order)  # noqa: S311 - an order, not a secret
    return tuple(order)


def train(
    model: PeftModel,
    stage: Stage,
    pools: Mapping[str, Sequence[Encoded]],
    schedule: Schedule,
    weights: Weights,
    pad: int,
    precision: torch.dtype,
    checkpoints: Checkpoints,
    key: str,
    say: Callable[[Progress], None],
) -> float:
    """Train the adapter of a stage, or what is left of it; return the mean loss of the last tenth of its steps.

    The adapter of `stage.start` must be trained already.
    """
    device = next(model.parameters()).device
    saved = checkpoints.latest(key)
    if saved is not None:
        auxiliary.set_weights(model, stage.role, saved.weights)
    elif stage.start is not None:
        auxiliary.set_weights(model, stage.role, auxiliary.weights_of(model, stage.start))
    auxiliary.wear(model, stage.role, train=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.learning_rate, weight_decay=0.0)
    losses: list[float] = []
    if saved is not None:
        optimizer.load_state_dict(saved.optimizer)
        losses = list(saved.losses)
    anchored = stage.anchored and weights.anchor > 0
    began, first = time.monotonic(), len(losses)
    for step in range(first, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        rows = _rows(stage, pools, step, schedule, pad).to(device)
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            told = _told_before(model, stage, rows) if anchored else None
            logits = encode.logits_of(model, rows.batch)
        outputs = rows.apart(logits)
        loss = stage.loss(outputs, weights)
        if told is not None:
            loss = loss + weights.anchor * losses_of.agreement(*outputs[RETAIN], told)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        done = step + 1
        if done % schedule.save_every == 0 or done == schedule.steps:
            checkpoints.save(key, Saved(auxiliary.weights_of(model, stage.role), optimizer.state_dict(), losses))
        left = (schedule.steps - done) * (time.monotonic() - began) / (done - first)
        say(Progress(stage.role, done, schedule.steps, losses[-1], left))
    auxiliary.wear(model, stage.role)
    tail = losses[-max(1, schedule.steps // 10) :]
    return sum(tail) / len(tail)


def _told_before(model: PeftModel, stage: Stage, rows: "Rows") -> Tensor:
    """The logits of the retain rows as the part says them from which this stage went on."""
    auxiliary.wear(model, stage.start or "")
    with torch.no_grad():
        told = encode.logits_of(model, rows.of(RETAIN))
    auxiliary.wear(model, stage.role, train=True)
    return told


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of all streams of a step beside each other. counts: rows of each stream, in their order."""

    batch: Batch
    counts: Mapping[str, int]

    def to(self, device: torch.device) -> "Rows":
        return Rows(self.batch.to(device), self.counts)

    def apart(self, logits: Tensor) -> Outputs:
        """Logits and labels by stream."""
        sizes = list(self.counts.values())
        pairs = zip(logits.split(sizes), self.batch.labels.split(sizes), strict=True)
        return dict(zip(self.counts, pairs, strict=True))

    def of(self, stream: str) -> Batch:
        """The rows of one stream, at the positions that they have among all."""
        names = list(self.counts)
        first = sum(self.counts[name] for name in names[: names.index(stream)])
        place = slice(first, first + self.counts[stream])
        inputs = {name: tensor[place] for name, tensor in self.batch.inputs.items()}
        return Batch(inputs, self.batch.keep, self.batch.labels[place])


def _rows(stage: Stage, pools: Mapping[str, Sequence[Encoded]], step: int, schedule: Schedule, pad: int) -> Rows:
    places = {stream: drawn(len(pools[stream]), stream, step, schedule.rows, schedule.seed) for stream in stage.streams}
    rows = [pools[stream][place] for stream, chosen in places.items() for place in chosen]
    whole = [stream in stage.whole for stream, chosen in places.items() for _ in chosen]
    return Rows(encode.batch(rows, pad, whole), {stream: len(chosen) for stream, chosen in places.items()})
