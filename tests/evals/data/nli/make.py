"""Writes the toy model of this folder (in the engine's environment, which has onnx): `python make.py`.

It entails where the ids of both texts together are below 7: "graz" is 2, "linz" 5. Label 2 is entailment.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent


def main() -> None:
    names = ("input_ids", "attention_mask")
    nodes = [
        helper.make_node("Mul", names, ["counted"]),
        helper.make_node("Cast", ["counted"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"], keepdims=1),
        helper.make_node("Sub", ["bound", "sum"], ["entails"]),
        helper.make_node("Neg", ["entails"], ["contradicts"]),
        helper.make_node("Mul", ["sum", "zero"], ["neutral"]),
        helper.make_node("Concat", ["contradicts", "neutral", "entails"], ["logits"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array([[7.0]], np.float32), "bound"),
        numpy_helper.from_array(np.array([[0.0]], np.float32), "zero"),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in names]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "model.onnx")
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "graz": 2, "linz": 5}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    (HERE / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    labels = {"id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"}}
    (HERE / "config.json").write_text(json.dumps(labels), "utf-8")


if __name__ == "__main__":
    main()
