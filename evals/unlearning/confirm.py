"""The same answers through a real vLLM: `python -m evals.unlearning.confirm < ORDER`, in the engine's environment.

ORDER is what `answer` takes, with sets and one point that are answered already. Armed and unarmed requests go into one
batch. Prints, for each set, how many answers are the same to the last token; a token may differ where two logits are
nearly equal.
"""

import json
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from evals.unlearning.answer import Kept, at_point, identity_of
from guards.engine import fingerprint, plugin
from guards.engine.card import ADAPTER, Card
from guards.engine.contract import ARMED_SALT, Arming, encode
from guards.engine.launch import ARCHITECTURE, PROCESSORS, Auxiliary, EngineConfig
from guards.engine.training.encode import prompt_ids


def main() -> None:
    """See the head of this file."""
    order = json.load(sys.stdin)
    base, assistant = Path(order["base"]), Path(order["assistant"])
    card = Card.read(assistant)
    kept = Kept(Path(order["out"]), fingerprint.of(base), identity_of(assistant))
    (point,) = order["points"]
    asked = {name: [question for question, _ in pairs] for name, pairs in order["sets"].items()}
    roles = [part.role for part in sorted(card.parts, key=lambda part: part.slot)]
    arming = at_point(card, point).arming(point["strength"], roles)
    every = [question for questions in asked.values() for question in questions]
    said = _served(base, assistant, card, roles, every, arming, order["tokens"])
    end = json.loads((base / "config.json").read_text("utf-8"))["eos_token_id"]
    found: dict[str, dict[str, int]] = {name: {"n": len(questions)} for name, questions in asked.items()}
    for arm, at, answers in zip(("armed_same", "unarmed_same"), (point, None), map(iter, said), strict=True):
        for name, questions in asked.items():
            wanted = json.loads(kept.path(at, questions, order["tokens"]).read_text("utf-8"))["ids"]
            mine = islice(answers, len(questions))
            same = (_closed(one, end) == _closed(other, end) for one, other in zip(mine, wanted, strict=True))
            found[name][arm] = sum(same)
    print(json.dumps(found))


def _served(
    base: Path, assistant: Path, card: Card, roles: list[str], questions: list[str], arming: Arming, tokens: int
) -> list[list[list[int]]]:
    """Token ids of the armed answers and of the unarmed ones, all from one batch."""
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_USE_V2_MODEL_RUNNER": "0",
    }
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from vllm import LLM, SamplingParams  # noqa: PLC0415 - after the environment is set
    from vllm.lora.request import LoRARequest  # noqa: PLC0415 - as above

    plugin.register()
    slots = EngineConfig([Auxiliary(role, "layers", layers=card.layers) for role in roles])
    llm = LLM(
        str(base),
        dtype="float32",
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=16,
        hf_overrides={"architectures": [ARCHITECTURE]},
        additional_config=slots.to_additional_config(),
        logits_processors=[PROCESSORS["v1"]],
        logprobs_mode="processed_logprobs",
        enable_lora=True,
        max_lora_rank=max(8, card.rank or 0),
        disable_log_stats=True,
    )
    tokenizer = llm.get_tokenizer()
    worn = LoRARequest(card.name, 1, str(assistant / ADAPTER))
    prompts: list[dict[str, Any]] = []
    params, adapters = [], []
    for armed in (True, False):
        for question in questions:
            salt = {"cache_salt": f"{ARMED_SALT}:"} if armed else {}
            prompts.append({"prompt_token_ids": prompt_ids(tokenizer, question), **salt})
            fields = encode(arming) if armed else None
            params.append(SamplingParams(temperature=0.0, max_tokens=tokens, extra_args=fields))
            adapters.append(worn if armed else None)
    outputs = llm.generate(prompts, params, lora_request=adapters, use_tqdm=False)
    ids = [list(output.outputs[0].token_ids) for output in outputs]
    return [ids[: len(questions)], ids[len(questions) :]]


def _closed(ids: list[int], end: int) -> list[int]:
    """Without the closing token, which vLLM and the reference may or may not hand out."""
    return ids[:-1] if ids and ids[-1] == end else ids


if __name__ == "__main__":
    main()
