"""The bench's own arithmetic: ratios of neighbours in time, and a limit that nothing can beat."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.engine.arms import Setting, Took, figures, interval, over_plain
from bench.engine.limits import Part, Shape, armed_limit

ROOT = Path(__file__).resolve().parents[2]
RATIOS = {"unarmed_over_plain", "armed_over_plain", "armed_limit", "armed_over_limit"}
SHAPE = Shape(hidden=576, intermediate=1536, query=576, key_value=192, layers=30, vocab=49152)


def test_a_ratio_is_taken_between_neighbours_in_time():
    """A machine that becomes twice as slow halfway changes nothing."""
    arms = {
        "plain": [Took(1, 10), Took(1, 10), Took(2, 20), Took(2, 20)],
        "armed": [Took(2, 20), Took(3, 30), Took(4, 40)],
    }
    assert over_plain(arms, "armed", "decoding") == pytest.approx(0.5)
    assert over_plain(arms, "armed", "first") == pytest.approx(0.5)


def test_an_interval_needs_six_rounds_and_leaves_out_what_chance_explains():
    """By hand: of 6, the ends (2 / 2^6 = .031); of 15, the 4th and the 12th (.035; the 5th would be .118)."""
    assert interval([1.0] * 5) is None
    assert interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    assert interval(range(15)) == (3, 11)


def test_the_limit_is_the_share_of_the_work():
    """8 of 30 layers and a head: between the ratio of layers and 1."""
    limit = armed_limit(SHAPE, [Part(SHAPE, 8)], context=44, batch=4)
    layer = 576 * (2 * 576 + 2 * 192 + 3 * 1536)
    base, part = 30 * layer + 49152 * 576, 8 * layer + 49152 * 576
    assert limit == pytest.approx(base / (base + part), abs=0.005)  # keys and values are small at this length
    pair = armed_limit(SHAPE, [Part(SHAPE, 8)] * 2, context=44, batch=4)
    assert pair == pytest.approx(base / (base + 2 * part), abs=0.005)
    assert armed_limit(SHAPE, [Part(SHAPE, 8, rank=16)], context=44, batch=4) < limit
    assert armed_limit(SHAPE, [], context=44, batch=4) == 1


def test_figures_say_what_armed_requests_reach_of_the_limit():
    arms = {"plain": [Took(1, 10)] * 3, "unarmed": [Took(1, 10)] * 2, "armed": [Took(2, 16)] * 2}
    found = figures(Setting(Path(), {}), SHAPE, [Part(SHAPE, 8)], 4, arms)
    assert found.keys() >= RATIOS
    assert (found["unarmed_over_plain"], found["armed_over_plain"]) == (1, 0.625)
    assert found["armed_over_limit"] == pytest.approx(found["armed_over_plain"] / found["armed_limit"], abs=0.002)
    assert found["ttft_armed_over_plain"] == 2


def test_the_gpu_bench_runs_every_step_on_the_cpu(tmp_path):
    """Two of its kinds, one with an auxiliary of its own and one that wears an adapter, at sizes of a few thousand."""
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.gpu", "--dry-run", "--kind", "checkpoint", "--kind", "lora", "--json", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(out.read_text())
    assert (said["dry_run"], said["runner"], set(said["kinds"])) == (True, "v1", {"checkpoint", "lora"})
    for by_batch in said["kinds"].values():
        (figures_of,) = by_batch.values()
        assert figures_of.keys() >= RATIOS
        assert all(figures_of[name] > 0 for name in RATIOS)


def test_the_gpu_bench_is_refused_without_a_gpu(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    done = subprocess.run([sys.executable, "-m", "bench.gpu"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--dry-run" in done.stderr
