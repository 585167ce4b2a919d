"""`python -m bench.bulk`: a bulk import through the command line and a real server, beside the bare embedder.

In turn: the embedder alone, an import, the embedder, an import, and so on, each of the same number of rows. An import
is timed as an operator sees it, from the start of the command to its end: checking, transport, embedding, durable
commits and the index. Importing each file once more shows what recognising duplicates costs.
"""

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from bench.stats import emit, median
from indexes.embedder import OnnxEmbedder
from indexes.windows import windows_of
from proxy.config import load

START_S = 120.0
_COMMAND = (sys.executable, "-c", "from proxy.cli.main import main; main()")
_WORDS = (
    "harbour tower clock painter garden valley engine letter museum winter library bridge orchard station captain "
    "festival mountain language history machine island village theatre kingdom forest journey silver copper teacher"
).split()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bulk", description=__doc__)
    parser.add_argument("--rows", type=int, default=3000, metavar="N", help="entries of one import")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="imports, each of rows of its own")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of the embedder, here and in the server")
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE, or '-' for standard output")
    arguments = parser.parse_args()
    emit(measured(arguments.rows, arguments.rounds, arguments.threads), arguments.json)


def measured(rows: int, rounds: int, threads: int) -> dict[str, Any]:
    """Rows per second: of the bare embedder, of imports, and of imports of what is there."""
    embedder = OnnxEmbedder(load(None).embedder_path, threads=threads)
    bare, imported, again = [], [], []
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder), threads) as env:
        for number in range(rounds):
            questions = _questions(rows, seed=number)
            bare.append(_rate(embedder, questions))
            file = Path(folder, f"{number}.jsonl")
            file.write_text(
                "".join(json.dumps({"question": q, "answer": f"It was {q[-24:-1]}"}) + "\n" for q in questions)
            )
            imported.append(_imported(file, rows, env))
            again.append(_imported(file, rows, env))
        bare.append(_rate(embedder, _questions(rows, seed=rounds)))
    beside = [(one + other) / 2 for one, other in pairwise(bare)]
    ratios = [import_ / floor for import_, floor in zip(imported, beside, strict=True)]
    return {
        "rows": rows,
        "embedder_rows_s": median(bare),
        "import_rows_s": median(imported),
        "import_over_embedder": median(ratios),
        "there_already_rows_s": median(again),
    }


def _questions(rows: int, seed: int) -> list[str]:
    """Questions of 8 to 24 words, all different, each of one window or a few, as rows of questions are."""
    draw = Random(seed)
    made = []
    for number in range(rows):
        words = " ".join(draw.choice(_WORDS) for _ in range(draw.randint(4, 9)))
        name = f"{draw.choice(_WORDS).title()} {draw.choice(_WORDS).title()}son"
        made.append(f"In which year did {name} write about the {words} of {seed}.{number}?")
    return made


def _rate(embedder: OnnxEmbedder, questions: Sequence[str]) -> float:
    """Rows per second: each row is embedded by its windows, as an entry is, all rows in one call."""
    texts = [window.text for question in questions for window in windows_of(question)]
    started = time.perf_counter()
    embedder.embed(texts)
    return len(questions) / (time.perf_counter() - started)


def _imported(file: Path, rows: int, env: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [*_COMMAND, "forget", "import", "--json", str(file)], env=env, capture_output=True, check=True
    )
    seconds = time.perf_counter() - started
    told = json.loads(done.stdout)
    if told["added"] + told["there_already"] != rows:
        raise RuntimeError(f"{told['added']} of {rows} rows were imported")
    return rows / seconds


@contextmanager
def _serving(folder: Path, threads: int) -> Iterator[dict[str, str]]:
    """`lethe serve` without an engine; the environment in which commands reach it."""
    env = {**os.environ, "LETHE_ADMIN_KEY": secrets.token_hex(16), "LETHE_STATE": str(folder)}
    env |= {"LETHE_EMBEDDER__THREADS": str(threads)}
    command = [*_COMMAND, "serve", "--upstream", "http://127.0.0.1:1", "--port", "0", "--admin-port", "0"]
    output = folder / "serve.out"
    with output.open("wb") as out, subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + START_S
            while not (found := re.search(r"admin: +(http://\S+):(\d+)", output.read_text())):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the server did not start")
                time.sleep(0.05)
            yield {**env, "LETHE_ADMIN_URL": f"{found[1]}:{found[2]}"}
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
