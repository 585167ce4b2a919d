"""A snapshot on disk: a folder with one file of tables, and one for each block of vectors.

A folder is filled under another name and renamed when all of it is on the disk, so what has a snapshot's name is whole.
Segments that a former snapshot holds already are linked, not written again. A snapshot that is removed stays for those
who have mapped it.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from indexes import mapped
from indexes.columns import part, under
from indexes.forget_index import Base
from indexes.mapped import Head, MappedError
from indexes.names.frozen import FrozenNames
from indexes.phrases import FrozenPhrases
from indexes.rows import FrozenRows
from indexes.segments import Block, Segment, SegmentError
from indexes.slots import FrozenSlots
from indexes.vectors import VectorRows

TABLES, ROWS = b"lethe-tables-1", b"lethe-rows-1"
_NAME = re.compile(r"(\d{12})-[0-9a-f]{8}")
_UNFINISHED = ".unfinished-"


class SnapshotError(Exception):
    """A snapshot that cannot be used: damaged, cut off, or made of something else. The index is made anew then."""


class SnapshotBusy(SnapshotError):
    """Another process is writing one."""


class SnapshotFolder:
    """The snapshots of one ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def newest_first(self) -> list[Path]:
        """All that are there."""
        if not self.path.is_dir():
            return []
        return sorted((path for path in self.path.iterdir() if _NAME.fullmatch(path.name)), reverse=True)

    def newest(self) -> int:
        """The generation of the newest; 0 where there is none."""
        there = self.newest_first()
        return int(there[0].name.split("-")[0]) if there else 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """For one process at a time. Raises SnapshotBusy, OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SnapshotBusy("another process is writing a snapshot") from None
            for left in self.path.glob(f"{_UNFINISHED}*"):  # by one that was killed
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)

    def save(self, base: Base, head: Head) -> Path:
        """Writes a snapshot and removes the others. Only inside `writing`. Raises OSError; then nothing has changed."""
        name = f"{base.number:012d}-{secrets.token_hex(4)}"
        folder = self.path / f"{_UNFINISHED}{name}"
        folder.mkdir(mode=0o700)
        try:
            blocks = [_save_block(folder / f"rows-{place}", rows) for place, rows in enumerate(base.blocks)]
            told = head | {"blocks": blocks, "lowest_threshold": base.lowest_threshold}
            mapped.write(folder / "tables", TABLES, told, _columns(base))
            folder.rename(self.path / name)
            mapped.to_disk(self.path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.remove_but(name)
        return self.path / name

    def clear(self) -> None:
        """Removes all that are there. Raises SnapshotBusy, OSError."""
        if self.newest_first():
            with self.writing():
                self.remove_but("")

    def remove_but(self, name: str) -> None:
        """Removes all snapshots but one."""
        for path in self.newest_first():
            if path.name != name:
                with suppress(OSError):
                    shutil.rmtree(path.rename(self.path / f"{_UNFINISHED}{path.name}"))


def head_of(path: Path) -> Head:
    """What a snapshot says of itself. Raises SnapshotError."""
    try:
        return mapped.head_of(path / "tables", TABLES)
    except MappedError as error:
        raise SnapshotError(str(error)) from None


def load(path: Path) -> Base:
    """Maps a snapshot, once all its checksums are found right. Raises SnapshotError."""
    try:
        head, columns = mapped.read(path / "tables", TABLES)
        blocks = tuple(_load_block(path / f"rows-{place}", kind) for place, kind in enumerate(head["blocks"]))
        return Base(
            number=head["generation"],
            lowest_threshold=head["lowest_threshold"],
            slots=FrozenSlots(part("slots", columns)),
            rows=FrozenRows(part("rows", columns)),
            heard=FrozenNames(part("heard", columns)),
            names=FrozenPhrases(part("names", columns)),
            found=FrozenPhrases(part("found", columns)),
            phrases=FrozenPhrases(part("phrases", columns)),
            blocks=blocks,
        )
    except (MappedError, SegmentError) as error:
        raise SnapshotError(str(error)) from None


def _columns(base: Base) -> mapped.Arrays:
    parts = {
        "slots": base.slots,
        "rows": base.rows,
        "heard": base.heard,
        "names": base.names,
        "found": base.found,
        "phrases": base.phrases,
    }
    columns: mapped.Arrays = {}
    for name, table in parts.items():
        if table is not None:
            columns |= under(name, table.columns())
    return columns


def _save_block(path: Path, rows: VectorRows) -> str:
    """Writes a block of vectors; tells of which kind it is."""
    if not isinstance(rows, Segment):
        mapped.write(path, ROWS, {}, {"rows": rows.vectors()})
        return "exact"
    if rows.path is not None:
        with suppress(OSError):  # it was removed, or lies on another disk
            os.link(rows.path, path)
            return "segment"
    rows.save(path)
    return "segment"


def _load_block(path: Path, kind: str) -> VectorRows:
    return Segment.open(path) if kind == "segment" else Block(np.asarray(mapped.read(path, ROWS)[1]["rows"]))
