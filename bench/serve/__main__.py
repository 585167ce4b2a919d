"""`python -m bench.serve`: measures a running system (`lethe up`), prints figures, or JSON with `--json -`."""

import argparse
import asyncio
import os
from pathlib import Path

from bench.serve.measure import QUICK, WHOLE, NotMeasurable, measured
from bench.stats import emit


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under a minute")
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE, or '-' for standard output")
    parser.add_argument("--proxy", default="http://127.0.0.1:8080")
    parser.add_argument("--admin", default="http://127.0.0.1:8081")
    parser.add_argument("--engine", default="http://127.0.0.1:8000")
    state = Path(os.environ.get("LETHE_STATE", ".lethe"))
    parser.add_argument("--state", type=Path, default=state, help="state directory of `lethe up` (or LETHE_STATE)")
    given = parser.parse_args()
    key = os.environ.get("LETHE_ADMIN_KEY")
    if not key:
        parser.error("set LETHE_ADMIN_KEY to the admin key of the running system")
    kept = given.state / "engine.key"
    engine_key = kept.read_text("ascii") if kept.exists() else ""
    rounds = QUICK if given.quick else WHOLE
    try:
        figures = asyncio.run(measured(given.proxy, given.admin, given.engine, key, engine_key, rounds))
    except NotMeasurable as error:
        parser.exit(1, f"error: {error}\n")
    emit(figures, given.json)


if __name__ == "__main__":
    main()
