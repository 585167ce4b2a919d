"""What the offsets cost on a GPU: `python -m bench.gpu [--dry-run] [--kind NAME] [--json FILE]` (`-`: standard output).

As `bench.engine`, at the size of an 8B base and a 1B auxiliary, in bfloat16 with CUDA graphs, on Model Runner V2. The
weights are vLLM's dummy ones: speed does not depend on what they say, and nothing is downloaded; so nothing is said
about exactness here, which `bench.engine` and the tests show. Kinds: `checkpoint` (the 1B model), `layers` (the first 8
of 32 layers, shared), `lora` (the same, wearing an adapter of rank 16), `pair` (two of them).

`--dry-run` runs every step on the CPU with tiny shapes, eagerly, on the V1 runner: that the script works, no figures.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.engine.arms import Kind, Setting, figures, measure, prompts_of, running, say
from bench.engine.limits import Part, Shape
from guards.engine.launch import Auxiliary

RANK = 16
KINDS = ("checkpoint", "layers", "lora", "pair")
LAYERS = {False: 8, True: 1}  # of the base that the shared auxiliaries run; True: dry run
# Llama 3.1 8B and Llama 3.2 1B.
BASE = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
SMALL = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
COMMON = {"num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192, "rope_theta": 500000.0}
TINY = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_COMMON = {"num_key_value_heads": 1, "vocab_size": 256, "max_position_embeddings": 512}
OPTIONS = {
    "load_format": "dummy",
    "skip_tokenizer_init": True,
    "dtype": "bfloat16",
    "max_model_len": 2048,
    "max_num_seqs": 64,
    "logprobs_mode": "processed_logprobs",
    "enable_prefix_caching": False,
    "disable_log_stats": True,
    "gpu_memory_utilization": 0.4,  # two engines stand side by side: 16 GB of weights each, and their caches
}
DRY = {"dtype": "float32", "enforce_eager": True, "max_model_len": 256, "max_num_seqs": 4}


def bench(batches: list[int], rounds: int, chosen: Sequence[str] = KINDS, *, dry: bool) -> dict[str, Any]:
    runner = "v1" if dry else "v2"
    kinds: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as name:
        folder = Path(name)
        base = write_config(folder / "base", **(TINY | TINY_COMMON if dry else BASE | COMMON))
        small = write_config(folder / "small", **(TINY | TINY_COMMON if dry else SMALL | COMMON))
        options = OPTIONS | DRY if dry else OPTIONS
        tokens = (16, 8) if dry else (256, 128)
        setting = Setting(folder / "base", options, runner, 4 if dry else 2, *tokens)
        with running(setting, {}, "plain vLLM") as plain:
            for kind in kinds_of(folder / "small", LAYERS[dry]):
                if kind.name not in chosen:
                    continue
                parts = parts_of(kind, base, small)
                adapter = write_adapter(folder / "adapter", base, LAYERS[dry]) if kind.rank else None
                with running(setting, kind.options(runner), kind.name) as engine:
                    by_batch = {}
                    for batch in batches:
                        say(f"{kind.name}: batch {batch}, {rounds} rounds")
                        prompts = prompts_of(batch, base.vocab, setting.prompt_tokens, seed=batch)
                        arms = measure(plain, engine, kind, prompts, adapter, rounds)
                        by_batch[batch] = figures(setting, base, parts, batch, arms)
                kinds[kind.name] = by_batch
    return {"dry_run": dry, "runner": runner, "kinds": kinds}


def kinds_of(small: Path, layers: int) -> tuple[Kind, ...]:
    a, b = (Auxiliary(name, "layers", layers=layers) for name in "ab")
    return (
        Kind("checkpoint", [Auxiliary("a", "checkpoint", model=str(small))], {"a": -0.5}),
        Kind("layers", [a], {"a": -0.5}),
        Kind("lora", [a], {"a": -0.5}, RANK),
        Kind("pair", [a, b], {"a": 0.75, "b": -0.5}),
    )


def parts_of(kind: Kind, base: Shape, small: Shape) -> list[Part]:
    return [
        Part(small, small.layers) if one.kind == "checkpoint" else Part(base, one.layers or 0, kind.rank)
        for one in kind.auxiliaries
    ]


def write_config(folder: Path, **shape: Any) -> Shape:
    """A folder that names a model and its sizes; its weights are made up by vLLM."""
    from transformers import LlamaConfig  # noqa: PLC0415 - slow to import, and --help should not wait

    config = LlamaConfig(architectures=["LlamaForCausalLM"], tie_word_embeddings=False, **shape)
    config.save_pretrained(folder)
    return Shape.of(config)


def write_adapter(folder: Path, shape: Shape, layers: int) -> Path:
    """An adapter of random weights for the composite's first auxiliary, written without building the model."""
    import torch  # noqa: PLC0415 - as above
    from safetensors.torch import save_file  # noqa: PLC0415 - as above

    from guards.engine.launch import adapter_tensor_name  # noqa: PLC0415 - beside its only use

    widths = {
        "self_attn.q_proj": (shape.hidden, shape.query),
        "self_attn.k_proj": (shape.hidden, shape.key_value),
        "self_attn.v_proj": (shape.hidden, shape.key_value),
        "self_attn.o_proj": (shape.query, shape.hidden),
        "mlp.gate_proj": (shape.hidden, shape.intermediate),
        "mlp.up_proj": (shape.hidden, shape.intermediate),
        "mlp.down_proj": (shape.intermediate, shape.hidden),
    }
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in range(layers):
        for module, (into, out) in widths.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            for part, size in (("lora_A", (RANK, into)), ("lora_B", (out, RANK))):
                tensor = 0.02 * torch.randn(size, generator=generator)
                tensors[adapter_tensor_name(f"{name}.{part}.weight", 0)] = tensor.to(torch.bfloat16)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    modules = sorted({module.rpartition(".")[2] for module in widths})
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": modules, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="every step on the CPU with tiny shapes; no figures")
    parser.add_argument("--json", metavar="FILE", default="-", help="where the figures go; - is standard output")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this one; may be repeated")
    options = parser.parse_args()
    if not (find_spec("torch") and find_spec("vllm")):
        there = Path(".venv-engine/bin/python").absolute()
        if not there.exists():
            parser.error("needs the engine's environment: no vllm here, and no .venv-engine beside")
        os.execv(there, [str(there), "-m", "bench.gpu", *sys.argv[1:]])  # noqa: S606 - ourselves, elsewhere
    import torch  # noqa: PLC0415 - slow to import, see above

    if not options.dry_run and not torch.cuda.is_available():
        parser.error("there is no GPU here; --dry-run shows that the script works")
    batches, rounds = ([2], 1) if options.dry_run else ([1, 16, 64], 5)
    text = json.dumps(bench(batches, rounds, options.kind or KINDS, dry=options.dry_run), indent=1)
    if options.json == "-":
        sys.stdout.write(text + "\n")
    else:
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
