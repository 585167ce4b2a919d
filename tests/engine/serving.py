"""A vLLM engine inside the test's own process, and requests of several arms driven through it step by step."""

import gc
import os
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # one process: tests look into the engine
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # else the sampler compiles its ranking of logprobs for 20 s

import torch
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.lora.request import LoRARequest

from guards.engine import plugin
from guards.engine.contract import Arming, encode, request_fields
from guards.engine.launch import ARCHITECTURE, PROCESSORS, EngineConfig

QUIET = {"dtype": "float32", "enforce_eager": True, "skip_tokenizer_init": True, "disable_log_stats": True}


@contextmanager
def engine(base: Path, config: EngineConfig | None, **options):
    """Plain vLLM when `config` is None, else the composite with the V1 adapter."""
    plugin.register()
    if config is not None:
        options |= {
            "hf_overrides": {"architectures": [ARCHITECTURE], **options.pop("hf_overrides", {})},
            "additional_config": config.to_additional_config(),
            "logits_processors": [PROCESSORS["v1"]],
        }
    defaults = {"max_model_len": 512, "max_num_seqs": 8, "logprobs_mode": "processed_logits", "max_logprobs": -1}
    llm = LLM(str(base), **{**QUIET, **defaults, **options})
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()


@dataclass
class Request:
    """One request of a script. arrives, leaves: the engine steps at which it is added and aborted."""

    prompt: list[int]
    arming: Arming | None = None
    steps: int = 24
    arrives: int = 0
    leaves: int | None = None
    adapter: LoRARequest | None = None
    seed: int | None = None  # sampled at temperature 1 with it; greedy without
    logits: bool = True
    tokens: list[int] = field(default_factory=list)
    rows: torch.Tensor | None = None  # [steps, V]
    preempted: int = 0

    def params(self) -> SamplingParams:
        return SamplingParams(
            temperature=0.0 if self.seed is None else 1.0,
            seed=self.seed,
            max_tokens=self.steps,
            ignore_eos=True,
            logprobs=-1 if self.logits else None,
            extra_args=encode(self.arming),
            detokenize=False,
        )


def serve(llm: LLM, requests: list[Request]) -> None:
    """Run the script and fill in `tokens` and `rows`."""
    core, waiting = llm.llm_engine, dict(enumerate(requests))
    alive, step = set(), 0
    while waiting or alive:
        for index in [index for index, request in waiting.items() if request.arrives <= step]:
            request = waiting.pop(index)
            prompt = {"prompt_token_ids": request.prompt}
            if salt := request_fields(request.arming)["cache_salt"]:
                prompt["cache_salt"] = salt
            core.add_request(str(index), prompt, request.params(), lora_request=request.adapter)
            alive.add(index)
        for index in [index for index in alive if requests[index].leaves == step]:
            core.abort_request([str(index)])
            alive.discard(index)
        for output in core.step():
            index = int(output.request_id)
            _collect(requests[index], output)
            if output.finished:
                alive.discard(index)
        step += 1


def _collect(request: Request, output) -> None:
    completion = output.outputs[0]
    request.tokens = list(completion.token_ids)
    if request.logits and output.finished:
        vocab = len(completion.logprobs[0])
        request.rows = torch.tensor([[row[t].logprob for t in range(vocab)] for row in completion.logprobs])


def entry_point_folder() -> Path:
    """A folder that, on a child's PYTHONPATH, gives it the entry point an installed Lethe has."""
    folder = Path(tempfile.mkdtemp(prefix="lethe-entry-point-"))
    info = folder / "lethe_engine-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lethe-engine\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[vllm.general_plugins]\nlethe = guards.engine.plugin:register\n")
    return folder


def inside(llm: LLM):
    """The engine core (scheduler, executor), reachable because it runs in this process."""
    return llm.llm_engine.engine_core.engine_core


def watched(llm: LLM) -> Counter[str]:
    """What from now on its scheduler does to requests: preempted, chunked (prompts), cached (tokens found)."""
    scheduler, seen = inside(llm).scheduler, Counter()
    preempt, schedule = scheduler._preempt_request, scheduler.schedule

    def preempting(*args, **kwargs):
        seen["preempted"] += 1
        return preempt(*args, **kwargs)

    def scheduling(*args, **kwargs):
        output = schedule(*args, **kwargs)
        for new in output.scheduled_new_reqs:
            seen["cached"] += new.num_computed_tokens
            seen["chunked"] += output.num_scheduled_tokens[new.req_id] < len(new.prompt_token_ids)
        return output

    scheduler._preempt_request, scheduler.schedule = preempting, scheduling
    return seen
