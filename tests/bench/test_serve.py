"""The benchmark of a running system gives the figures that it promises: nothing here judges how fast it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.serve import per_chunk
from bench.serve.measure import NotMeasurable, Rounds, measured
from tests.clients.system import clean_environment
from tests.fakes.vllm import FakeVllm
from tests.wire.harness import ADMIN_KEY, started

NOBODY = "http://127.0.0.1:1"


async def test_all_figures_of_a_system(tmp_path: Path, prepared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del prepared_cache  # a second server, before a scripted engine, has the real embedder
    monkeypatch.setattr(per_chunk, "CHUNKS", 20)
    async with FakeVllm.running() as engine, started(engine, tmp_path) as lethe:
        figures = await measured(lethe.url, lethe.admin_url, engine.url, ADMIN_KEY, "", Rounds(2, 1, 11))
        assert (await lethe.admin("GET", "/sets")).body["data"] == []  # it leaves nothing behind
    for name in ("hot_add_p50_ms", "hot_add_p99_ms", "embed_p50_ms", "gate_p50_ms", "ttft_added_ms", "chunk_added_ms"):
        assert isinstance(figures[name], float), name
    assert figures["hot_add_p50_ms"] <= figures["hot_add_p99_ms"]
    assert figures["hot_adds"] == 11
    assert figures["hot_add_missed"] == 0
    assert figures["ready_s"] is None  # this engine was not started by `lethe up`


async def test_what_cannot_be_measured_is_told(tmp_path: Path) -> None:
    async with FakeVllm.running() as engine, started(engine, tmp_path) as lethe:
        await lethe.admin("POST", "/keys", {"scopes": ["client"]})
        for proxy, key, where, cure in (
            (NOBODY, ADMIN_KEY, engine.url, "lethe up"),
            (lethe.url, "wrong", engine.url, "LETHE_ADMIN_KEY"),
            (lethe.url, ADMIN_KEY, NOBODY, "--state"),
        ):
            with pytest.raises(NotMeasurable, match=cure):
                await measured(proxy, lethe.admin_url, where, key, "", Rounds(1, 1, 1))


def test_the_command_says_what_is_missing() -> None:
    command = [sys.executable, "-m", "bench.serve", "--quick", "--json", "-", "--proxy", NOBODY]
    for env, code, says in (({}, 2, "set LETHE_ADMIN_KEY"), ({"LETHE_ADMIN_KEY": "k" * 20}, 1, "start it with `lethe")):
        done = subprocess.run(
            command, env=clean_environment(**env), cwd=Path(__file__).parents[2], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == code
        assert says in done.stderr
        assert "Traceback" not in done.stderr
