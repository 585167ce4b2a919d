"""A plan carried out: the shortened base, wearing the trained adapter of every part."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from guards.engine.training import auxiliary
from guards.engine.training.checkpoints import Checkpoints
from guards.engine.training.encode import encode
from guards.engine.training.loop import Progress, train
from guards.engine.training.plan import Plan
from guards.engine.training.rows import Row


def train_parts(
    plan: Plan,
    model_folder: Path,
    identity: str,
    tokenizer: Any,
    streams: Mapping[str, Sequence[Row]],
    work: Path,
    say: Callable[[Progress], None],
) -> tuple[PeftModel, dict[str, float]]:
    """Train what `work` does not hold yet; return the model with an adapter a role, and the last losses by role.

    model_folder: what the parts are made of: the base, or a smaller model. identity: its fingerprint.
    """
    objective = plan.trained
    used = {name for stage in objective.stages for name in stage.streams}
    pools = {name: [encode(tokenizer, row, plan.max_tokens) for row in streams[name]] for name in used}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    model = auxiliary.dress(
        auxiliary.load(model_folder, plan.layers), objective.roles, plan.rank, plan.alpha, plan.seed
    )
    model.to(device())
    precision = getattr(torch, plan.precision)
    losses = {}
    for stage in objective.stages:
        key = plan.key(stage, streams, identity)
        schedule = plan.schedule(stage)
        losses[stage.role] = train(
            model, stage, pools, schedule, plan.weights, pad, precision, Checkpoints(work), key, say
        )
    return model, losses


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
