"""The engines of the bench, one process each, and what is timed of them."""

import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.engine.limits import Part, Shape, armed_limit
from bench.engine.worker import REPLY
from guards.engine.contract import Arming, encode, request_fields
from guards.engine.launch import ARCHITECTURE, PROCESSORS, Auxiliary, EngineConfig, Runner, engine_environment

PROMPT_TOKENS, NEW_TOKENS = 32, 24
LAST_LINES = 15  # of a process that failed
CONFIDENCE = 0.95  # of intervals


@dataclass(frozen=True, slots=True)
class Kind:
    """One composite: its auxiliaries, what an armed request weighs them with, and the rank of its adapter (0: none)."""

    name: str
    auxiliaries: Sequence[Auxiliary]
    weights: Mapping[str, float]
    rank: int = 0

    def options(self, runner: Runner) -> dict[str, Any]:
        """What vLLM is started with on top of the bench's options."""
        options = {
            "hf_overrides": {"architectures": [ARCHITECTURE]},
            "additional_config": EngineConfig(self.auxiliaries).to_additional_config(),
            "logits_processors": [PROCESSORS[runner]],
        }
        return options | ({"enable_lora": True, "max_lora_rank": self.rank} if self.rank else {})


@dataclass(frozen=True, slots=True)
class Setting:
    """What all engines of one bench share. width: bytes of a weight."""

    model: Path
    options: Mapping[str, Any]
    runner: Runner = "v1"
    width: int = 4
    prompt_tokens: int = PROMPT_TOKENS
    new_tokens: int = NEW_TOKENS
    environment: Mapping[str, str] = field(default_factory=dict)


class Engine:
    """One worker process. It is started at once; `answer` waits for it."""

    def __init__(self, setting: Setting, options: dict[str, Any]) -> None:
        self._tokens = setting.new_tokens
        self._said = tempfile.TemporaryFile("w+")  # shown when it fails  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=os.environ | {"GOMP_SPINCOUNT": "2000"},  # as `lethe engine`; read when libgomp is loaded
        )
        environment = engine_environment(setting.runner) | dict(setting.environment)
        options = {**setting.options, **options}
        self._send({"model": str(setting.model), "options": options, "environment": environment})

    def _send(self, order: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        for line in self._process.stdout:
            if line.startswith(REPLY):
                return json.loads(line[1:])
        status = self._process.wait()
        self._said.seek(0)
        last = "\n".join(self._said.read().splitlines()[-LAST_LINES:])
        raise RuntimeError(f"a vLLM process of the bench ended with status {status}:\n{last}")

    def ask(self, prompts: list[list[int]], armings: list[Arming | None], **more: Any) -> dict[str, Any]:
        salts = [request_fields(arming)["cache_salt"] for arming in armings]
        order = {"prompts": prompts, "fields": [encode(arming) for arming in armings], "salts": salts}
        self._send({"tokens": self._tokens, **order, **more})
        return self.answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._said.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(setting: Setting, options: dict[str, Any], name: str) -> Iterator[Engine]:
    """An engine that is up, ended at the end."""
    engine = Engine(setting, options)
    try:
        engine.answer()
        say(f"{name}: up")
        yield engine
    finally:
        engine.close()


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one batch: to the first token, and from it to the last."""

    first: float
    decoding: float


Arms = dict[str, list[Took]]  # arm → rounds


def prompts_of(count: int, vocab: int, tokens: int, seed: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(min(100, vocab // 2), vocab) for _ in range(tokens)] for _ in range(count)]


def measure(
    plain: Engine, engine: Engine, kind: Kind, prompts: list[list[int]], adapter: Path | None, rounds: int
) -> Arms:
    """Times of plain vLLM and of both arms of one kind, round by round; `plain` has one round more."""
    batch = len(prompts)
    worn = str(adapter) if kind.rank and adapter else None

    def run(one: Engine, arming: Arming | None) -> Took:
        armings, adapters = [arming] * batch, worn if one is engine else None
        first = one.ask(prompts, armings, adapter=adapters, tokens=1)["seconds"]
        whole = one.ask(prompts, armings, adapter=adapters)["seconds"]
        return Took(first, whole - first)

    arming = Arming(dict(kind.weights))
    for one, armed in ((plain, None), (engine, None), (engine, arming)):
        one.ask(prompts, [armed] * batch, adapter=worn if one is engine else None, tokens=4)
    found: Arms = {"plain": [run(plain, None)], "unarmed": [], "armed": []}
    for _ in range(rounds):
        found["unarmed"].append(run(engine, None))
        found["armed"].append(run(engine, arming))
        found["plain"].append(run(plain, None))
    return found


def figures(setting: Setting, shape: Shape, parts: Sequence[Part], batch: int, arms: Arms) -> dict[str, Any]:
    """Ratios to plain vLLM, the computed limit, and the times they come from."""
    context = setting.prompt_tokens + setting.new_tokens / 2
    limit = armed_limit(shape, parts, context, batch, setting.width)
    armed = over_plain(arms, "armed", "decoding")
    tokens = batch * (setting.new_tokens - 1)
    return {
        "unarmed_over_plain": round(over_plain(arms, "unarmed", "decoding"), 3),
        "unarmed_over_plain_interval": _rounded(interval(ratios(arms, "unarmed", "decoding"))),
        "armed_over_plain": round(armed, 3),
        "armed_over_plain_interval": _rounded(interval(ratios(arms, "armed", "decoding"))),
        "armed_limit": round(limit, 3),
        "armed_over_limit": round(armed / limit, 3),
        "ttft_unarmed_over_plain": round(1 / over_plain(arms, "unarmed", "first"), 3),
        "ttft_armed_over_plain": round(1 / over_plain(arms, "armed", "first"), 3),
        "tokens_per_s": {arm: round(tokens / _median(took, "decoding"), 1) for arm, took in arms.items()},
        "ttft_ms": {arm: round(1000 * _median(took, "first"), 1) for arm, took in arms.items()},
    }


def over_plain(arms: Arms, arm: str, phase: str) -> float:
    """Median over rounds of the speed of an arm over plain's."""
    return statistics.median(ratios(arms, arm, phase))


def ratios(arms: Arms, arm: str, phase: str) -> list[float]:
    """Round by round, the speed of an arm over plain's: the mean of the plain times before and after it."""
    around = [(getattr(before, phase) + getattr(after, phase)) / 2 for before, after in pairwise(arms["plain"])]
    return [plain / getattr(took, phase) for plain, took in zip(around, arms[arm], strict=True)]


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Between which two of the values their median's true value lies, with at least 95 %; None below six values.

    Of order statistics: k of n draws lie below the true median with the binomial probability C(n, k) / 2^n, however
    they are distributed (Conover, Practical Nonparametric Statistics, 3.2).
    """
    ranked, n = sorted(values), len(values)
    outside, below = 0.0, 0
    while (outside := outside + math.comb(n, below) / 2**n) <= (1 - CONFIDENCE) / 2:
        below += 1
    return (ranked[below - 1], ranked[n - below]) if below else None


def _rounded(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else [round(bound, 3) for bound in bounds]


def _median(took: Sequence[Took], phase: str) -> float:
    return statistics.median(getattr(one, phase) for one in took)


def say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
