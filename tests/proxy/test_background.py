"""Work beside the requests outlives what nobody foresaw, tells of it, and ends with its block."""

import asyncio

import pytest
from structlog.testing import capture_logs

from proxy import background
from proxy.background import going_on
from proxy.metrics import Metrics

SECRET = "the forgotten sentence"


async def test_work_that_fails_is_counted_told_and_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "AGAIN_S", 0.001)
    metrics, begun, well = Metrics(), 0, asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise KeyError(SECRET)
        well.set()
        await asyncio.Event().wait()

    with capture_logs() as log:
        async with going_on("expiry", work, metrics), asyncio.timeout(10):
            await well.wait()
    assert begun == 3
    assert metrics.registry.get_sample_value("lethe_background_faults_total", {"work": "expiry"}) == 2
    told = [line for line in log if line["event"] == "background_failed"]
    assert [(line["work"], line["fault"]) for line in told] == [("expiry", "KeyError")] * 2
    assert all("test_background.py:" in line["at"] for line in told)
    assert SECRET not in str(log)


async def test_work_ends_with_its_block_and_takes_its_time_to_end() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.set()

    async with going_on("audit", work, Metrics()):
        await asyncio.sleep(0)
    assert ended.is_set()
