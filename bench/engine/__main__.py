"""What the offsets cost inside vLLM: `python -m bench.engine [--quick] [--json FILE]` (`-` is standard output).

Plain vLLM and a composite for each kind of auxiliary stand side by side in processes of their own and are timed in
turn, round by round; a ratio is the median over rounds of times taken next to each other. Kinds: `layers` (the first 8
layers of the base, shared), `lora` (the same, wearing an adapter of rank 16), `pair` (two of them). Needs the engine's
environment and the prepared checkpoint; run from another, it looks for `.venv-engine` and starts itself there.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.engine.limits import Shape, armed_limit
from bench.engine.worker import REPLY
from guards.engine.contract import Arming, encode, request_fields
from guards.engine.launch import ARCHITECTURE, PROCESSORS, Auxiliary, EngineConfig

LAYERS, RANK = 8, 16
KINDS = {"layers": ["a"], "lora": ["a"], "pair": ["a", "b"]}
WEIGHTS = {"layers": {"a": -0.5}, "lora": {"a": -0.5}, "pair": {"a": 0.75, "b": -0.5}}
PROMPT_TOKENS, NEW_TOKENS = 32, 24
OPTIONS = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 512,
    "max_num_seqs": 16,
    "logprobs_mode": "processed_logprobs",
    "enable_prefix_caching": False,
    "disable_log_stats": True,
}


class Engine:
    """One worker process. `start` returns at once; `ask` waits for the answer."""

    def __init__(self, model: Path, options: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._send({"model": str(model), "options": {**OPTIONS, **options}})

    def _send(self, order: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        for line in self._process.stdout:
            if line.startswith(REPLY):
                return json.loads(line[1:])
        raise RuntimeError(f"a vLLM process of the bench ended with status {self._process.wait()}")

    def ask(self, prompts: list[list[int]], armings: list[Arming | None], **more: Any) -> dict[str, Any]:
        salts = [request_fields(arming)["cache_salt"] for arming in armings]
        order = {"prompts": prompts, "fields": [encode(arming) for arming in armings], "salts": salts}
        self._send({"tokens": NEW_TOKENS, **order, **more})
        return self.answer()

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def composite(kind: str) -> dict[str, Any]:
    config = EngineConfig([Auxiliary(name, "layers", layers=LAYERS) for name in KINDS[kind]])
    options = {
        "hf_overrides": {"architectures": [ARCHITECTURE]},
        "additional_config": config.to_additional_config(),
        "logits_processors": [PROCESSORS["v1"]],
    }
    return options | ({"enable_lora": True, "max_lora_rank": RANK} if kind == "lora" else {})


def prompts_of(count: int, vocab: int, seed: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(100, vocab) for _ in range(PROMPT_TOKENS)] for _ in range(count)]


def check(engines: dict[str, Engine], model: Path, adapter: tuple[Path, Path], vocab: int) -> dict[str, bool]:
    """Whether a batch that mixes armed and unarmed requests is exact, for each kind."""
    from bench.engine import reference  # noqa: PLC0415 - torch takes seconds to import, and --help should not wait

    base = reference.load(model)
    exact = {}
    for kind, weights in WEIGHTS.items():
        prompts = prompts_of(4, vocab, seed=99)
        armings = [None, Arming(weights), None, Arming({name: weight / 2 for name, weight in weights.items()})]
        served = str(adapter[1]) if kind == "lora" else None
        got = engines[kind].ask(prompts, armings, adapter=served, logprobs=True)
        short = reference.load(model, LAYERS)
        if kind == "lora":
            short = reference.wear(short, adapter[0])
        answers = zip(armings, prompts, got["tokens"], got["logprobs"], strict=True)
        exact[kind] = all(
            reference.is_exact(
                base, [(short, weight) for weight in (arming.weights.values() if arming else ())], *answer
            )
            for arming, *answer in answers
        )
    return exact


def measure(engines: dict[str, Engine], adapter: Path, batch: int, rounds: int, vocab: int) -> dict[str, Any]:
    """Tokens per second of each arm, and for each kind the median ratios of neighbours in time."""
    prompts = prompts_of(batch, vocab, seed=batch)
    seconds: dict[str, list[float]] = {}
    ratios: dict[str, dict[str, list[float]]] = {kind: {"unarmed": [], "armed": []} for kind in KINDS}

    def run(engine: str, arming: Arming | None, name: str, tokens: int = NEW_TOKENS) -> float:
        worn = str(adapter) if engine == "lora" else None
        took = engines[engine].ask(prompts, [arming] * batch, adapter=worn, tokens=tokens)["seconds"]
        seconds.setdefault(name, []).append(took)
        return took

    for name in engines:
        run(name, Arming(WEIGHTS[name]) if name in WEIGHTS else None, "warm-up", tokens=4)
    for _ in range(rounds):
        before = run("plain", None, "plain")
        for kind, weights in WEIGHTS.items():
            unarmed = run(kind, None, f"{kind} unarmed")
            armed = run(kind, Arming(weights), f"{kind} armed")
            after = run("plain", None, "plain")
            plain, before = (before + after) / 2, after  # a machine that drifts drifts through the pair in between
            ratios[kind]["unarmed"].append(plain / unarmed)
            ratios[kind]["armed"].append(plain / armed)
    del seconds["warm-up"]
    medians = {kind: {arm: statistics.median(found) for arm, found in arms.items()} for kind, arms in ratios.items()}
    speeds = {name: round(batch * NEW_TOKENS / statistics.median(took), 1) for name, took in seconds.items()}
    return {"ratios": medians, "tokens_per_s": speeds}


def bench(model: Path, batches: list[int], rounds: int) -> dict[str, Any]:
    from transformers import AutoConfig  # noqa: PLC0415 - slow to import, see above

    from bench.engine import reference  # noqa: PLC0415 - as above

    config = AutoConfig.from_pretrained(model)
    shape = Shape.of(config)
    engines: dict[str, Engine] = {}
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        try:
            engines = {"plain": Engine(model, {})} | {kind: Engine(model, composite(kind)) for kind in KINDS}
            adapter = reference.write_adapter(model, LAYERS, RANK, Path(folder))
            for name, engine in engines.items():
                engine.answer()
                say(f"{name}: up")
            exact = check(engines, model, adapter, config.vocab_size)
            by_batch = {}
            for batch in batches:
                say(f"batch {batch}: {rounds} rounds")
                by_batch[batch] = measure(engines, adapter[1], batch, rounds, config.vocab_size)
        finally:
            for engine in engines.values():
                engine.close()
    return {"model": model.name, "batches": [report(shape, batch, found, exact) for batch, found in by_batch.items()]}


def report(shape: Shape, batch: int, found: dict[str, Any], exact: dict[str, bool]) -> dict[str, Any]:
    kinds = {}
    for kind, ratios in found["ratios"].items():
        rank = RANK if kind == "lora" else 0
        limit = armed_limit(shape, [LAYERS] * len(KINDS[kind]), PROMPT_TOKENS + NEW_TOKENS / 2, batch, rank)
        kinds[kind] = {
            "exact": exact[kind],
            "unarmed_over_plain": round(ratios["unarmed"], 3),
            "armed_over_plain": round(ratios["armed"], 3),
            "armed_limit": round(limit, 3),
            "armed_over_limit": round(ratios["armed"] / limit, 3),
        }
    return {"batch": batch, "tokens_per_s": found["tokens_per_s"], "kinds": kinds}


def say(text: str) -> None:
    sys.stderr.write(f"bench.engine: {text}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="batch 4 only, three rounds; under five minutes")
    parser.add_argument("--json", metavar="FILE", default="-", help="where the figures go; - is standard output")
    cache = Path(os.environ.get("LETHE_CACHE", "~/.cache/lethe")).expanduser()
    parser.add_argument("--model", type=Path, default=cache / "models" / "smollm2-135m-instruct")
    options = parser.parse_args()
    if not (find_spec("torch") and find_spec("vllm")):
        there = Path(".venv-engine/bin/python").absolute()
        if not there.exists():
            parser.error("needs the engine's environment: no vllm here, and no .venv-engine beside")
        os.execv(there, [str(there), "-m", "bench.engine", *sys.argv[1:]])  # noqa: S606 - ourselves, elsewhere
    if not options.model.is_dir():
        parser.error(f"no checkpoint at {options.model}: run `python -m guards.engine.prepare`")
    figures = bench(options.model, [4] if options.quick else [1, 4, 16], rounds=3 if options.quick else 5)
    text = json.dumps(
        {"exact": all(k["exact"] for b in figures["batches"] for k in b["kinds"].values()), **figures}, indent=1
    )
    if options.json == "-":
        sys.stdout.write(text + "\n")
    else:
        Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
