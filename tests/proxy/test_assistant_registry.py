"""What is registered is read as it was written; a folder that is not what was loaded is not used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from guards.engine.launch import Auxiliary
from proxy.assistants.files import NotUsable, Slots, opened
from proxy.assistants.registry import Registered, Version, body_of, read
from tests.fakes.assistants import CARD, write_assistant, write_base

ONE = Version(1, Path("/assistants/uld/1"), "a" * 64)
TWO = Version(2, Path("/assistants/uld/2"), "b" * 64)
SLOTS = Slots((Auxiliary("a0", "layers", layers=8), Auxiliary("a1", "layers", layers=8)), 32)


# -- what is registered


def test_what_was_written_is_read() -> None:
    assert read({}) == {}
    both = {"uld": Registered("uld").using(ONE).using(TWO), "pair": Registered("pair").using(ONE)}
    assert read({name: body_of(one) for name, one in both.items()}) == both


def test_the_version_before_is_remembered() -> None:
    one = Registered("uld").using(ONE)
    assert (one.active, one.former) == (1, None)
    two = one.using(TWO)
    assert (two.active, two.former, sorted(two.versions)) == (2, 1, [1, 2])
    assert two.using(TWO) == two
    assert (two.using(ONE).active, two.using(ONE).former) == (1, 2)


# -- folders


def test_an_assistant_that_fits_is_opened(tmp_path: Path) -> None:
    folder = write_assistant(tmp_path, "uld", 3)
    card, version = opened(folder, SLOTS)
    assert (card.name, card.version, version.number, version.folder) == ("uld", 3, 3, folder)
    assert opened(folder, SLOTS, version.digest) == (card, version)


def test_weights_that_were_changed_are_not_what_was_loaded(tmp_path: Path) -> None:
    folder = write_assistant(tmp_path, "uld", 1)
    _, version = opened(folder, SLOTS)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(NotUsable, match="not what was loaded as version 1 of 'uld': it was changed"):
        opened(folder, SLOTS, version.digest)


@pytest.mark.parametrize("missing", ["card.json", "adapter/adapter_model.safetensors", "adapter"])
def test_half_a_folder_is_not_used(tmp_path: Path, missing: str) -> None:
    folder = write_assistant(tmp_path, "uld", 1)
    (folder / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(NotUsable, match="holds no complete assistant"):
        opened(folder, SLOTS)


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        (Slots((), 32), r"no slots for assistants: start it with --auxiliary layers:8$"),
        (
            Slots((Auxiliary("a0", "layers", layers=4),), 32),
            r"does not fit the engine's slots \(layers:4\): start the engine with --auxiliary layers:8$",
        ),
        (Slots((Auxiliary("a0", "checkpoint", model="/m"),), 32), r"\(checkpoint:/m\)"),
        (replace(SLOTS, max_lora_rank=4), r"has rank 8, the engine takes up to 4: set engine.max_lora_rank"),
    ],
)
def test_what_does_not_fit_says_how_to_start_the_engine(tmp_path: Path, slots: Slots, said: str) -> None:
    with pytest.raises(NotUsable, match=said):
        opened(write_assistant(tmp_path, "uld", 1), slots)


def test_a_pair_needs_two_slots(tmp_path: Path) -> None:
    parts = [{"slot": 0, "role": "retain", "weight": 1.0}, {"slot": 1, "role": "forget", "weight": -1.0}]
    folder = write_assistant(tmp_path, "pair", 1, parts=parts)
    assert opened(folder, SLOTS)
    with pytest.raises(NotUsable, match="--auxiliary layers:8 --auxiliary layers:8"):
        opened(folder, replace(SLOTS, auxiliaries=SLOTS.auxiliaries[:1]))


def test_an_assistant_for_another_base_is_refused(tmp_path: Path) -> None:
    base, other = write_base(tmp_path / "base", b"one"), write_base(tmp_path / "other", b"two")
    folder = write_assistant(tmp_path, "uld", 1, base=base)
    assert opened(folder, replace(SLOTS, base=base))
    with pytest.raises(NotUsable, match="trained for another base model"):
        opened(folder, replace(SLOTS, base=other))


def test_a_base_that_cannot_be_read_here_is_the_engines_affair(tmp_path: Path) -> None:
    assert opened(write_assistant(tmp_path, "uld", 1), replace(SLOTS, base=tmp_path / "nowhere"))


def test_checkpoints_are_those_the_engine_was_started_with(tmp_path: Path) -> None:
    folder = tmp_path / "pair" / "1"
    role = write_base(folder / "checkpoints" / "forget", b"weights")
    card = {**CARD, "name": "pair", "kind": "checkpoint", "layers": None, "rank": None}
    card["parts"] = [{"slot": 0, "role": "forget", "weight": -1.0}]
    (folder / "card.json").write_text(json.dumps(card))
    assert opened(folder, Slots((Auxiliary("a0", "checkpoint", model=str(role)),), 32))
    with pytest.raises(NotUsable, match=f"--auxiliary checkpoint:{role}"):
        opened(folder, Slots((Auxiliary("a0", "checkpoint", model="/elsewhere"),), 32))
