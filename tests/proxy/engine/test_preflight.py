"""What is found before an engine with auxiliaries is started: another tokenizer, too many layers, no checkpoint."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guards.engine.launch import Auxiliary
from proxy.engine.command import EngineOptions
from proxy.engine.errors import ModelUnusable
from proxy.engine.preflight import check_auxiliaries, memory_needed

WORDS = {"a": 0, "b": 1, "c": 2}


def checkpoint(folder: Path, vocab: Any = None, *, size: int = 3, added: tuple[tuple[str, int], ...] = ()) -> Path:
    """A folder with a configuration and, where `vocab` is given, a tokenizer."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 4, "vocab_size": size}))
    if vocab is not None:
        tokens = [{"content": token, "id": number} for token, number in added]
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": tokens}))
    return folder


@pytest.fixture
def options(tmp_path: Path) -> EngineOptions:
    base = checkpoint(tmp_path / "base", WORDS)
    return EngineOptions(python=Path("/env/bin/python"), model=base, served_model_name="small")


def beside(options: EngineOptions, folder: Path) -> EngineOptions:
    return replace(options, auxiliaries=(Auxiliary("a0", "checkpoint", model=str(folder)),))


@pytest.mark.parametrize(
    ("vocab", "size", "added"),
    [
        (WORDS, 3, ()),
        ([["a", -1.0], ["b", -2.0], ["c", -3.0]], 3, ()),  # how unigram models list theirs
        ({"a": 0, "b": 1}, 3, (("c", 2),)),
        (WORDS, 128, ()),  # models of one family pad differently
        (None, 3, ()),
    ],
)
def test_one_tokenizer_however_it_is_written(
    options: EngineOptions, tmp_path: Path, vocab: Any, size: int, added: tuple[tuple[str, int], ...]
) -> None:
    check_auxiliaries(beside(options, checkpoint(tmp_path / "aux", vocab, size=size, added=added)))


@pytest.mark.parametrize(
    ("vocab", "size", "said"),
    [
        ({"a": 0, "b": 2, "c": 1}, 3, r"does not share the base's tokenizer \(4 tokens differ\)"),
        ({**WORDS, "d": 3}, 4, r"\(1 tokens differ\)"),
        (None, 4, "has a vocabulary of 4, the base of 3"),
    ],
)
def test_another_tokenizer_is_refused(options: EngineOptions, tmp_path: Path, vocab: Any, size: int, said: str) -> None:
    with pytest.raises(ModelUnusable, match=said):
        check_auxiliaries(beside(options, checkpoint(tmp_path / "aux", vocab, size=size)))


def test_a_folder_without_a_checkpoint_is_named(options: EngineOptions, tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"auxiliary 'a0': .*nowhere holds no checkpoint"):
        check_auxiliaries(beside(options, tmp_path / "nowhere"))


def test_no_more_layers_than_the_base_has(options: EngineOptions) -> None:
    check_auxiliaries(replace(options, auxiliaries=(Auxiliary("a0", "layers", layers=4),)))
    with pytest.raises(ModelUnusable, match="first 5 layers of a base that has 4"):
        check_auxiliaries(replace(options, auxiliaries=(Auxiliary("a0", "layers", layers=5),)))


def test_the_weights_of_checkpoints_need_memory_and_those_of_layers_are_shared(
    options: EngineOptions, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path / "aux", WORDS)
    (folder / "model.safetensors").write_bytes(b"x" * 1000)
    shared = replace(options, auxiliaries=(Auxiliary("a0", "layers", layers=2),))
    assert memory_needed(shared) == memory_needed(options)
    assert memory_needed(beside(options, folder)) == memory_needed(options) + 2000
