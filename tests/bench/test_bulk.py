"""The benchmark of imports measures what it says: nothing here judges how fast they are."""

from pathlib import Path

from bench.bulk import measured


def test_an_import_is_measured_beside_the_bare_embedder(prepared_cache: Path) -> None:
    del prepared_cache
    figures = measured(rows=40, rounds=1, threads=1)
    assert figures["rows"] == 40
    assert all(value > 0 for value in figures.values())
