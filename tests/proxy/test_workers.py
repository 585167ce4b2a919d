"""What needs no processes: the page of metrics of several workers, their places, and leases."""

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxy.config import Config
from proxy.workers import crew as crew_module
from proxy.workers import lease as lease_module
from proxy.workers.crew import Crew, WorkerFailed
from proxy.workers.lease import Lease
from proxy.workers.pages import merged, metrics_page
from proxy.workers.slot import VARIABLE, Slot


def page(requests: int, odd: str = "") -> bytes:
    """A page as a worker shows it."""
    registry = CollectorRegistry()
    counter = Counter("app_requests", "Requests, by what\nthey were", ("kind", "of"), registry=registry)
    counter.labels("a", odd or 'x"} 7, {y="').inc(requests)
    Gauge("app_open", "Open", registry=registry).set(requests / 2)
    Histogram("app_seconds", "Seconds", ("arm",), buckets=(0.1, 1.0), registry=registry).labels("raw").observe(0.5)
    Counter("app_never", "Never touched", ("kind",), registry=registry)
    return generate_latest(registry)


def samples(content: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of a page, read as Prometheus reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("odd", ["", "plain", "back\\slash", "new\nline", "} 1", '",worker="9'])
def test_each_sample_keeps_its_value_and_gets_its_worker(odd: str) -> None:
    pages = {0: page(3, odd), 2: page(5, odd)}
    wanted = {
        (name, tuple(sorted({**dict(labels), "worker": str(number)}.items()))): value
        for number, content in pages.items()
        for (name, labels), value in samples(content).items()
    }
    assert samples(merged(pages)) == wanted


def test_a_family_stands_together_under_one_head() -> None:
    families = list(text_string_to_metric_families(merged({0: page(1), 1: page(2), 2: page(3)}).decode()))
    assert len(families) == len({family.name for family in families})
    assert {family.type for family in families} >= {"counter", "gauge", "histogram"}


async def test_one_process_shows_its_page_as_it_is() -> None:
    registry = CollectorRegistry()
    Gauge("app_open", "Open", registry=registry).set(1)
    assert await metrics_page(registry, None) == generate_latest(registry)


async def test_a_worker_that_does_not_answer_is_left_out(tmp_path: object) -> None:
    registry = CollectorRegistry()
    Gauge("app_open", "Open", registry=registry).set(1)
    slot = Slot(1, 3, 0, 0, str(tmp_path), 0, 0)
    assert list(samples(await metrics_page(registry, slot))) == [("app_open", (("worker", "1"),))]


def test_a_place_is_told_to_a_process_and_read_there() -> None:
    told, telling = os.pipe()
    slot = Slot(0, 4, 8080, 8081, "/folder", telling, 7)
    assert Slot.here({VARIABLE: slot.told()}) == slot
    assert Slot.here({}) is None
    assert slot.is_first
    assert slot.socket(3).name == "3.sock"
    slot.tell_listening()
    assert os.read(told, 1) == b"1"
    assert os.read(told, 1) == b""  # and nobody holds the other end
    os.close(told)


def test_a_lease_runs_out_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(lease_module.time, "monotonic", lambda: now)
    lease = Lease(5)
    assert lease.expired  # nothing was heard yet
    lease.renew(now - 2)  # it counts from the question, not from the answer
    assert not lease.expired
    now += 2.9
    assert not lease.expired
    now += 0.1
    assert lease.expired
    lease.renew(now)
    assert not lease.expired


def test_who_is_alone_needs_no_lease() -> None:
    lease = Lease()
    assert not lease.expired
    lease.renew(0)
    assert not lease.expired


SLOW = """
import os
from proxy.workers.slot import Slot
slot = Slot.here()
for _ in range(3):
    slot.tell_alive()
"""


@pytest.mark.parametrize(("then", "starts"), [("slot.tell_listening(); os.read(slot.parent, 1)", True), ("", False)])
async def test_a_worker_whose_start_takes_long_is_waited_for_while_it_is_alive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, then: str, starts: bool
) -> None:
    monkeypatch.setattr(crew_module, "_COMMAND", SLOW + then)
    crew = Crew(Config(listen={"port": 0}, admin={"port": 0}, state=tmp_path), [])
    try:
        if starts:
            await crew.start()
        else:
            with pytest.raises(WorkerFailed, match="worker 0 did not start"):
                await crew.start()
    finally:
        await crew.stop()
