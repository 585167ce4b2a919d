"""What the preparation left: ONNX Runtime gives the vectors that torch gave, and the tokenizer cuts nothing."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from guards.engine import cache


@pytest.fixture(scope="module")
def folder(prepared_cache: Path) -> Path:
    return cache.embedder_folder(prepared_cache)


def embed(folder: Path, texts: list[str]) -> np.ndarray:
    """[n, dimensions] unit vectors, made as embedder.json says."""
    card = json.loads((folder / "embedder.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(card["max_tokens"])
    tokenizer.enable_padding()
    batch = tokenizer.encode_batch([card["prefix_document"] + text for text in texts])
    ids = np.array([row.ids for row in batch], dtype=np.int64)
    mask = np.array([row.attention_mask for row in batch], dtype=np.int64)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    hidden = session.run(["last_hidden_state"], inputs)[0]
    assert hidden.shape == (*ids.shape, card["dimensions"])
    pooled = (hidden * mask[..., None]).sum(axis=1)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def test_onnx_runtime_agrees_with_torch_alone_and_in_a_padded_batch(folder: Path):
    record = json.loads((folder / "check.json").read_text())
    expected = np.array(record["vectors"])
    together = embed(folder, record["texts"])
    alone = np.concatenate([embed(folder, [text]) for text in record["texts"]])
    for vectors in (together, alone):
        assert (vectors * expected).sum(axis=1).min() >= record["min_cosine"]


def test_near_texts_are_near(folder: Path):
    near, same, far = embed(
        folder, ["Who wrote this novel?", "Who is the author of this book?", "The soup needs more salt."]
    )
    assert near @ same > 0.6
    assert near @ far < 0.3


def test_the_tokenizer_neither_cuts_nor_pads_by_itself(folder: Path):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lengths = [len(row.ids) for row in tokenizer.encode_batch(["word " * 1000, "word"])]
    assert lengths == [1002, 3]


def test_the_checkpoint_has_what_a_chat_needs(prepared_cache: Path):
    model = cache.model_folder(prepared_cache)
    assert "<|im_start|>" in (model / "chat_template.jinja").read_text()
    assert json.loads((model / "tokenizer_config.json").read_text())["model_max_length"] == 8192
    assert json.loads((model / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
