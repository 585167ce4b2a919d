"""vLLM's own metrics: what the engine really did."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

_LINE = re.compile(r"^vllm:(?P<name>\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Counts:
    """Some of the engine's counters."""

    running: int
    waiting: int
    prompt_tokens: int
    generation_tokens: int
    finished: int
    """Requests that ended by themselves: with a stop token or at their length."""


class EngineMetrics:
    """Reads the metrics of the engine at an address."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/metrics"

    def now(self) -> Counts:
        """The counters now."""
        page = httpx.get(self._url, timeout=60, trust_env=False).text
        sums: dict[str, float] = {}
        for found in _LINE.finditer(page):
            reason = re.search(r'finished_reason="(\w+)"', found["labels"])
            name = f"{found['name']}:{reason[1]}" if reason else found["name"]
            sums[name] = sums.get(name, 0) + float(found["value"])
        return Counts(
            running=int(sums["num_requests_running"]),
            waiting=int(sums["num_requests_waiting"]),
            prompt_tokens=int(sums["prompt_tokens_total"]),
            generation_tokens=int(sums["generation_tokens_total"]),
            finished=int(sums["request_success_total:stop"] + sums["request_success_total:length"]),
        )

    def wait_for(self, condition: Callable[[Counts], bool], limit_s: float) -> Counts:
        """The first counters that meet a condition."""
        deadline = time.monotonic() + limit_s
        while not condition(counts := self.now()):
            assert time.monotonic() < deadline, counts
            time.sleep(0.05)
        return counts
