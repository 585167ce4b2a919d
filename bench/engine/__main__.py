"""What offsets cost inside vLLM: `python -m bench.engine [--quick] [--kind NAME] [--json FILE]` (`-`: standard output).

Plain vLLM is started first and stays; a composite for each kind of auxiliary comes after it, one at a time, and the two
are timed in turn, round by round: a ratio is the median over rounds of times taken next to each other, so that what
else the machine does falls on both. Only one of them works at any moment. Kinds: `layers` (the first 8 layers of the
base, shared), `lora` (the same, wearing an adapter of rank 16), `pair` (two of them). Needs the engine's environment
and the prepared checkpoint; run from another, it looks for `.venv-engine` and starts itself there.

Where an interval is asked for, six rounds or more are needed: `--rounds 15` gives one of some 95 % (`--batch 1` for one
size at a time, to stay within a few minutes).

Times of a batch: to the first token (prompts of 32 tokens, all together), and from it to the last (decoding). Ratios
are of decoding, as the limit is.
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

from bench.engine.arms import (
    NEW_TOKENS,
    PROMPT_TOKENS,
    Engine,
    Kind,
    Setting,
    figures,
    measure,
    prompts_of,
    running,
    say,
)
from bench.engine.limits import Part, Shape
from guards.engine.contract import Arming
from guards.engine.launch import Auxiliary

LAYERS, RANK = 8, 16
SHOWN = 4  # the batch whose figures stand for a kind, and the only one of --quick
OPTIONS = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 512,
    "max_num_seqs": 16,
    "logprobs_mode": "processed_logprobs",
    "enable_prefix_caching": False,
    "disable_log_stats": True,
}
A, B = (Auxiliary(name, "layers", layers=LAYERS) for name in "ab")
KINDS = (
    Kind("layers", [A], {"a": -0.5}),
    Kind("lora", [A], {"a": -0.5}, RANK),
    Kind("pair", [A, B], {"a": 0.75, "b": -0.5}),
)


def bench(model: Path, batches: list[int], rounds: int, chosen: Sequence[Kind] = KINDS) -> dict[str, Any]:
    from transformers import AutoConfig  # noqa: PLC0415 - slow to import, and --help should not wait

    from bench.engine import reference  # noqa: PLC0415 - as above

    config = AutoConfig.from_pretrained(model)
    shape, vocab = Shape.of(config), config.vocab_size
    setting = Setting(model, OPTIONS)
    shown = SHOWN if SHOWN in batches else batches[0]
    kinds: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder, running(setting, {}, "plain vLLM") as plain:
        adapter = reference.write_adapter(model, LAYERS, RANK, Path(folder))
        for kind in chosen:
            with running(setting, kind.options("v1"), kind.name) as engine:
                exact = check(engine, kind, model, adapter, vocab)
                parts = [Part(shape, LAYERS, kind.rank) for _ in kind.auxiliaries]
                by_batch = {}
                for batch in batches:
                    say(f"{kind.name}: batch {batch}, {rounds} rounds")
                    prompts = prompts_of(batch, vocab, PROMPT_TOKENS, seed=batch)
                    arms = measure(plain, engine, kind, prompts, adapter[1], rounds)
                    by_batch[batch] = figures(setting, shape, parts, batch, arms)
            kinds[kind.name] = {"exact": exact, "batch": shown, **by_batch[shown], "batches": by_batch}
    return {"exact": all(kind["exact"] for kind in kinds.values()), "model": model.name, "kinds": kinds}


def check(engine: Engine, kind: Kind, model: Path, adapter: tuple[Path, Path], vocab: int) -> bool:
    """Whether a batch that mixes armed and unarmed requests is exact."""
    from bench.engine import reference  # noqa: PLC0415 - as above

    prompts = prompts_of(4, vocab, PROMPT_TOKENS, seed=99)
    half = {name: weight / 2 for name, weight in kind.weights.items()}
    armings = [None, Arming(dict(kind.weights)), None, Arming(half)]
    got = engine.ask(prompts, armings, adapter=str(adapter[1]) if kind.rank else None, logprobs=True, tokens=NEW_TOKENS)
    base, short = reference.load(model), reference.load(model, LAYERS)
    if kind.rank:
        short = reference.wear(short, adapter[0])
    answers = zip(armings, prompts, got["tokens"], got["logprobs"], strict=True)
    return all(
        reference.is_exact(base, [(short, weight) for weight in (arming.weights.values() if arming else ())], *answer)
        for arming, *answer in answers
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="batch 4 only, three rounds; under five minutes")
    parser.add_argument("--json", metavar="FILE", default="-", help="where the figures go; - is standard output")
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kind", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of 5, or 3 with --quick; 6 or more: intervals")
    parser.add_argument("--batch", action="append", type=int, metavar="N", help="only this size; may be repeated")
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
    chosen = [kind for kind in KINDS if kind.name in (options.kind or names)]
    batches = options.batch or ([SHOWN] if options.quick else [1, SHOWN, 16])
    found = bench(options.model, batches, options.rounds or (3 if options.quick else 5), chosen)
    text = json.dumps(found, indent=1)
    if options.json == "-":
        sys.stdout.write(text + "\n")
    else:
        Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
