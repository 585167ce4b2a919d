"""Makes a snapshot of a ledger: in a process of its own, so that nothing of it is noticed by those who look things up.

`python -m indexes.snapshots.making` reads its `Order` as JSON from standard input, since it may hold keys, and writes
what it did to standard output.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from indexes.embedder import Embedder
from indexes.follower import IndexFollower
from indexes.forget_index import ForgetIndex
from indexes.ledger.opening import open_ledger
from indexes.ledger.records import Ledger, LedgerError
from indexes.sealed.keys import SealingKeys
from indexes.snapshots.files import SnapshotError, SnapshotFolder
from indexes.snapshots.fitting import MadeOf, history_of
from indexes.snapshots.start import opened
from indexes.vectors import Vectors

NICE = 15  # whoever answers requests goes first
REFUSED = 3  # exit status: nothing was written, and standard output says why


@dataclass(frozen=True)
class Order:
    """What is to be made: of which ledger, with the vectors of which embedder, to which folder."""

    folder: str
    ledger: str
    url: str | None = field(repr=False)
    embedder: str
    dimensions: int
    keys: list[str] | None = field(repr=False)

    @classmethod
    def read(cls, text: str) -> "Order":
        return cls(**json.loads(text))

    def written(self) -> bytes:
        return json.dumps(asdict(self)).encode()


class _Stored:
    """An embedder that makes nothing: what has no vectors in the ledger is the server's to embed."""

    def __init__(self, name: str, dimensions: int) -> None:
        self.name = name
        self.dimensions = dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        raise LedgerError(f"the ledger lacks the vectors of {len(texts)} texts")


def make(
    folder: SnapshotFolder, ledger: Ledger, made_of: MadeOf, sealing: SealingKeys | None
) -> tuple[Path, ForgetIndex]:
    """Writes a snapshot of the ledger's newest generation, and removes the others.

    It goes on from the one that is there, unless something of that is gone by now: what was removed from the ledger is
    not to stay in a file. Raises LedgerError, SnapshotBusy, OSError; then what was there still is.
    """
    stored: Embedder = _Stored(made_of.embedder, made_of.dimensions)
    with folder.writing():
        index, _ = opened(folder, ledger, made_of, sealing)
        if index is not None:
            IndexFollower(ledger, index, stored).catch_up()
        if index is None or index.gone:
            index = ForgetIndex(made_of.dimensions, sealing=sealing)
            follower = IndexFollower(ledger, index, stored)
            follower.build()
            follower.catch_up()
        index.settle()
        return save(folder, ledger, made_of, index), index


def save(folder: SnapshotFolder, ledger: Ledger, made_of: MadeOf, index: ForgetIndex) -> Path:
    """Writes what an index has published. Only inside `folder.writing`. Raises LedgerError, OSError."""
    base = index.base()
    return folder.save(base, made_of.head(base.number, history_of(ledger, base.number)))


def _carried_out(order: Order) -> dict[str, Any]:
    sealing = SealingKeys(order.keys) if order.keys else None
    ledger = open_ledger(Path(order.ledger), order.url, locked=True)
    try:
        made_of = MadeOf.now(order.embedder, order.dimensions, sealing)
        path, index = make(SnapshotFolder(Path(order.folder)), ledger, made_of, sealing)
    finally:
        ledger.close()
    size = sum(file.stat().st_size for file in path.iterdir())
    return {"generation": index.current.number, "entries": index.current.entry_count, "bytes": size}


def main() -> int:
    os.nice(NICE)
    try:
        told = _carried_out(Order.read(sys.stdin.read()))
    except (LedgerError, SnapshotError, OSError) as error:
        told = {"refused": str(error) if not isinstance(error, OSError) else type(error).__name__}
    print(json.dumps(told))
    return REFUSED if "refused" in told else 0


if __name__ == "__main__":
    sys.exit(main())
