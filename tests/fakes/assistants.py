"""Folders of assistants whose weights are a few bytes: enough for whoever only reads cards and hashes files."""

import json
from pathlib import Path
from typing import Any

from guards.engine import fingerprint

CARD: dict[str, Any] = {
    "format": 1,
    "name": "uld",
    "version": 1,
    "objective": "uld",
    "kind": "layers",
    "base": "0" * 64,
    "parts": [{"slot": 0, "role": "assistant", "weight": -1.0}],
    "strength": 0.75,
    "max_strength": 1.5,
    "combine": "linear",
    "k": None,
    "filter_rate": 0.01,
    "layers": 8,
    "rank": 8,
    "hashes": {},
    "settings": {},
    "metrics": {},
    "sweep": [],
}


def write_assistant(
    root: Path, name: str, version: int, *, base: Path | None = None, weights: bytes = b"weights", **changes: Any
) -> Path:
    """`root`/NAME/VERSION with a card and an adapter. `base`: the model folder that it says it was trained for."""
    folder = root / name / str(version)
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    card = {**CARD, "name": name, "version": version, **changes}
    if base is not None:
        card["base"] = fingerprint.of(base)
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def write_base(folder: Path, weights: bytes) -> Path:
    """A folder that looks like a checkpoint."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + weights)
    return folder
