"""Folding an adapter into its base: the same logits, checked files, and nothing done twice."""

import json
from pathlib import Path

import pytest
import torch
from tiny_training import write_model

from guards.engine import cache, fingerprint, merge
from guards.engine.training import auxiliary

IDS = torch.tensor([[3, 10, 11, 12, 4, 40]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory):
    model = auxiliary.dress(auxiliary.load(base), ["default"], rank=4, alpha=8, seed=1)
    random = {name: 0.3 * torch.randn(tensor.shape) for name, tensor in auxiliary.weights_of(model, "default").items()}
    auxiliary.set_weights(model, "default", random)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder, model


def test_a_merged_model_is_the_base_wearing_the_adapter(base: Path, adapter, tmp_path: Path, capsys):
    folder, worn = adapter
    out = tmp_path / "merged"
    arguments = ["--base", str(base), "--adapter", str(folder), "--out", str(out), "--json"]
    assert merge.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["action"] == "merged"
    with torch.no_grad():
        want, plain = worn(IDS).logits, auxiliary.load(base)(IDS).logits
        got = auxiliary.load(out)(IDS).logits
    torch.testing.assert_close(got, want, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(got, plain, atol=0.1)
    assert (out / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert fingerprint.of(out) != fingerprint.of(base)
    cache.check(out, full=True)

    assert merge.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["action"] == "ready"
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])  # damaged: made again
    assert merge.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["action"] == "merged"


def test_what_cannot_be_merged_says_why_and_harms_nothing(base: Path, adapter, tmp_path: Path, capsys):
    folder, _ = adapter
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes").write_text("mine")
    for given, says in (
        (["--base", str(tmp_path), "--adapter", str(folder), "--out", str(tmp_path / "out")], "no checkpoint"),
        (["--base", str(base), "--adapter", str(tmp_path), "--out", str(tmp_path / "out")], "adapter_config.json"),
        (["--base", str(base), "--adapter", str(folder), "--out", str(mine)], "not made by this command"),
    ):
        assert merge.main(given) == 1
        assert says in capsys.readouterr().err
    assert (mine / "notes").read_text() == "mine"
    assert not (tmp_path / "out").exists()
