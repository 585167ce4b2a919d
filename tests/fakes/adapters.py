"""A real adapter with random weights for the first layers of a Llama-like checkpoint, named as the composite wants it.

Written by hand, because neither torch nor safetensors is in this environment.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from guards.engine import fingerprint
from guards.engine.launch import adapter_tensor_name
from tests.fakes.assistants import CARD

RANK = 4


def write_random_assistant(root: Path, name: str, version: int, base: Path, *, layers: int) -> Path:
    """`root`/NAME/VERSION, an assistant of `base`; the version seeds its weights."""
    folder = root / name / str(version)
    (folder / "adapter").mkdir(parents=True)
    config = json.loads((base / "config.json").read_text())
    shapes = _shapes(config)
    rng = np.random.default_rng(version)
    tensors: dict[str, np.ndarray] = {}
    for layer in range(layers):
        for module, (out, into) in shapes.items():
            peft = f"base_model.model.model.layers.{layer}.{module}"
            for side, shape in (("lora_A", (RANK, into)), ("lora_B", (out, RANK))):
                weights = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.2)
                tensors[adapter_tensor_name(f"{peft}.{side}.weight", 0)] = weights
    _save(tensors, folder / "adapter" / "adapter_model.safetensors")
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({module.rpartition(".")[2] for module in shapes}),
        "base_model_name_or_path": "",
    }
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(adapter))
    card = {**CARD, "name": name, "version": version, "base": fingerprint.of(base), "layers": layers, "rank": RANK}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of the linear modules of a layer."""
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    each = config.get("head_dim") or hidden // heads
    queries, keys = heads * each, config["num_key_value_heads"] * each
    return {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }


def _save(tensors: dict[str, np.ndarray], path: Path) -> None:
    """The safetensors format: the length of a JSON header, the header, the tensors one after the other."""
    header: dict[str, Any] = {}
    start = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, start + tensor.nbytes]}
        start += tensor.nbytes
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for tensor in tensors.values():
            file.write(tensor.tobytes())
