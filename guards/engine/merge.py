"""Fold a PEFT adapter into its base: `python -m guards.engine.merge --base DIR --adapter DIR --out DIR [--json]`.

The result is an ordinary checkpoint with a manifest, as the model cache has them (`cache.py`). What is there, whole and
made from the same two is left alone, without importing torch. Exit status: 0 done, 1 failed, 130 interrupted.
"""

import argparse
import contextlib
import json
import shutil
import sys
from pathlib import Path

from guards.engine import cache, fingerprint

REVISION = 1  # goes up when the same two would be merged differently
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# Written anew by the merge, or describing the files of the base.
_NOT_COPIED = ("config.json", "generation_config.json", cache.MANIFEST)


class MergeError(Exception):
    """The two cannot be merged. The message names the folder and what is wrong with it."""


def merge(base: Path, adapter: Path, out: Path) -> bool:
    """Write `base` with `adapter` folded in to `out`; False when it is there already. Raises MergeError."""
    recipe = _recipe(base, adapter)
    with cache.locked(out.parent, lambda: print("waiting for another preparation", file=sys.stderr)):
        with contextlib.suppress(cache.CacheError):
            if cache.check(out).recipe == recipe:
                return False
        if out.exists() and not cache.is_prepared(out):
            raise MergeError(f"{out} is there and was not made by this command: choose another --out")
        try:
            with cache.publish(out, recipe=recipe) as partial:
                _write(base, adapter, partial)
        except (OSError, ValueError, RuntimeError) as error:
            raise MergeError(f"{adapter} could not be folded into {base}: {error}") from error
    return True


def _recipe(base: Path, adapter: Path) -> str:
    try:
        parts = [fingerprint.of(base), *(cache.file_sha256(adapter / name) for name in _ADAPTER_FILES)]
    except (OSError, cache.CacheError) as error:
        raise MergeError(str(error)) from error
    return f"merge r{REVISION} {' '.join(part[:16] for part in parts)}"


def _write(base: Path, adapter: Path, folder: Path) -> None:
    import torch  # noqa: PLC0415 - takes seconds, and mostly there is nothing to do
    from peft import PeftModel  # noqa: PLC0415 - as above
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - as above

    stored = AutoModelForCausalLM.from_pretrained(base, dtype="auto").dtype
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)  # sums in float32, rounded once at the end
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
    merged.to(stored).save_pretrained(folder)
    for path in sorted(base.iterdir()):
        weights = path.suffix in {".safetensors", ".bin", ".gguf"} or path.name.endswith(".index.json")
        if path.is_file() and not weights and path.name not in _NOT_COPIED and not path.name.startswith("."):
            shutil.copyfile(path, folder / path.name)


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m guards.engine.merge", description="Fold a PEFT adapter into a checkpoint."
    )
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="the checkpoint")
    parser.add_argument("--adapter", type=Path, required=True, metavar="DIR", help="the adapter, as PEFT saves it")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the merged checkpoint goes")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args(arguments)
    out = options.out.expanduser().absolute()
    try:
        merged = merge(options.base.expanduser(), options.adapter.expanduser(), out)
    except MergeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half done is left", file=sys.stderr)
        return 130
    size = cache.read_manifest(out).size
    if options.json:
        print(json.dumps({"path": str(out), "action": "merged" if merged else "ready", "size": size}))
    else:
        print(f"{'merged' if merged else 'ready':<9} {out} ({size / 1e6:.0f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
