"""A sentence-transformers folder becomes an embedder for the proxy: `python -m guards.engine.export_embedder FROM TO`.

Pooling, normalisation, length and the prefix of queries are read from the folder's own files. The graph ends at
`last_hidden_state`; the rest is the reader's. Before the result is published, the graph is run by ONNX's reference
evaluator and compared with torch. Prints the card as JSON; exit status 1 with a message where it cannot be done.
"""

import argparse
import inspect
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from onnx.reference import ReferenceEvaluator
from transformers import AutoModel, AutoTokenizer

OPSET = 20  # the first with Gelu as one operator
MIN_COSINE = 0.9999
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
CHECK_TEXTS = ("Paris", "Who wrote the novel about a lighthouse keeper in Kuwait City?", "Кто написал эту книгу? " * 4)


class ExportError(Exception):
    """The folder cannot be exported; the message says why."""


def card_of(source: Path, name: str, dimensions: int, longest: int) -> dict[str, Any]:
    """How the model wants to be used, from the files beside its weights. Raises ExportError."""
    modules = [str(module["type"]).rsplit(".", 1)[-1] for module in _json(source / "modules.json", [])]
    strange = set(modules) - {"Transformer", "Pooling", "Normalize"}
    if strange:
        raise ExportError(f"{source} has a layer that is not supported: {', '.join(sorted(strange))}")
    pooling = _json(source / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    modes = [mode for mode, used in pooling.items() if mode.startswith("pooling_mode_") and used is True]
    kinds = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(modes) != 1 or modes[0] not in kinds:
        raise ExportError(f"{source} pools in a way that is not supported: {', '.join(modes) or 'none'}")
    prompts = _json(source / "config_sentence_transformers.json", {}).get("prompts") or {}
    limit = _json(source / "sentence_bert_config.json", {}).get("max_seq_length") or longest
    return {
        "name": name,
        "dimensions": dimensions,
        "pooling": kinds[modes[0]],
        "normalize": True,  # a cosine is compared, whether or not the model ends with a layer for it
        "max_tokens": min(int(limit), longest),
        "prefix_query": str(prompts.get("query", "")),
    }


def export(source: Path, target: Path, name: str | None = None, prefix: str | None = None) -> dict[str, Any]:
    """Writes the folder `target`, which must not be there, and returns its card. Raises ExportError."""
    if target.exists():
        raise ExportError(f"{target} is there already: name a new folder")
    if not (source / "config.json").is_file():
        raise ExportError(f"{source} holds no model (config.json is missing)")
    tokenizer = AutoTokenizer.from_pretrained(source)
    if not getattr(tokenizer, "is_fast", False):
        raise ExportError(f"{source} has no fast tokenizer (tokenizer.json)")
    model = AutoModel.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
    settings = model.config
    # RoBERTa counts positions from after the padding's.
    offset = (settings.pad_token_id or 0) + 1 if "roberta" in settings.model_type else 0
    card = card_of(source, name or source.name, settings.hidden_size, settings.max_position_embeddings - offset)
    if prefix is not None:
        card["prefix_query"] = prefix
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _write_tokenizer(tokenizer, unfinished / "tokenizer.json")
        inputs = [one for one in INPUTS if one in inspect.signature(model.forward).parameters]
        _export(model, inputs, unfinished / "model.onnx")
        _compare(model, tokenizer, inputs, card, unfinished / "model.onnx")
        (unfinished / "embedder.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        unfinished.chmod(0o755)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return card


def _json(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except ValueError:
        raise ExportError(f"{path} is not JSON") from None


def _write_tokenizer(tokenizer: Any, path: Path) -> None:
    # Where windows and batches end is the reader's affair.
    written = json.loads(tokenizer.backend_tokenizer.to_str())
    written["truncation"] = written["padding"] = None
    path.write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")


class _Encoder(torch.nn.Module):
    """The model with its inputs by position, and the one output that is wanted."""

    def __init__(self, model: Any, inputs: list[str]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *tensors: Any) -> Any:
        return self.model(**dict(zip(self.inputs, tensors, strict=True))).last_hidden_state


def _export(model: Any, inputs: list[str], path: Path) -> None:
    example = tuple(torch.ones((2, 7), dtype=torch.long) for _ in inputs)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=512)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's notes about its own future
        torch.onnx.export(
            _Encoder(model, inputs).eval(),
            example,
            str(path),
            input_names=inputs,
            output_names=["last_hidden_state"],
            dynamic_shapes=(tuple(axes for _ in inputs),),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )


def _compare(model: Any, tokenizer: Any, inputs: list[str], card: dict[str, Any], path: Path) -> None:
    """One text at a time in torch, the padded batch in ONNX: agreement also shows that padding is harmless."""
    batch = tokenizer(
        list(CHECK_TEXTS), padding=True, truncation=True, max_length=card["max_tokens"], return_tensors="pt"
    )
    batch.setdefault("token_type_ids", torch.zeros_like(batch["input_ids"]))  # as the reader gives them
    hidden = torch.from_numpy(ReferenceEvaluator(str(path)).run(None, {one: batch[one].numpy() for one in inputs})[0])
    for place, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        with torch.inference_mode():
            alone = model(**{one: batch[one][place : place + 1, :length] for one in inputs}).last_hidden_state[0]
        pooled = [rows[0] if card["pooling"] == "cls" else rows.mean(dim=0) for rows in (alone, hidden[place, :length])]
        cosine = float(torch.nn.functional.cosine_similarity(*pooled, dim=0))
        if not cosine >= MIN_COSINE:
            raise ExportError(f"the exported graph disagrees with torch: cosine {cosine:.6f} on check text {place}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m guards.engine.export_embedder", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--prefix")
    options = parser.parse_args()
    try:
        print(json.dumps(export(options.source, options.target, options.name, options.prefix)))
    except (ExportError, OSError, ValueError) as error:
        print(f"{options.source} cannot be exported: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
