"""Entries added one after the other while requests look things up: what an add takes, and what lookups notice.

Embedding is not part of it: vectors are drawn, texts are names and answers as real entries have them.
"""

import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from bench.index.gate import named
from bench.index.rows import unit
from bench.stats import percentile, percentile_ratio
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.scan import Scan, scan_of
from indexes.vectors import Vectors
from indexes.windows import windows_of

DIMENSIONS = 384
HELD = 20_000  # entries before
EVERY_S = 0.01  # between two lookups: 100 a second
TURN_S = 1.0
ADD_EVERY_S = 0.01
ADDS_A_TURN = 100
PROVED = 10  # adds to one that is looked for

ASKED = "Could you tell me what the painter from the northern coast did in the last years before the museum opened?"


def hot_add(adds: int) -> dict[str, float]:
    """Times in milliseconds: of an add until it is in force, and of a lookup with and without adds beside it.

    Both kinds of lookups take turns, a second each: whatever else the machine does, it does to both. Adds come at
    random, or they would keep in step with the lookups. Whether an entry is found in the generation that its add
    published is looked at between the turns: a generation does not change.
    """
    rng = np.random.default_rng(2)
    rows = unit(rng.standard_normal((HELD + adds, DIMENSIONS), np.float32))
    index = ForgetIndex(DIMENSIONS)
    index.put_set(ForgetSet("bench"), None, 1)
    for number in range(HELD):
        index.put_entry(entry_of(number), rows[number : number + 1], 1)
    index.publish(1)
    scan = asked_scan(rng)
    spent: list[float] = []
    published: dict[int, Generation] = {}

    def add(numbers: range) -> None:
        for number in numbers:
            started = time.perf_counter()
            index.put_entry(entry_of(number), rows[number : number + 1], number)
            generation = index.publish(number)
            spent.append((time.perf_counter() - started) * 1e3)
            if number % PROVED == 0:
                published[number] = generation
            time.sleep(rng.exponential(ADD_EVERY_S))

    def found(number: int) -> bool:
        matches = published.pop(number).matches(0, _asked_for(rows[number]))
        return any(match.entry_id == f"e{number}" for match in matches)

    turns: list[tuple[list[float], list[float]]] = []
    missed = 0
    for first in range(HELD, HELD + adds, ADDS_A_TURN):
        numbers = range(first, min(first + ADDS_A_TURN, HELD + adds))
        quiet = lookups(lambda: index, scan, lambda: time.sleep(TURN_S))
        turns.append((lookups(lambda: index, scan, partial(add, numbers)), quiet))
        missed += sum(not found(number) for number in tuple(published))
    busy, quiet = ([one for turn in turns for one in turn[way]] for way in (0, 1))
    ratio, low, high = percentile_ratio(turns, 99)
    return {
        "adds": adds,
        "adds_proved": len(range(HELD, HELD + adds, PROVED)),
        "add_p50_ms": percentile(spent, 50),
        "add_p99_ms": percentile(spent, 99),
        "add_missed": missed,
        "lookup_quiet_p50_ms": percentile(quiet, 50),
        "lookup_quiet_p99_ms": percentile(quiet, 99),
        "lookup_busy_p50_ms": percentile(busy, 50),
        "lookup_busy_p99_ms": percentile(busy, 99),
        "lookups": len(busy),
        "lookup_p99_of_quiet": ratio,
        "lookup_p99_of_quiet_low": low,  # of 95 %
        "lookup_p99_of_quiet_high": high,
    }


def asked_scan(rng: np.random.Generator) -> Scan:
    """A prompt of three windows that is near nothing."""
    windows = windows_of(ASKED)[:3]
    return scan_of(windows, unit(rng.standard_normal((len(windows), DIMENSIONS), np.float32)), ASKED)


def lookups(index: Callable[[], ForgetIndex], scan: Scan, during: Callable[[], None]) -> list[float]:
    """Milliseconds of each lookup made, in the index that is in force then, while something else goes on."""
    spent: list[float] = []
    over = threading.Event()

    def look() -> None:
        due = time.perf_counter()
        while not over.is_set():
            started = time.perf_counter()
            index().current.matches(0, scan)
            spent.append((time.perf_counter() - started) * 1e3)
            due = max(due + EVERY_S, started)
            time.sleep(max(0.0, due - time.perf_counter()))

    reader = threading.Thread(target=look, name="lookups")
    reader.start()
    try:
        during()
    finally:
        over.set()
        reader.join()
    return spent


def _asked_for(row: Vectors) -> Scan:
    return scan_of(windows_of("asked")[:1], row[None], "asked")


def entry_of(number: int) -> Entry:
    """A fact with a subject of its own in question and in answer."""
    question = f"In which year did {named(number)} reach the glacier?"
    answer = f"It was {named(number + 500_000)} who told of it first."
    return Entry(f"e{number}", "bench", Kind.FACT, texts=(question,), answers=(answer,))
