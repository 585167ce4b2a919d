"""A seed says what is drawn, in however many chunks the prompt was read, and no request with one ends the engine."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from serving import Request, engine, inside, serve
from test_exact import prompt
from tiny import write_checkpoint

from guards.engine import seeds

WHOLE, CHUNKED = 512, 24


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("seeds") / "base", "llama", 1)


def script() -> list[Request]:
    """Long prompts with seeds that are read while others, with and without seeds, are answered."""
    return [
        Request(prompt(1, 200), seed=7, steps=40),
        Request(prompt(1, 200), seed=8, steps=40),
        Request(prompt(2, 5), seed=7, steps=90),
        Request(prompt(3, 150), steps=40),
        Request(prompt(4, 170), seed=9, steps=40, arrives=6),
        Request(prompt(5, 9), seed=2**40, steps=60, arrives=3),
        Request(prompt(6, 190), seed=11, steps=400, arrives=9, leaves=11),
    ]


def answers(base, requests: list[Request], **options) -> tuple[list[list[int]], Counter]:
    """The tokens of those that stay, and how often a row with a seed was discarded or preempted."""
    seen: Counter[str] = Counter()
    with engine(base, None, enable_prefix_caching=False, **options) as llm:
        core = inside(llm)
        runner, preempt = core.model_executor.driver_worker.worker.model_runner, core.scheduler._preempt_request
        sample = runner.sample_tokens

        def watch(*args, **kwargs):
            discarded = runner.discard_request_mask.np[: runner.input_batch.num_reqs]
            seen["discarded"] += sum(int(row) in runner.input_batch.generators for row in np.flatnonzero(discarded))
            return sample(*args, **kwargs)

        runner.sample_tokens = watch
        core.scheduler._preempt_request = lambda *args, **kw: (seen.update(preempted=1), preempt(*args, **kw))[1]
        serve(llm, requests)
    return [request.tokens for request in requests if request.leaves is None], seen


@pytest.fixture(scope="module")
def whole(base):
    tokens, seen = answers(base, script(), max_num_batched_tokens=2 * WHOLE)
    assert not +seen, "this was to be the run without chunks"
    return tokens


def test_chunks_do_not_change_what_a_seed_draws(base, whole):
    tokens, seen = answers(base, script(), max_num_batched_tokens=CHUNKED)
    assert seen["discarded"] > len(script()), "the prompts were not read in chunks"
    assert tokens == whole
    assert tokens[0] != tokens[1], "another seed, another answer"


def test_nor_does_being_put_off_and_read_again(base, whole):
    room = {"block_size": 32, "num_gpu_blocks_override": 22, "max_num_batched_tokens": CHUNKED}
    tokens, seen = answers(base, script(), **room)
    assert seen["preempted"], "the cache is too large for this test"
    assert tokens == whole


class Batch:
    def __init__(self, generators):
        self.generators, self.num_reqs = generators, 3

    def _make_sampling_metadata(self):
        return dict(generators=self.generators,)  # fmt: skip  # noqa: C408 - the line that is looked for


class Mask:
    np = np.array([True, False, True, True])  # the last is no request's


def runner_class():
    """A runner with the flaw, as little of one as shows it."""

    class Runner:
        discard_request_mask = Mask

        def __init__(self, generators):
            self.input_batch, self.drawn = Batch(generators), []

        def _sample(self):
            self.drawn = [torch.rand(1, generator=one).item() for one in self.input_batch.generators.values()]

        def _bookkeeping_sync(self):
            for row in (0, 2):
                gen = self.input_batch.generators.get(row)
                if gen is not None:
                    gen.set_offset(gen.get_offset() - 4)

        def sample_tokens(self, fails=False):
            self._sample()
            self._bookkeeping_sync()
            if fails:
                raise ValueError

    return Runner


def test_a_discarded_row_draws_nothing_and_has_its_generator_back():
    generators = {row: torch.Generator().manual_seed(row) for row in range(3)}
    before = {row: one.get_state() for row, one in generators.items()}
    runner = runner_class()
    with pytest.raises(RuntimeError, match="does not use offset"):
        runner(generators).sample_tokens()
    for row, one in generators.items():
        one.set_state(before[row])
    seeds.mend_runner(runner, Batch)
    once = runner.sample_tokens
    seeds.mend_runner(runner, Batch)
    assert runner.sample_tokens is once
    mended = runner(dict(generators))
    mended.sample_tokens()
    assert len(mended.drawn) == 1
    with pytest.raises(ValueError):
        mended.sample_tokens(fails=True)
    assert mended.input_batch.generators == generators
    for row in (0, 2):
        assert torch.equal(generators[row].get_state(), before[row])
    assert not torch.equal(generators[1].get_state(), before[1])


@pytest.mark.parametrize("changed", ["_bookkeeping_sync", "sample_tokens"])
def test_code_that_is_not_what_was_mended_stops_the_start(changed: str):
    runner = runner_class()
    setattr(runner, changed, lambda self: None)
    with pytest.raises(RuntimeError, match=r"adapt or remove guards/engine/seeds\.py"):
        seeds.mend_runner(runner, Batch)
    runner = runner_class()
    with pytest.raises(RuntimeError, match=r"has no `generators=self\.generators,`"):
        seeds.mend_runner(runner, type("Copying", (), {"_make_sampling_metadata": lambda self: None}))


def test_what_is_not_a_cpu_is_left_as_it_is():
    code = """
import vllm.platforms
from vllm.platforms.interface import Platform, PlatformEnum
class Gpu(Platform):
    _enum = PlatformEnum.CUDA
vllm.platforms._current_platform = Gpu()
import sys
from guards.engine import seeds
seeds.mend()
print("vllm.v1.worker.cpu_model_runner" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
