"""Checkpoints of a training, so that an interruption costs little.

Rules
1. A checkpoint is written beside its place and renamed into it: whole or not there.
2. Its name is the key of its stage: a hash of all that decides the stage's weights (settings, rows, base, the stage it
   begins from). So trainings that share a stage, such as the retain half of two pairs, train it once.
"""

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Saved:
    """The adapter, the optimizer's state, and the loss of every step so far: as many steps are done."""

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    losses: Sequence[float]


class Checkpoints:
    """The latest checkpoint of each stage, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def latest(self, key: str) -> Saved | None:
        """None when there is none of this stage, or what is there cannot be read."""
        try:
            raw = torch.load(self._path(key), map_location="cpu", weights_only=True)
            return Saved(raw["weights"], raw["optimizer"], raw["losses"])
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError):
            return None  # training again from the start is always right, only longer

    def save(self, key: str, saved: Saved) -> None:
        """Replace the checkpoint of a stage."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._path(key).with_suffix(f".{os.getpid()}.partial")
        raw = {
            "weights": dict(saved.weights),
            "optimizer": dict(saved.optimizer),
            "losses": list(saved.losses),
        }
        try:
            torch.save(raw, partial)
            partial.replace(self._path(key))
        finally:
            partial.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.pt"
