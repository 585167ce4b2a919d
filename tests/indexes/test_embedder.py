"""The embedder: what its vectors must be, and what it says when its folder cannot be used.

The tests of the model itself run where a prepared folder is in the cache ('make models').
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from indexes import embedder as embedder_module
from indexes.embedder import Embedder, EmbedderCard, EmbedderError, OnnxEmbedder
from tests.fakes.embedder import BagEmbedder

CACHE = Path(os.environ.get("LETHE_CACHE") or Path.home() / ".cache" / "lethe")
FOLDER = CACHE / "embedders" / "all-minilm-l6-v2"
CARD = {"name": "m", "dimensions": 384, "pooling": "mean", "normalize": True, "max_tokens": 256}
TEXTS = [
    "Who wrote the novel about the clockmaker?",
    "",
    "Wer hat den Roman geschrieben? 这本书是谁写的？",
    "word " * 70,
    "\u200b",
    *(f"Text number {number}: {'and so on ' * number}" for number in range(4)),
]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder_module, "BATCH", 4)  # so that few texts make several batches
    monkeypatch.setattr(embedder_module, "ENCODED", 6)


@pytest.fixture(scope="module")
def onnx() -> OnnxEmbedder:
    if not (FOLDER / "model.onnx").is_file():
        pytest.skip(f"no prepared embedder in {FOLDER}")
    return OnnxEmbedder(FOLDER, threads=1)


@pytest.fixture(params=["onnx", "fake"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return BagEmbedder() if request.param == "fake" else request.getfixturevalue("onnx")


def test_vectors_are_unit_rows_of_the_promised_width(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimensions)


def test_a_text_has_one_vector_whatever_stands_beside_it(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    np.testing.assert_allclose(embedder.embed(TEXTS[::-1])[::-1], together, atol=1e-5)
    some = [0, 1, 2, 3, len(TEXTS) - 1]
    np.testing.assert_allclose(np.concatenate([embedder.embed([TEXTS[i]]) for i in some]), together[some], atol=1e-5)


def test_a_file_that_pads_to_a_fixed_length_changes_nothing(onnx: OnnxEmbedder, tmp_path: Path) -> None:
    """As sentence-transformers' own files do."""
    for name in ("model.onnx", "embedder.json"):
        (tmp_path / name).symlink_to(FOLDER / name)
    told = json.loads((FOLDER / "tokenizer.json").read_text())
    told["padding"] = {
        "strategy": {"Fixed": 128},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    padding = OnnxEmbedder(tmp_path, threads=1)
    np.testing.assert_array_equal(padding.embed(TEXTS), onnx.embed(TEXTS))
    spans = [[(0, len(text))] for text in TEXTS]
    for one, other in zip(padding.embed_in_context(TEXTS, spans), onnx.embed_in_context(TEXTS, spans), strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)


def test_threads_may_share_an_embedder(embedder: Embedder) -> None:
    texts = TEXTS[:3]
    expected = embedder.embed(texts)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: embedder.embed(texts), range(12)):
            np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_what_means_the_same_is_near(onnx: OnnxEmbedder) -> None:
    asked, same, other = onnx.embed(
        [
            "Where was the author Basil Mahfouz born?",
            "In which city did Basil Mahfouz, the writer, come into the world?",
            "How long should I boil an egg?",
        ]
    )
    assert asked @ same > 0.75
    assert asked @ other < 0.3


def test_a_text_longer_than_the_model_reads_is_cut(onnx: OnnxEmbedder) -> None:
    long, longer = onnx.embed(["word " * 300, "word " * 300 + "and something else"])
    np.testing.assert_allclose(long, longer, atol=1e-5)


def test_vectors_agree_with_the_model_it_was_exported_from(onnx: OnnxEmbedder) -> None:
    record = json.loads((FOLDER / "check.json").read_text("utf-8"))
    cosines = np.sum(onnx.embed(record["texts"]) * np.array(record["vectors"]), axis=1)
    assert cosines.min() >= record["min_cosine"]


def test_the_name_tells_models_apart(onnx: OnnxEmbedder) -> None:
    assert onnx.name.startswith("all-minilm-l6-v2:")
    assert onnx.dimensions == 384


# -- folders that cannot be used


def write_card(folder: Path, **changes: object) -> None:
    card = {name: value for name, value in {**CARD, **changes}.items() if value is not None}
    (folder / "embedder.json").write_text(json.dumps(card), "utf-8")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: None, "no embedder in"),
        (lambda folder: folder.rmdir(), "no embedder in"),
        (lambda folder: (folder.rmdir(), folder.write_text("")), "no embedder in"),
        (lambda folder: (folder / "embedder.json").write_text("{"), "not usable"),
        (lambda folder: (folder / "embedder.json").write_bytes(b"\xff\xfe"), "not usable"),
        (lambda folder: (folder / "embedder.json").write_text("[]"), "not usable"),
        (lambda folder: (folder / "embedder.json").write_text("7"), "not usable"),
        (lambda folder: write_card(folder, dimensions=None), "not usable"),
        (lambda folder: write_card(folder, dimensions="many"), "dimensions"),
        (lambda folder: write_card(folder, dimensions=0), "dimensions"),
        (lambda folder: write_card(folder, max_tokens=True), "max_tokens"),
        (lambda folder: write_card(folder, pooling="max"), "pooling"),
        (write_card, "does not load"),
        (lambda folder: (write_card(folder), (folder / "tokenizer.json").write_text("{}")), "does not load"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named_with_the_cure(
    tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    folder = tmp_path / "embedder"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(EmbedderError, match=says) as refused:
        OnnxEmbedder(folder)
    assert str(folder) in str(refused.value)
    assert "make models" in str(refused.value) or says == "pooling" or "must be" in str(refused.value)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "other width"])
def test_a_damaged_model_is_named_with_the_cure(onnx: OnnxEmbedder, tmp_path: Path, damage: str) -> None:
    (tmp_path / "tokenizer.json").symlink_to(FOLDER / "tokenizer.json")
    write_card(tmp_path, dimensions=100 if damage == "other width" else 384)
    if damage == "other width":
        (tmp_path / "model.onnx").symlink_to(FOLDER / "model.onnx")
    elif damage == "truncated":
        with (FOLDER / "model.onnx").open("rb") as whole:
            (tmp_path / "model.onnx").write_bytes(whole.read(200_000))
    else:
        (tmp_path / "model.onnx").write_bytes(b"not a model" * 100)
    with pytest.raises(EmbedderError, match="make models"):
        OnnxEmbedder(tmp_path)


def test_what_a_card_says_beyond_what_is_needed_is_ignored(tmp_path: Path) -> None:
    write_card(tmp_path, source="somewhere")
    assert EmbedderCard.read(tmp_path).prefix_query == ""


# -- spans in their context


def spans_of(text: str, *parts: str) -> list[tuple[int, int]]:
    return [(text.index(part), text.index(part) + len(part)) for part in parts]


def test_a_whole_text_read_in_context_has_its_own_vector(onnx: OnnxEmbedder) -> None:
    texts = [text.strip() for text in TEXTS if text.strip()]
    for text, found in zip(texts, onnx.embed_in_context(texts, [[(0, len(t))] for t in texts]), strict=True):
        assert found.exact.tolist() == [True]
        np.testing.assert_allclose(found.vectors[0], onnx.embed([text])[0], atol=1e-4)


@pytest.mark.parametrize("repeats", [0, 40])
def test_a_span_in_context_is_near_its_own_vector(onnx: OnnxEmbedder, repeats: int) -> None:
    asked = "Where was the author Basil Mahfouz born?"
    text = f"How long should I boil an egg? {asked} {'Bees make honey in the summer. ' * repeats}Is it late?"
    (found,) = onnx.embed_in_context([text], [spans_of(text, asked, "Is it late?", text)])
    assert found.exact.tolist() == [False, False, repeats == 0]
    similar = found.vectors @ onnx.embed([asked, "Is it late?"]).T
    assert similar[0, 0] > 0.6 > similar[1, 0]
    assert similar[1, 1] > similar[0, 1]


def test_spans_of_texts_side_by_side_do_not_change_each_other(onnx: OnnxEmbedder) -> None:
    texts = ["One short text. And another.", "word " * 700, "", "Wer hat den Roman geschrieben? 这本书是谁写的？"]
    spans = [[(0, 15), (16, 28)], [(0, 40), (2000, 2100), (3400, 3495)], [], [(0, 30), (31, 39)]]
    together = onnx.embed_in_context(texts, spans)
    for text, some, found in zip(texts, spans, together, strict=True):
        (alone,) = onnx.embed_in_context([text], [some])
        np.testing.assert_allclose(found.vectors, alone.vectors, atol=1e-4)
        assert found.vectors.shape == (len(some), onnx.dimensions)


def test_only_means_can_be_taken_in_part(onnx: OnnxEmbedder, tmp_path: Path) -> None:
    assert onnx.reads_context
    for file in FOLDER.iterdir():
        if file.name != "embedder.json":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "embedder.json").write_text(json.dumps(CARD | {"pooling": "cls"}))
    assert not OnnxEmbedder(tmp_path).reads_context
