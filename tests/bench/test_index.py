"""The benchmark of the index measures what it says: nothing here judges how fast it is."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.index import beside as beside_module
from bench.index import gate as gate_module
from bench.index import hot_add as hot_add_module
from bench.index import search as search_module
from bench.index.gate import gate, named
from bench.index.hot_add import hot_add
from bench.index.plot import draw
from bench.index.rows import WORDED, SyntheticRows
from bench.index.search import search_at
from bench.index.tables import tables
from bench.index.whole import whole_at
from tests.fakes.embedder import BagEmbedder


def test_synthetic_rows_are_the_same_however_they_are_taken() -> None:
    made = SyntheticRows(32)
    numbers = np.array([0, 1, 4095, 4096, 9000])
    rows = made.take(numbers)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    for number, row in zip(numbers, rows, strict=True):
        np.testing.assert_array_equal(made.take(np.array([number]))[0], row)


def test_synthetic_rows_are_near_as_they_should_be() -> None:
    made = SyntheticRows(384)
    rows = made.take(np.arange(600))
    similar = rows @ rows.T
    wordings = np.mean([similar[i, i + 1] for i in range(0, 600, 3)])
    subject = np.mean([similar[i, i + 3] for i in range(0, 54, 3)])
    assert wordings == pytest.approx(WORDED**2, abs=0.03)
    assert subject == pytest.approx(0.47, abs=0.06)
    assert abs(np.mean(similar[0, 100:])) < 0.05
    assert np.mean(np.sum(made.queries(np.arange(0, 600, 3)) * rows[::3], axis=1)) == pytest.approx(0.81, abs=0.03)


@pytest.mark.parametrize("segment_from", [10, 10_000])
def test_search_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, segment_from: int) -> None:
    monkeypatch.setattr(search_module, "SEGMENT_ROWS", segment_from)
    search_module._build(tmp_path, 300, 20)
    figures = search_module._open(tmp_path, 300)
    assert figures["pairs"] >= 30
    assert figures["recall"] > 0.9
    assert 0 < figures["search_p50_ms"] <= figures["search_p99_ms"]
    assert ("build_s" in json.loads((tmp_path / "build.json").read_bytes())) is (segment_from == 10)


def test_a_size_is_measured_in_a_process_of_its_own() -> None:
    assert search_at(50, 5)["rows"] == 50


def test_gate_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "ENTRIES", 60)
    monkeypatch.setattr(gate_module, "TEXTS", 20)
    figures = gate(BagEmbedder(), 1)
    assert all(figures[f"{name}gate_of_floor"] > 1 for name in ("", "near_"))


def test_hot_add_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_add_module, "HELD", 50)
    monkeypatch.setattr(hot_add_module, "TURN_S", 0.1)
    monkeypatch.setattr(hot_add_module, "ADDS_A_TURN", 10)
    figures = hot_add(20)  # two turns
    assert figures["adds"] == 20
    assert figures["adds_proved"] == 2
    assert figures["add_missed"] == 0
    assert figures["lookup_busy_p50_ms"] > 0
    assert figures["lookup_p99_of_quiet_low"] <= figures["lookup_p99_of_quiet_high"]


def test_tables_cost_something() -> None:
    assert tables(50)["table_bytes_per_entry"] > 100


def test_names_are_of_their_own() -> None:
    assert len({named(number) for number in range(5000)}) == 5000


def test_a_drawing_holds_its_lines(tmp_path: Path) -> None:
    draw(tmp_path / "g.svg", "One search", "ms", {"p50": [(1e3, 0.1), (1e6, 3)], "p99": [(1e3, 1), (1e6, 40)]})
    drawn = ElementTree.parse(tmp_path / "g.svg")  # noqa: S314 - written above
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2


def test_the_whole_index_is_built_on_top_of_the_snapshot_before(tmp_path: Path) -> None:
    few, more = whole_at([40, 90], 4, tmp_path)
    assert (few["entries"], more["entries"]) == (40, 90)
    assert more["names_missed"] == 0
    assert all(value > 0 for name, value in more.items() if not name.startswith(("memory", "names_missed")))
    assert [again["entries"] for again in whole_at([40, 90], 2, tmp_path)] == [90]


def test_lookups_go_on_beside_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_module, "BATCH", 50)
    monkeypatch.setattr(beside_module, "QUIET_S", 0.1)
    figures = beside_module.beside_snapshots(100)
    assert figures["snapshot_of_entries"] == 100
    assert all(figures[f"snapshot_{name}_lookup_p99_ms"] > 0 for name in ("quiet", "making", "over"))
