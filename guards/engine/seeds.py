"""Sampling with a seed on a CPU, beside prompts that are read in chunks: a flaw of vLLM that ends the engine.

vLLM's V1 runner samples a token for every row of a step and discards those of prompts whose end is not read yet. Each
draw moves the generator of a request with a `seed`, and the runner takes the draw of a discarded row back by setting
the generator's offset (`GPUModelRunner._bookkeeping_sync`), which only generators on a GPU have. On a CPU torch raises,
and the engine core ends with all requests in it: whoever can send a long prompt with a seed could restart the engine.

So on a CPU, rows to be discarded lend no generator while a step is sampled. Their throw-away token is drawn from the
common one, nothing is there to be taken back, and the first token that is kept meets the generator as the seed made it,
in however many chunks the prompt was read. What GPUs run is not touched.
"""

import functools
import inspect
from typing import Any

import numpy as np

_FLAW = "gen.set_offset(gen.get_offset() - 4)"
_SHARED = "generators=self.generators,"  # the sampler sees the batch's own dict, so what is out of it is not drawn from
_SAMPLING = ("self._sample(", "self._bookkeeping_sync(")  # both within the one method that is wrapped
_MENDED = "_lethe_lends_no_generator"


def mend() -> None:
    """Mend this process' vLLM where it runs on a CPU. Safe to call more than once.

    Raises RuntimeError, which ends the start of the engine, where vLLM's code is not the one this was written for.
    """
    from vllm.platforms import current_platform  # noqa: PLC0415 - as in `plugin`: vLLM is imported when it asks

    if current_platform.is_cpu():
        from vllm.v1.worker.cpu_model_runner import CPUModelRunner  # noqa: PLC0415 - heavy, and wrong on a GPU
        from vllm.v1.worker.gpu_input_batch import InputBatch  # noqa: PLC0415 - as above

        mend_runner(CPUModelRunner, InputBatch)


def mend_runner(runner: type[Any], batch: type[Any]) -> None:
    """Wrap `runner.sample_tokens`, having checked that it, and `batch`, are as this module says."""
    if hasattr(runner.sample_tokens, _MENDED):
        return
    _expect(runner._bookkeeping_sync, _FLAW)
    _expect(runner.sample_tokens, *_SAMPLING)
    _expect(batch._make_sampling_metadata, _SHARED)
    sample = runner.sample_tokens

    @functools.wraps(sample)
    def sample_tokens(self: Any, *args: Any, **kwargs: Any) -> Any:
        generators = self.input_batch.generators
        discarded = np.flatnonzero(self.discard_request_mask.np[: self.input_batch.num_reqs])
        kept_back = {int(row): generators.pop(int(row)) for row in discarded if int(row) in generators}
        try:
            return sample(self, *args, **kwargs)
        finally:
            generators.update(kept_back)  # rows move between steps only

    setattr(sample_tokens, _MENDED, True)
    runner.sample_tokens = sample_tokens


def _expect(function: Any, *lines: str) -> None:
    source = inspect.getsource(function)
    for line in lines:
        if line not in source:
            from vllm import __version__  # noqa: PLC0415 - as in `mend`

            raise RuntimeError(
                f"vLLM {__version__}: {function.__qualname__} has no `{line}` any more. Lethe mends there what a seed "
                "does on a CPU; see whether this vLLM does it right (tests/engine/test_seeds.py), then adapt or "
                "remove guards/engine/seeds.py, or install the vLLM that requirements/ pins"
            )
