"""Segments: near rows are found, files are whole or refused, and joining blocks is not noticed by readers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from indexes import growing
from indexes.growing import GrowingVectors
from indexes.mapped import PAGE
from indexes.segments import FEWEST, Segment, SegmentError
from indexes.vectors import ExactRows, Vectors, VectorView

DIMENSIONS = 32
ROUNDED = 4e-3  # half of the 127th part of a row's largest number, which is at most 1


def unit(rows: Vectors) -> Vectors:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def subjects(count: int, seed: int = 5) -> Vectors:
    """Rows in groups of ten that are near each other, as questions about one subject are."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((count // 10, DIMENSIONS)))
    spread = unit(rng.standard_normal((count, DIMENSIONS)))
    return unit(np.repeat(centres, 10, axis=0) * 0.9 + spread * 0.4).astype(np.float32)


def segment_of(rows: Vectors) -> Segment:
    return Segment.of([(ExactRows(rows).rows, len(rows))], len(rows), rows.shape[1])


ROWS = subjects(4000)
QUERIES = unit(ROWS[::50] + 0.3 * unit(np.random.default_rng(9).standard_normal((80, DIMENSIONS)))).astype(np.float32)


def test_rows_that_are_near_are_found_with_their_similarity() -> None:
    segment, exact = segment_of(ROWS), ExactRows(ROWS)
    scores, found = segment.search(QUERIES, 10)
    true_scores, true_found = exact.search(QUERIES, 10)
    wanted = [set(rows[row_scores >= 0.75].tolist()) for row_scores, rows in zip(true_scores, true_found, strict=True)]
    hits = sum(len(rows & set(one.tolist())) for rows, one in zip(wanted, found, strict=True))
    assert hits >= 0.98 * sum(map(len, wanted)) > 0
    np.testing.assert_allclose(scores[0], QUERIES[0] @ ROWS[found[0]].T, atol=ROUNDED)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_it_keeps_its_rows() -> None:
    segment = segment_of(ROWS[:500])
    assert len(segment) == 500
    np.testing.assert_allclose(segment.vectors(), ROWS[:500], atol=ROUNDED)
    np.testing.assert_allclose(segment.rows(np.array([7, 3])), ROWS[[7, 3]], atol=ROUNDED)
    near = VectorView((segment,), ExactRows(ROWS[:0])).near(ROWS[20:22], 0.99)
    assert {20, 21} <= set(near.tolist())


@pytest.mark.parametrize("count", [FEWEST, 40])
def test_few_rows_are_all_found(count: int) -> None:
    scores, found = segment_of(ROWS[:count]).search(QUERIES[:2], 64)
    assert [sorted(row[row >= 0].tolist()) for row in found] == [list(range(count))] * 2
    assert (scores[:, count:] == -1).all()


# -- files


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    segment = segment_of(ROWS[:1000])
    segment.save(tmp_path / "s")
    opened = Segment.open(tmp_path / "s")
    for one, other in zip(segment.search(QUERIES, 5), opened.search(QUERIES, 5), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("place", [0, 20, PAGE, PAGE + 5000, -1, -200])
def test_one_wrong_byte_is_seen(tmp_path: Path, place: int) -> None:
    path = tmp_path / "s"
    segment_of(ROWS[:200]).save(path)
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0x40
    path.write_bytes(raw)
    with pytest.raises(SegmentError):
        Segment.open(path)


@pytest.mark.parametrize("length", [0, 10, PAGE, PAGE + 100, -1])
def test_a_file_that_was_cut_off_is_seen(tmp_path: Path, length: int) -> None:
    path = tmp_path / "s"
    segment_of(ROWS[:200]).save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SegmentError):
        Segment.open(path)


def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SegmentError, match="gone"):
        Segment.open(tmp_path / "gone")


SAVING = """
import sys
from pathlib import Path
from tests.indexes.test_segments import ROWS, segment_of
segments = [segment_of(ROWS[:count]) for count in (500, 900)]
print("ready", flush=True)
while True:
    for segment in segments:
        segment.save(Path(sys.argv[1]))
"""


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, root = tmp_path / "s", Path(__file__).parents[2]
    rng = np.random.default_rng(1)
    segment_of(ROWS[:500]).save(path)
    writer = None
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", SAVING, str(path)],
            cwd=root,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": "."},
        )
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(float(rng.uniform(0.0, 0.05)))
            writer.send_signal(signal.SIGKILL)
        assert len(Segment.open(path)) in (500, 900)


# -- while rows are added


def test_joining_blocks_changes_no_answer() -> None:
    vectors = GrowingVectors(DIMENSIONS, bulk_at=100, segment_at=1000)
    views = []
    for first in range(0, 4000, 50):
        vectors.add(ROWS[first : first + 50])
        views.append((vectors.view(), first + 50))
    vectors.settle()
    assert any(isinstance(block, Segment) for block in vectors._blocks)
    for view, count in [*views[::7], (vectors.view(), 4000)]:
        assert len(view) == count
        scores, rows = view.search(ROWS[:count:97], 1)
        np.testing.assert_allclose(scores[:, 0], 1, atol=ROUNDED)
        assert (np.abs(ROWS[rows[:, 0]] - ROWS[:count:97]) < ROUNDED).all()
        np.testing.assert_allclose(view.rows(np.array([0, count - 1])), ROWS[[0, count - 1]], atol=ROUNDED)
        assert count - 1 in view.near(ROWS[count - 1 : count], 0.99)


def test_the_view_in_force_lets_go_of_blocks_that_were_joined() -> None:
    vectors = GrowingVectors(DIMENSIONS, bulk_at=100, segment_at=1000)
    for first in range(0, 1500, 50):
        vectors.add(ROWS[first : first + 50])
    view = vectors.view()
    vectors.settle()
    parts = [part for _, part in view._held.parts]
    assert isinstance(parts[0], Segment)
    assert len(view) == 1500


@pytest.mark.parametrize(("count", "exact"), [(950, False), (450, False), (60, True), (0, False)])
def test_what_is_kept_is_gathered_in_segments_unless_it_is_little(
    count: int, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "GATHERED", 70)
    vectors = GrowingVectors(DIMENSIONS, bulk_at=100, segment_at=400)
    for first in range(0, count, 10):
        vectors.add(ROWS[first : first + 10])
    before = vectors.view()
    vectors.gather()
    after = vectors.view()
    assert len(before) == len(after) == count
    rest = sum(len(block) for block in after.blocks() if not isinstance(block, Segment))
    assert rest == 60 if exact else rest < 70
    for view in (before, after):
        if count:
            np.testing.assert_allclose(view.rows(np.arange(count)), ROWS[:count], atol=ROUNDED)
    vectors.add(ROWS[:10])
    assert len(vectors.view()) == count + 10
