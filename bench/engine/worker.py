"""One vLLM engine, driven over standard input: a JSON object a line in, one a line out.

Several engines stand side by side in processes of their own, so that the bench can time them in turn: what else the
machine does then falls on all of them alike.
"""

import json
import os
import sys
import time
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; 16 requests of 200 tokens need a tenth
os.environ["TORCHDYNAMO_DISABLE"] = "1"  # else vLLM's sampler compiles its ranking of logprobs inside the first request

REPLY = "\x1e"  # record separator: vLLM writes to standard output, too


def main() -> None:
    spec: dict[str, Any] = json.loads(sys.stdin.readline())
    os.environ |= spec["environment"]
    from vllm import LLM  # noqa: PLC0415 - after the environment is set

    from guards.engine import plugin  # noqa: PLC0415 - as above

    plugin.register()
    llm = LLM(spec["model"], **spec["options"])
    reply({"ready": True})
    for line in sys.stdin:
        reply(run(llm, json.loads(line)))


def run(llm: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Serve the prompts of one order together; answer with seconds and tokens, and logprobs where asked for.

    order: prompts (token ids), fields (extra_args) and salts of each, tokens, adapter (folder or null), logprobs.
    """
    from vllm import SamplingParams  # noqa: PLC0415 - after the environment is set
    from vllm.lora.request import LoRARequest  # noqa: PLC0415 - as above

    params = [
        SamplingParams(
            temperature=0.0,
            max_tokens=order["tokens"],
            ignore_eos=True,
            detokenize=False,
            extra_args=fields or None,
            logprobs=0 if order.get("logprobs") else None,
        )
        for fields in order["fields"]
    ]
    adapter = LoRARequest("bench", 1, order["adapter"]) if order.get("adapter") else None
    prompts = [
        {"prompt_token_ids": ids, "cache_salt": salt}
        for ids, salt in zip(order["prompts"], order["salts"], strict=True)
    ]
    worn = [adapter if fields else None for fields in order["fields"]]
    start = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False, lora_request=worn)
    seconds = time.perf_counter() - start
    answer: dict[str, Any] = {"seconds": seconds, "tokens": [list(output.outputs[0].token_ids) for output in outputs]}
    if order.get("logprobs"):
        answer["logprobs"] = [
            [
                row[token].logprob
                for row, token in zip(output.outputs[0].logprobs, output.outputs[0].token_ids, strict=True)
            ]
            for output in outputs
        ]
    return answer


def reply(answer: dict[str, Any]) -> None:
    sys.stdout.write(f"{REPLY}{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
