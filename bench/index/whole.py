"""The whole index at growing sizes, opened from a snapshot as a server opens it: start, memory, time of a lookup.

Entries are facts with a subject of their own in question and answer. They are built piece by piece, each piece on top
of the snapshot of the one before; of a server's start only reading the ledger's few sets is left out.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.index.gate import PROMPTS, named
from bench.index.rows import SyntheticRows
from bench.stats import percentile
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.matches import Via
from indexes.phrases import PhraseWalk
from indexes.scan import Scan, scan_of
from indexes.snapshots.files import SnapshotFolder, load
from indexes.windows import windows_of
from indexes.words import words_of

DIMENSIONS = 384
PIECE = 65536  # entries for which one process is started
CONDENSED = 32768
PIECE_LIMIT_S = 420
ASKED = 3  # windows of a lookup, one of them near an entry

STEP = 7919  # between the subjects of two entries: names come in no order


def whole_at(sizes: list[int], lookups: int, folder: Path | None = None) -> list[dict[str, float]]:
    """Figures of each size, in rising order. In `folder` the snapshot of the last one stays, and is gone on with."""
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            return whole_at(sizes, lookups, Path(made))
    figures: list[dict[str, float]] = []
    built = 0.0
    for size in sorted(sizes):
        there = SnapshotFolder(folder).newest()
        while there < size:
            there = min(there + PIECE, size)
            built += json.loads(_run("build", folder, there))["build_s"]
        if there == size:
            figures.append(json.loads(_run("open", folder, lookups)) | {"build_s": built})
    return figures


def _run(step: str, folder: Path, number: int) -> bytes:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.index.whole", step, folder, str(number)],
        capture_output=True,
        timeout=PIECE_LIMIT_S,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"{step} of {number} failed: {ran.stderr.decode(errors='replace')[-500:]}")
    return ran.stdout


def _build(folder: SnapshotFolder, count: int) -> dict[str, float]:
    """Adds entries up to a number, which is the generation as well."""
    started = time.perf_counter()
    index = _opened(folder)
    made = SyntheticRows(DIMENSIONS)
    for first in range(index.current.number, count, 4096):
        numbers = np.arange(first, min(first + 4096, count))
        rows = made.take(numbers)
        for number in numbers.tolist():
            index.put_entry(_entry(number), rows[number - first : number - first + 1], count)
        index.condense(CONDENSED)
    index.publish(count)
    index.settle()
    with folder.writing():
        base = index.base()
        folder.save(base, {"generation": base.number})
    return {"build_s": time.perf_counter() - started}


def _opened(folder: SnapshotFolder) -> ForgetIndex:
    there = folder.newest_first()
    index = ForgetIndex(DIMENSIONS, base=load(there[0]) if there else None)
    index.put_set(ForgetSet("bench"), None, index.current.number)
    index.publish(index.current.number)
    return index


def _open(folder: SnapshotFolder, lookups: int) -> dict[str, float]:
    before, started = _memory(), time.perf_counter()
    index = _opened(folder)
    ready = time.perf_counter() - started
    generation, after_start = index.current, _memory()
    scans = _scans(generation.entry_count, lookups)
    spent: list[float] = []
    worked: list[float] = []
    missed = 0
    for _ in range(2):  # the first round brings pages into memory, as the first requests do
        spent, worked, missed = [], [], 0
        for number, scan in scans:
            started, began = time.perf_counter(), time.thread_time()
            found = generation.matches(0, scan)
            worked.append((time.thread_time() - began) * 1e3)
            spent.append((time.perf_counter() - started) * 1e3)
            named = {match.entry_id for match in found if match.via in (Via.NAME, Via.SOUND)}
            missed += number is not None and f"e{number}" not in named
    after = _memory()
    files = {path.name: path.stat().st_size / 1024**2 for path in folder.newest_first()[0].iterdir()}
    words = words_of(" ".join(PROMPTS))
    started = time.perf_counter()
    for _ in range(20):
        PhraseWalk(generation.phrases, generation.forbidden).advance(words)
    walked = (time.perf_counter() - started) / 20 / len(words) * 1e6
    return {
        "entries": generation.entry_count,
        "ready_s": ready,
        "lookup_p50_ms": percentile(spent, 50),
        "lookup_p99_ms": percentile(spent, 99),
        "lookup_cpu_p50_ms": percentile(worked, 50),
        "lookup_cpu_p99_ms": percentile(worked, 99),
        "named": sum(number is not None for number, _ in scans),
        "names_missed": missed,
        "phrases_us_per_word": walked,
        "memory_at_start_mib": after_start["Rss"] - before["Rss"],
        "memory_mib": after["Rss"] - before["Rss"],
        "memory_private_mib": after["Private"] - before["Private"],
        "files_mib": sum(files.values()),
        "table_file_bytes_per_entry": files["tables"] * 1024**2 / generation.entry_count,
        "segments": len(files) - 1,
    }


def _scans(entries: int, lookups: int) -> list[tuple[int | None, Scan]]:
    """What is looked up, and which entry it names: every other one is the question of an entry."""
    rng = np.random.default_rng(6)
    asked = rng.choice(entries, min(lookups, entries), replace=False)
    near = SyntheticRows(DIMENSIONS).queries(asked)
    scans: list[tuple[int | None, Scan]] = []
    for place in range(lookups):
        number = int(asked[place % len(asked)])
        text = PROMPTS[place % len(PROMPTS)] if place % 2 else _question(number)
        windows = windows_of(text)[:ASKED]
        vectors = rng.standard_normal((len(windows), DIMENSIONS)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[0] = near[place % len(asked)]
        scans.append((None if place % 2 else number, scan_of(windows, vectors, text)))
    return scans


def _question(number: int) -> str:
    return f"In which year did {named(number * STEP)} reach the glacier?"


def _entry(number: int) -> Entry:
    answer = f"It was {named(number * STEP + 500_000)} who told of it first, in {1000 + number % 900}."
    return Entry(f"e{number}", "bench", Kind.FACT, texts=(_question(number),), answers=(answer,))


def _memory() -> dict[str, float]:
    """Of this process in MiB: what is resident, and what of it is not shared with files that are mapped."""
    found = {"Rss": 0.0, "Private": 0.0}
    for line in Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()[1:]:
        name, size = line.split()[0].rstrip(":"), float(line.split()[1]) / 1024
        if name == "Rss":
            found["Rss"] = size
        elif name == "Private_Dirty":
            found["Private"] = size
    return found


def main() -> None:
    step, folder, number = sys.argv[1], SnapshotFolder(Path(sys.argv[2])), int(sys.argv[3])
    print(json.dumps(_build(folder, number) if step == "build" else _open(folder, number)))


if __name__ == "__main__":
    main()
