"""The benchmark of the filters measures what it says: nothing here judges how fast they are."""

import json
from pathlib import Path

from bench.filters.__main__ import SIZES, measured
from bench.stats import emit


def test_figures_of_one_round(tmp_path: Path) -> None:
    figures = measured(1)
    assert figures["chunks"] > 1000
    for way in ("filter_elsewhere", "filter", "json_filter", "guarded"):
        assert all(figures[f"{way}_us_per_chunk_{size}"] > 0 for size in SIZES)
        assert figures[f"{way}_growth_1_to_10000"] > 0
    emit(figures, str(tmp_path / "figures.json"))
    assert json.loads((tmp_path / "figures.json").read_bytes()) == figures
