"""An assistant's folder, `ROOT/NAME/VERSION/`: weights under the names the engine knows, and the card last."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from peft import PeftModel
from safetensors.torch import load_file, save_file

from guards.engine.card import ADAPTER, CHECKPOINTS, Card, Part
from guards.engine.launch import adapter_tensor_name
from guards.engine.training import auxiliary
from guards.engine.training.plan import Plan

_PARTIAL = ".partial-"


def next_version(root: Path, name: str) -> int:
    """One more than the highest there is."""
    folder = root / name
    there = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return max(there, default=0) + 1


@contextlib.contextmanager
def folder_of(root: Path, card_name: str) -> Iterator[Path]:
    """A folder to fill; when the block ends well it becomes the next version, else it is gone."""
    home = root / card_name
    home.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=home))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it private; a server may run as somebody else
        partial.rename(home / str(Card.read(partial).version))
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_adapter(model: PeftModel, parts: Sequence[Part], base: str, folder: Path) -> None:
    """One PEFT adapter that holds the tensors of all parts under the positions they have in the composite."""
    tensors = {}
    for part in parts:
        for name, tensor in auxiliary.weights_of(model, part.role).items():
            tensors[adapter_tensor_name(name, part.slot)] = tensor
    target = folder / ADAPTER
    target.mkdir()
    save_file(tensors, target / "adapter_model.safetensors")
    settings = model.peft_config[parts[0].role]
    settings.base_model_name_or_path = base  # a name: the folder it was trained from is nobody else's
    settings.inference_mode = True
    settings.save_pretrained(str(target))


def read_adapter(folder: Path, base: Path) -> PeftModel:
    """The shortened base wearing what `write_adapter` wrote, an adapter a role."""
    card = Card.read(folder)
    roles = [part.role for part in sorted(card.parts, key=lambda part: part.slot)]
    settings = json.loads((folder / ADAPTER / "adapter_config.json").read_text("utf-8"))
    model = auxiliary.dress(auxiliary.load(base, card.layers), roles, settings["r"], settings["lora_alpha"], seed=0)
    tensors = load_file(folder / ADAPTER / "adapter_model.safetensors")
    for part in card.parts:
        names = {adapter_tensor_name(name, part.slot): name for name in auxiliary.weights_of(model, part.role)}
        auxiliary.set_weights(model, part.role, {name: tensors[stored] for stored, name in names.items()})
    return model


def write_checkpoints(small: Path, model: PeftModel, parts: Sequence[Part], plan: Plan, folder: Path) -> None:
    """A model folder for each part: the small model with the part's adapter folded in."""
    for part in parts:
        fresh = auxiliary.dress(auxiliary.load(small), [part.role], plan.rank, plan.alpha, plan.seed)
        auxiliary.set_weights(fresh, part.role, auxiliary.weights_of(model, part.role))
        target = folder / CHECKPOINTS / part.role
        fresh.merge_and_unload(safe_merge=True).save_pretrained(target)
        for path in small.glob("*token*"):
            shutil.copyfile(path, target / path.name)
