"""`lethe embedder export`, with a tiny model of random weights made on the spot."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from indexes.embedder import OnnxEmbedder
from tests.cli.conftest import Run, out, runner

TINY = """
import json, sys
from pathlib import Path
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
import torch

folder = Path(sys.argv[1])
torch.manual_seed(3)
letters = "abcdefghijklmnopqrstuvwxyz"
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *("##" + c for c in letters)]
tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
).save_pretrained(folder)
config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                    intermediate_size=32, max_position_embeddings=64)
model = BertModel(config).eval()
model.save_pretrained(folder)
ids = torch.tensor([tokenizer.encode("query: where was ilse born").ids])
state = model(ids).last_hidden_state[0].mean(dim=0)
(folder / "expected.json").write_text(json.dumps((state / state.norm()).tolist()))
"""


@pytest.fixture(scope="module")
def tiny(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    subprocess.run([str(engine_python), "-c", TINY, str(folder)], check=True, capture_output=True, timeout=240)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 48}')
    return folder


def test_a_model_becomes_a_folder_that_gives_its_vectors(tiny: Path, tmp_path: Path):
    run: Run = runner({})
    target = tmp_path / "made" / "tiny"
    said = out(run("embedder", "export", tiny, target, "--prefix", "query: "))
    assert f"wrote {target}: 16 numbers, mean pooling, up to 48 tokens" in said
    made = OnnxEmbedder(target)
    expected = np.array(json.loads((tiny / "expected.json").read_text()), np.float32)
    np.testing.assert_allclose(made.embed(["where was ilse born"])[0], expected, atol=1e-4)
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]

    again = run("embedder", "export", tiny, target)
    assert again.exit_code == 1
    assert "is there already" in again.stderr


def test_what_cannot_be_converted_is_named(tiny: Path, tmp_path: Path):
    run: Run = runner({})
    source = tmp_path / "strange"
    source.mkdir()
    empty = run("embedder", "export", source, tmp_path / "out")
    assert empty.exit_code == 1
    assert "config.json is missing" in empty.stderr
    for file in tiny.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    (source / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    dense = run("embedder", "export", source, tmp_path / "out")
    assert dense.exit_code == 1
    assert "not supported: Dense" in dense.stderr
    assert not (tmp_path / "out").exists()
