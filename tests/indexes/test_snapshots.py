"""Snapshots: an index that begins with one is what the ledger says, or the snapshot is refused."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes import growing
from indexes.entries import Entry, ForgetSet, Kind
from indexes.follower import IndexFollower
from indexes.forget_index import Base, ForgetIndex
from indexes.ledger.backup import back_up
from indexes.ledger.records import Ledger, NewEntry
from indexes.ledger.sealing import bound
from indexes.ledger.sqlite import SqliteLedger
from indexes.sealed.keys import SealingKeys
from indexes.sealed.sealing import sealed
from indexes.snapshots import fitting, start
from indexes.snapshots.files import SnapshotBusy, SnapshotFolder, head_of, load
from indexes.snapshots.fitting import MadeOf
from indexes.snapshots.making import REFUSED, Order, make, save
from indexes.snapshots.start import opened
from tests.fakes.embedder import BagEmbedder
from tests.indexes.test_follower import ASKED, WRITE, entry, found, stored, write
from tests.indexes.test_follower import opened as opened_ledger

BAG = BagEmbedder()
MADE_OF = MadeOf.now(BAG.name, BAG.dimensions, None)
ROOT = Path(__file__).parents[2]
KEYS = SealingKeys(["k" * 40])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened_ledger(tmp_path) as ledger:
        ledger.put_set(ForgetSet("s1"), None, BAG.name, actor="a", create=True)
        yield ledger


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    return SnapshotFolder(tmp_path / "snapshots")


def begun(folder: SnapshotFolder, ledger: Ledger, made_of: MadeOf = MADE_OF) -> tuple[ForgetIndex | None, list[str]]:
    return opened(folder, ledger, made_of, None)


def same_as_built(index: ForgetIndex | None, ledger: Ledger) -> None:
    assert index is not None
    IndexFollower(ledger, index, BAG).catch_up()
    fresh = ForgetIndex(BAG.dimensions)
    IndexFollower(ledger, fresh, BAG).catch_up()
    assert index.current.number == fresh.current.number == ledger.generation()
    assert index.current.entry_count == fresh.current.entry_count
    assert dict(index.current.sets) == dict(fresh.current.sets)
    assert found(index.current, ASKED) == found(fresh.current, ASKED)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(WRITE, max_size=5), min_size=1, max_size=5))
def test_whatever_is_written_before_and_after_it(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, int, str]]]
) -> None:
    path = tmp_path_factory.mktemp("ledger")
    folder = SnapshotFolder(path / "snapshots")
    with opened_ledger(path) as ledger:
        ledger.put_set(ForgetSet("s1"), None, BAG.name, actor="a", create=True)
        for writes in rounds:
            make(folder, ledger, MADE_OF, None)
            for kind, number, set_id in writes:
                write(ledger, kind, number, set_id)
            index, refused = begun(folder, ledger)
            assert refused == []
            same_as_built(index, ledger)


def test_one_is_made_of_the_one_before_and_shares_its_segments(
    ledger: Ledger, folder: SnapshotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing.GrowingVectors.__init__, "__defaults__", (100, 200, ()))  # segments of few rows
    many = [stored(replace(entry(f"m{n:04}", n), texts=(f"unrelated{n} rolls",))) for n in range(450)]
    ledger.add_entries(many, BAG.name, actor="a")
    first, _ = make(folder, ledger, MADE_OF, None)
    assert head_of(first)["blocks"][0] == "segment"
    inode = (first / "rows-0").stat().st_ino
    ledger.add_entries([stored(entry("e1", 1))], BAG.name, actor="a")
    second, _ = make(folder, ledger, MADE_OF, None)
    assert (second / "rows-0").stat().st_ino == inode
    assert folder.newest_first() == [second]
    same_as_built(begun(folder, ledger)[0], ledger)


# -- refused, and the index is built instead


@pytest.mark.parametrize("file", ["tables", "rows-0"])
def test_a_damaged_one_is_never_served(ledger: Ledger, folder: SnapshotFolder, file: str) -> None:
    ledger.add_entries([stored(entry("e1", 1))], BAG.name, actor="a")
    path = make(folder, ledger, MADE_OF, None)[0] / file
    whole = path.read_bytes()
    places = np.random.default_rng(8).integers(0, len(whole), 30).tolist()
    for place in [0, 17, 30, len(whole) - 1, *places]:
        raw = bytearray(whole)
        raw[place] ^= 0x10
        path.write_bytes(raw)
        index, refused = begun(folder, ledger)
        if index is None:
            assert len(refused) == 1
        else:  # a byte that says nothing, between two arrays
            same_as_built(index, ledger)
    for length in (0, 20, 4096, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert begun(folder, ledger)[0] is None
    path.unlink()
    assert begun(folder, ledger)[0] is None


@pytest.mark.parametrize(
    "other",
    [
        MadeOf.now("another embedder", BAG.dimensions, None),
        MadeOf.now(BAG.name, 32, None),
        MadeOf.now(BAG.name, BAG.dimensions, KEYS),
        replace(MADE_OF, recipe="other code"),
        replace(MADE_OF, format=0),
    ],
    ids=["embedder", "dimensions", "sealing", "recipe", "format"],
)
def test_one_that_was_made_of_something_else_is_refused(ledger: Ledger, folder: SnapshotFolder, other: MadeOf) -> None:
    make(folder, ledger, other if other.sealing == "" and other.dimensions == 64 else MADE_OF, None)
    wanted = MADE_OF if other.sealing == "" and other.dimensions == 64 else other
    index, refused = begun(folder, ledger, wanted)
    assert index is None
    assert "is another one" in refused[0]


def test_one_of_another_history_is_refused_though_the_numbers_fit(
    tmp_path: Path, ledger: Ledger, folder: SnapshotFolder
) -> None:
    back_up(ledger, tmp_path / "backup.db")
    ledger.add_entries([stored(entry("e1", 1))], BAG.name, actor="a")
    make(folder, ledger, MADE_OF, None)
    restored = SqliteLedger(tmp_path / "backup.db")
    try:
        index, refused = begun(folder, restored)  # it is behind
        assert (index, "history" in refused[0]) == (None, True)
        restored.add_entries([stored(entry("e2", 2))], BAG.name, actor="a")
        assert restored.generation() == ledger.generation()
        index, refused = begun(folder, restored)
        assert (index, "history" in refused[0]) == (None, True)
    finally:
        restored.close()


def test_the_code_that_decides_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("indexes/a.py", "1"), ("indexes/snapshots/b.py", "2")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(fitting, "__file__", str(tmp_path / "indexes/snapshots/b.py"))
    before = fitting.recipe.__wrapped__()
    assert fitting.recipe.__wrapped__() == before
    (tmp_path / "indexes/a.py").write_text("3")
    assert fitting.recipe.__wrapped__() != before


# -- what the files say


SECRET = Entry(
    "e7",
    "s1",
    Kind.FACT,
    texts=("Who restored the Zwillingsorgel for Aurelia Wintzingerode?",),
    names=("Thaddeus Okonkwo",),
    answers=('The carpenter of Quermbach, in "Copper Herons"',),
    label="Fuchsienallee",
)
TRACES = ("zwillingsorgel", "wintzinger", "okonkwo", "quermbach", "herons", "fuchsien", "aurelia", "carpenter")


def traces(folder: SnapshotFolder) -> set[str]:
    content = b"".join(path.read_bytes() for path in folder.path.rglob("*") if path.is_file()).lower()
    return {trace for trace in TRACES if trace.encode() in content or trace.encode("utf-16-le") in content}


def test_a_clear_entry_leaves_its_names_only_and_a_removed_one_nothing(ledger: Ledger, folder: SnapshotFolder) -> None:
    ledger.add_entries([stored(entry("e1", 1)), stored(SECRET)], BAG.name, actor="a")
    make(folder, ledger, MADE_OF, None)
    assert traces(folder) == {"okonkwo"}
    ledger.drop_entry("s1", "e7", actor="a")
    make(folder, ledger, MADE_OF, None)
    assert traces(folder) == set()
    same_as_built(begun(folder, ledger)[0], ledger)


def test_a_sealed_entry_leaves_no_trace_and_is_recognised(ledger: Ledger, folder: SnapshotFolder) -> None:
    bound(ledger, KEYS)
    new = stored(SECRET)
    ledger.add_entries([replace(new, entry=sealed(SECRET, KEYS))], BAG.name, actor="a")
    made_of = MadeOf.now(BAG.name, BAG.dimensions, KEYS)
    make(folder, ledger, made_of, KEYS)
    assert traces(folder) == set()
    index, _ = opened(folder, ledger, made_of, KEYS)
    assert index is not None
    asked = ["What do you know about Thaddeus Okonkwo?"]
    assert {one[1] for one in found(index.current, asked)} == {"e7"}


def test_only_the_owner_may_read_it(ledger: Ledger, folder: SnapshotFolder) -> None:
    path, _ = make(folder, ledger, MADE_OF, None)
    assert {oct(one.stat().st_mode & 0o777) for one in (folder.path, path)} == {"0o700"}
    assert {oct(one.stat().st_mode & 0o777) for one in path.iterdir()} == {"0o600"}


# -- while it is written


def test_one_process_writes_at_a_time_and_clears_what_a_killed_one_left(ledger: Ledger, folder: SnapshotFolder) -> None:
    with folder.writing(), pytest.raises(SnapshotBusy):
        make(folder, ledger, MADE_OF, None)
    (folder.path / ".unfinished-000000000007-00000000").mkdir()
    (folder.path / ".unfinished-000000000007-00000000" / "tables").write_bytes(b"half")
    make(folder, ledger, MADE_OF, None)
    assert len(list(folder.path.glob(".unfinished*"))) == 0


def test_readers_keep_what_was_removed(ledger: Ledger, folder: SnapshotFolder) -> None:
    ledger.add_entries([stored(entry("e1", 1))], BAG.name, actor="a")
    make(folder, ledger, MADE_OF, None)
    index, _ = begun(folder, ledger)
    assert index is not None
    answers = found(index.current, ASKED)
    ledger.drop_entry("s1", "e1", actor="a")
    make(folder, ledger, MADE_OF, None)
    assert len(folder.newest_first()) == 1
    assert found(index.current, ASKED) == answers


def test_one_that_is_replaced_while_it_is_opened(
    ledger: Ledger, folder: SnapshotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.add_entries([stored(entry("e1", 1))], BAG.name, actor="a")
    make(folder, ledger, MADE_OF, None)
    beside = ledger.beside()

    def replaced(path: Path) -> Base:
        monkeypatch.undo()  # what follows, another process does at that moment
        beside.add_entries([stored(entry("e2", 2))], BAG.name, actor="a")
        make(folder, beside, MADE_OF, None)
        return load(path)

    monkeypatch.setattr(start, "load", replaced)
    index, refused = begun(folder, ledger)
    beside.close()
    assert index is not None
    assert (index.began, len(refused)) == (ledger.generation(), 1)
    same_as_built(index, ledger)


def test_the_index_itself_can_be_written(ledger: Ledger, folder: SnapshotFolder) -> None:
    """As a server does that ends."""
    index = ForgetIndex(BAG.dimensions)
    follower = IndexFollower(ledger, index, BAG)
    for number in range(3):
        ledger.add_entries([stored(entry(f"e{number}", number))], BAG.name, actor="a")
        follower.catch_up()
    with folder.writing():
        save(folder, ledger, MADE_OF, index)
    same_as_built(begun(folder, ledger)[0], ledger)


def order(ledger_path: Path, folder: SnapshotFolder) -> bytes:
    return Order(str(folder.path), str(ledger_path), None, BAG.name, BAG.dimensions, None).written()


LITTLE_ROOM = """
import resource, signal, sys
from indexes.snapshots.making import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # no file may grow beyond: as on a disk that is full
sys.exit(main())
"""


@contextmanager
def making(work: bytes, *how: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, *(how or ("-m", "indexes.snapshots.making"))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdin is not None
        child.stdin.write(work)
        child.stdin.close()
        yield child


def filled(ledger: Ledger, first: int, count: int) -> None:
    new = [
        NewEntry(
            replace(entry(f"f{n:05}", n), texts=(f"Where does Ann Number{n} live?",)),
            BAG.embed([f"Where does Ann Number{n} live?"]),
        )
        for n in range(first, first + count)
    ]
    ledger.add_entries(new, BAG.name, actor="a")


def test_a_process_that_is_killed_leaves_the_old_one_or_the_new_one(
    tmp_path: Path, ledger: Ledger, folder: SnapshotFolder
) -> None:
    chance = np.random.default_rng(20260506)
    filled(ledger, 0, 400)
    make(folder, ledger, MADE_OF, None)
    for round_ in range(3):
        filled(ledger, 400 * (round_ + 1), 400)
        with making(order(tmp_path / "ledger.db", folder)) as child:
            known = set(folder.path.iterdir())
            while child.poll() is None and set(folder.path.iterdir()) == known:
                time.sleep(0.001)  # until it writes
            time.sleep(float(chance.uniform(0, 0.02)))
            child.kill()
        index, refused = begun(folder, ledger)
        assert refused == []
        same_as_built(index, ledger)
    with making(order(tmp_path / "ledger.db", folder)) as child:
        assert child.stdout is not None
        told = json.loads(child.stdout.read())
    assert (child.returncode, told["generation"]) == (0, ledger.generation())
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".unfinished")] == []
    index, _ = begun(folder, ledger)
    assert index is not None
    assert index.began == ledger.generation()


def test_a_disk_that_is_full_leaves_the_old_one(tmp_path: Path, ledger: Ledger, folder: SnapshotFolder) -> None:
    filled(ledger, 0, 100)
    before, _ = make(folder, ledger, MADE_OF, None)
    filled(ledger, 100, 300)

    with making(order(tmp_path / "ledger.db", folder), "-c", LITTLE_ROOM) as child:
        assert child.stdout is not None
        told = json.loads(child.stdout.read())
    assert child.returncode == REFUSED
    assert told == {"refused": "OSError"}
    assert folder.newest_first() == [before]
    assert list(folder.path.glob(".unfinished*")) == []
    same_as_built(begun(folder, ledger)[0], ledger)
