"""Search by itself at growing sizes: time of a query, recall of matches against a full comparison, memory, start."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.index.rows import SyntheticRows
from bench.stats import percentile
from indexes.growing import SEGMENT_ROWS
from indexes.segments import Block, Segment
from indexes.vectors import VectorRows, Vectors

DIMENSIONS = 384
THRESHOLD = 0.75
NEIGHBOURS = 16  # rows that the gate looks at
COMPARED = 8192  # rows compared at a time for the truth
CHILD_LIMIT_S = 420


def search_at(count: int, queries: int) -> dict[str, float]:
    """Figures of one size, taken in a process of its own, so that its memory is this size's."""
    with tempfile.TemporaryDirectory() as folder:
        for step in ("build", "open"):
            ran = subprocess.run(
                [sys.executable, "-m", "bench.index.search", step, folder, str(count), str(queries)],
                capture_output=True,
                timeout=CHILD_LIMIT_S,
                check=False,
            )
            if ran.returncode:
                raise RuntimeError(f"{step} of {count} rows failed: {ran.stderr.decode(errors='replace')[-500:]}")
        found: dict[str, float] = json.loads(ran.stdout)
        return found | json.loads((Path(folder) / "build.json").read_bytes())


def _build(folder: Path, count: int, queries: int) -> None:
    made = SyntheticRows(DIMENSIONS)
    asked = np.random.default_rng(1).choice(count, min(queries, count), replace=False)
    wanted = made.queries(asked)
    figures: dict[str, Any] = {}
    if count < SEGMENT_ROWS:
        np.save(folder / "rows.npy", made.take(np.arange(count)))
        rows: VectorRows = Block(np.load(folder / "rows.npy"))
    else:
        started = time.perf_counter()
        rows = segment = Segment.of([(made.take, count)], count, DIMENSIONS)
        figures["build_s"] = time.perf_counter() - started  # the drawing of the rows included
        started = time.perf_counter()
        segment.save(folder / "segment")
        figures["snapshot_s"] = time.perf_counter() - started
    np.save(folder / "queries.npy", wanted)
    np.save(folder / "truth.npy", _truth(rows, wanted))
    (folder / "build.json").write_text(json.dumps(figures))


def _truth(rows: VectorRows, queries: Vectors) -> np.ndarray:
    """Pairs of query and row at or above the threshold, [pairs, 2], by comparing everything."""
    found = []
    for first in range(0, len(rows), COMPARED):
        numbers = np.arange(first, min(first + COMPARED, len(rows)))
        row, query = np.nonzero(rows.rows(numbers) @ queries.T >= THRESHOLD)
        found.append(np.stack([query, numbers[row]], axis=1))
    return np.concatenate(found)


def _open(folder: Path, count: int) -> dict[str, float]:
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / "truth.npy")
    before, started = _resident_mib(), time.perf_counter()
    if count < SEGMENT_ROWS:
        rows: VectorRows = Block(np.load(folder / "rows.npy"))
    else:
        rows = Segment.open(folder / "segment")
    ready = time.perf_counter() - started
    found: set[tuple[int, int]] = set()
    spent: list[float] = []
    worked: list[float] = []
    for _ in range(2):  # the first round brings rows into memory, as the first requests do
        spent, worked = [], []
        for number, query in enumerate(queries):
            started, began = time.perf_counter(), time.thread_time()
            _, numbers = rows.search(query[None], NEIGHBOURS)
            worked.append((time.thread_time() - began) * 1e3)
            spent.append((time.perf_counter() - started) * 1e3)
            found |= {(number, int(row)) for row in numbers[0]}
    wanted = {(int(query), int(row)) for query, row in truth}
    return {
        "rows": count,
        "search_p50_ms": percentile(spent, 50),
        "search_p99_ms": percentile(spent, 99),
        "search_cpu_p50_ms": percentile(worked, 50),  # of the thread: what a core without other work would take
        "search_cpu_p99_ms": percentile(worked, 99),
        "recall": len(found & wanted) / max(1, len(wanted)),
        "pairs": len(wanted),
        "memory_mib": _resident_mib() - before,
        "ready_s": ready,
    }


def _resident_mib() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the system
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2


def main() -> None:
    step, folder, count, queries = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if step == "build":
        _build(folder, count, queries)
    else:
        print(json.dumps(_open(folder, count)))


if __name__ == "__main__":
    main()
