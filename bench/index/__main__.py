"""`python -m bench.index`: the forget index beside its floor, at growing sizes, and while entries are added."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Read by numpy when it is first imported: every figure is one of a single core.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from bench.index.beside import beside_snapshots
from bench.index.gate import gate
from bench.index.hot_add import hot_add
from bench.index.plot import draw
from bench.index.search import search_at
from bench.index.tables import tables
from bench.index.whole import whole_at
from bench.stats import emit
from indexes.embedder import OnnxEmbedder
from proxy.config import load

SIZES = (1_000, 10_000, 100_000, 1_000_000)
TITLE = "Processor time of one search, and of a lookup in the whole index, by entries"
Rows = Sequence[Mapping[str, float]]
QUICKLY_BUILT = 10_000  # entries whose names and phrases are made in some seconds; a million take some minutes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.index", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: some minutes, most of them a million rows")
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE, or '-' for standard output")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the growth as an SVG file")
    parser.add_argument("--largest", type=int, default=SIZES[-1], metavar="N", help="leave larger sizes out")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of the embedder, as the server has them")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="leave the built index there, and go on with it")
    arguments = parser.parse_args()
    sizes = [size for size in SIZES if size <= arguments.largest]
    figures = measured(sizes, arguments.threads, arguments.keep, quick=arguments.quick)
    if arguments.plot:
        draw(arguments.plot, TITLE, "ms", drawn(figures["growth"], figures["whole"]))
    emit(figures, arguments.json)


def drawn(growth: Rows, whole: Rows) -> dict[str, list[tuple[float, float]]]:
    """What is drawn of searches and of lookups at growing sizes."""
    return {
        "search, p50": [(row["rows"], row["search_cpu_p50_ms"]) for row in growth],
        "search, p99": [(row["rows"], row["search_cpu_p99_ms"]) for row in growth],
        "whole lookup, p50": [(row["entries"], row["lookup_cpu_p50_ms"]) for row in whole],
        "whole lookup, p99": [(row["entries"], row["lookup_cpu_p99_ms"]) for row in whole],
    }


def measured(sizes: list[int], threads: int, kept: Path | None = None, *, quick: bool) -> dict[str, Any]:
    """All figures. In the folder `kept` the whole index stays, for the next run to begin with."""
    embedder = OnnxEmbedder(load(None).embedder_path, threads=threads)
    figures: dict[str, Any] = dict(gate(embedder, 6 if quick else 40))
    figures |= hot_add(1000 if quick else 3000)
    figures |= beside_snapshots(3_000 if quick else 20_000)
    figures |= tables(2_000 if quick else 20_000)
    growth = [search_at(size, 200 if quick else 1000) for size in sizes]
    largest = {f"largest_{name}": value for name, value in growth[-1].items()}
    whole = whole_at([size for size in sizes if not quick or size <= QUICKLY_BUILT], 200 if quick else 1000, kept)
    started = {f"snapshot_{name}": value for name, value in whole[-1].items()} if whole else {}
    return figures | largest | started | {"growth": growth, "whole": whole}


if __name__ == "__main__":
    main()
