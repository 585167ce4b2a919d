"""Lookups while a snapshot is made of a ledger, and while a server goes over to it: what they notice of either."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.index.hot_add import DIMENSIONS, asked_scan, entry_of, lookups
from bench.index.rows import unit
from bench.stats import percentile
from indexes.entries import ForgetSet
from indexes.follower import IndexFollower
from indexes.forget_index import ForgetIndex
from indexes.ledger.records import NewEntry
from indexes.ledger.sqlite import SqliteLedger
from indexes.snapshots.files import SnapshotFolder
from indexes.snapshots.fitting import MadeOf
from indexes.snapshots.making import Order
from indexes.snapshots.start import opened
from indexes.vectors import Vectors

MODEL = "bench"
BATCH = 1000
QUIET_S = 3.0


class _Drawn:
    """Stands for an embedder whose vectors the ledger holds."""

    name = MODEL
    dimensions = DIMENSIONS

    def embed(self, texts: object) -> Vectors:
        raise AssertionError("all vectors are stored")


def beside_snapshots(entries: int) -> dict[str, float]:
    """Milliseconds of lookups, 100 a second, in an index of some entries: quiet, and beside each of the two."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "ledger.db"
        _fill(path, entries)
        ledger = SqliteLedger(path)
        index = ForgetIndex(DIMENSIONS)
        IndexFollower(ledger, index, _Drawn()).catch_up()
        folder, made_of = SnapshotFolder(Path(made) / "snapshots"), MadeOf.now(MODEL, DIMENSIONS, None)
        held = [index]

        def make() -> None:
            order = Order(str(folder.path), str(path), None, MODEL, DIMENSIONS, None)
            command = [sys.executable, "-m", "indexes.snapshots.making"]
            subprocess.run(command, input=order.written(), check=True, capture_output=True)

        def go_over() -> None:
            found, refused = opened(folder, ledger, made_of, None)
            if found is None:
                raise RuntimeError(f"the snapshot cannot be used: {refused}")
            IndexFollower(ledger, found, _Drawn()).catch_up()
            held[0] = found
            time.sleep(QUIET_S / 10)

        scan = asked_scan(np.random.default_rng(2))
        figures: dict[str, float] = {"snapshot_of_entries": entries}
        works: dict[str, Callable[[], None]] = {"quiet": lambda: time.sleep(QUIET_S), "making": make, "over": go_over}
        for name, work in works.items():
            started = time.perf_counter()
            spent = lookups(lambda: held[0], scan, work)
            figures[f"snapshot_{name}_s"] = time.perf_counter() - started
            figures[f"snapshot_{name}_lookup_p50_ms"] = percentile(spent, 50)
            figures[f"snapshot_{name}_lookup_p99_ms"] = percentile(spent, 99)
        ledger.close()
        return figures


def _fill(path: Path, entries: int) -> None:
    ledger = SqliteLedger(path)
    ledger.put_set(ForgetSet("bench"), None, MODEL, actor="bench", create=True)
    rng = np.random.default_rng(3)
    for first in range(0, entries, BATCH):
        rows = unit(rng.standard_normal((BATCH, DIMENSIONS), np.float32))
        new = [NewEntry(entry_of(first + place), rows[place : place + 1]) for place in range(BATCH)]
        ledger.add_entries(new, MODEL, actor="bench")
    ledger.close()
