"""What an entry costs in memory beside its vectors: its slot, its name, the phrases of its answer, its details."""

import tracemalloc

import numpy as np

from bench.index.gate import named
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex


def tables(entries: int) -> dict[str, float]:
    """Bytes for each entry with a name of its own and an answer of eleven words, vectors left out."""
    index = ForgetIndex(1)
    index.put_set(ForgetSet("bench"), None, 1)
    row = np.ones((1, 1), np.float32)
    tracemalloc.start()
    for number in range(entries):
        question = f"In which year did {named(number)} reach the glacier?"
        answer = f"It was {named(number + 500_000)} who told of it first, in {1000 + number % 900}."
        index.put_entry(Entry(f"e{number}", "bench", Kind.FACT, texts=(question,), answers=(answer,)), row, 1)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"table_bytes_per_entry": held / entries, "table_entries": entries}
