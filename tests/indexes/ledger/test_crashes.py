"""Writers that are killed, and disks that fill up, at moments nobody chose.

Nothing acknowledged is missing, and nothing half-written is there: in the ledger, or in an index that follows it.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from indexes.entries import ForgetSet
from indexes.follower import IndexFollower
from indexes.forget_index import ForgetIndex
from indexes.ledger.opening import open_ledger
from indexes.ledger.records import Ledger
from indexes.snapshots.files import SnapshotFolder
from indexes.snapshots.fitting import MadeOf
from indexes.snapshots.making import make
from indexes.snapshots.start import opened
from tests.fakes.embedder import BagEmbedder

ROOT = Path(__file__).resolve().parents[3]

WRITER = """
import resource
import sys
from pathlib import Path

import numpy as np

from indexes.entries import Entry, ForgetSet, Kind
from indexes.ledger.opening import open_ledger
from indexes.ledger.records import LedgerError, NewEntry, Once

path, url, room = Path(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])
ledger = open_ledger(path, url)
start = ledger.generation()
if room:  # no file may grow beyond: as on a disk that is full
    size = path.stat().st_size + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
print("begin", flush=True)
for n in range(start, start + 100_000):
    size = 1 + n % 4
    batch = [
        NewEntry(
            Entry(f"b{n}.{i}of{size}", "s1", Kind.PASSAGE, texts=("text " * (1 + n % 50),)),
            np.ones((1, 64), "f4"),
            f"d{n}.{i}",
        )
        for i in range(size)
    ]
    try:
        generation, ids = ledger.add_entries(batch, "bag-of-words:1", actor="child", once=Once(f"k{n}", "d"))
        print("add", generation, *ids, flush=True)
        if n % 5 == 4:
            print("drop", ledger.drop_entry("s1", ids[0], actor="child"), ids[0], flush=True)
        if n % 7 == 6:
            print("set", ledger.put_set(ForgetSet(f"other{n}"), None, "m", actor="child", create=True), flush=True)
    except LedgerError as error:
        assert "check free space" in str(error), error
        print("full", flush=True)
        break
"""

MADE_OF = MadeOf.now(BagEmbedder().name, 64, None)

Open = Callable[[], Ledger]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str | None]:
    return tmp_path / "ledger.db", request.getfixturevalue("postgres_url") if request.param == "postgres" else None


@pytest.fixture
def reopen(place: tuple[Path, str | None]) -> Iterator[Open]:
    opened: list[Ledger] = []

    def again() -> Ledger:
        for ledger in opened:
            ledger.close()
        opened[:] = [open_ledger(*place)]
        return opened[0]

    ledger = again()
    ledger.put_set(ForgetSet("s1"), None, "m", actor="a", create=True)
    ledger.close()
    opened.clear()
    yield again
    for ledger in opened:
        ledger.close()


class Said:
    """What writers had acknowledged."""

    def __init__(self) -> None:
        self.added: dict[str, int] = {}
        self.dropped: set[str] = set()

    def read(self, text: str) -> None:
        for line in text[: text.rfind("\n") + 1].splitlines():  # a line that was cut was not acknowledged
            what, *rest = line.split()
            if what == "add":
                self.added |= dict.fromkeys(rest[1:], int(rest[0]))
            elif what == "drop":
                self.dropped.add(rest[1])


def test_a_writer_that_is_killed(place: tuple[Path, str | None], reopen: Open) -> None:
    chance, said = np.random.default_rng(20260504), Said()
    for _ in range(3):
        said.read(killed_after(chance.uniform(0.02, 0.25), *place))
        ledger = reopen()
        assert_whole(ledger, said, SnapshotFolder(place[0].parent / "snapshots"))
        ledger.close()
    assert len(said.added) > 20
    assert said.dropped


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_disk_that_is_full(place: tuple[Path, str | None], reopen: Open) -> None:
    chance, said = np.random.default_rng(20260505), Said()
    for room in chance.integers(20_000, 400_000, 3):
        done = subprocess.run(
            [sys.executable, "-c", WRITER, *map(str, (place[0], "", room))],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            timeout=120,
            check=True,
        )
        assert done.stdout.endswith("full\n")
        said.read(done.stdout)
        ledger = reopen()
        assert_whole(ledger, said, SnapshotFolder(place[0].parent / "snapshots"))
        ledger.put_set(ForgetSet(f"after{room}"), None, "m", actor="a", create=True)  # there is room again
        ledger.close()
    assert len(said.added) > 20


def killed_after(delay_s: float, path: Path, url: str | None) -> str:
    """Runs the writer and kills it `delay_s` after its first change; returns what it said."""
    command = [sys.executable, "-c", WRITER, str(path), url or "", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}) as child:
        assert child.stdout is not None
        try:
            first = child.stdout.readline() + child.stdout.readline()
            time.sleep(delay_s)
        finally:
            child.kill()
        rest = child.stdout.read()
    assert child.returncode == -signal.SIGKILL
    return first + rest


def assert_whole(ledger: Ledger, said: Said, snapshots: SnapshotFolder) -> None:
    there = {entry.id: entry for entry in ledger.entries(None, "", 1_000_000)}
    changes = ledger.changes(0, 1_000_000)
    removed = {change.entry_id for change in changes if change.action == "entry.remove"}
    assert said.dropped <= removed
    # Everything acknowledged is there, in the generation that was acknowledged.
    kept = {i: generation for i, generation in said.added.items() if i not in removed}
    assert {i: there[i].generation for i in kept} == kept
    # What is there beyond that is whole: all of its batch, the vectors of each, the lines of the log.
    logged = {change.entry_id: change.generation for change in changes if change.action == "entry.add"}
    assert set(there) == set(logged) - removed
    batches: dict[str, set[str]] = {}
    for entry_id in logged:
        batches.setdefault(str(entry_id).split(".")[0], set()).add(str(entry_id))
    assert all(len(batch) == int(next(iter(batch)).split("of")[1]) for batch in batches.values())
    assert all(ledger.vectors(entry_id, "bag-of-words:1") is not None for entry_id in there)
    assert all(ledger.vectors(str(entry_id), "bag-of-words:1") is None for entry_id in removed)
    assert sorted({change.generation for change in changes}) == list(range(1, ledger.generation() + 1))
    # And it is what is served.
    built = ForgetIndex(64)
    begun, refused = opened(snapshots, ledger, MADE_OF, None)  # as of the round before
    assert (begun is None, refused) == (not snapshots.newest(), [])
    for index in (built, begun) if begun is not None else (built,):
        IndexFollower(ledger, index, BagEmbedder()).catch_up()
        assert (index.current.number, index.current.entry_count) == (ledger.generation(), len(there))
    make(snapshots, ledger, MADE_OF, None)
