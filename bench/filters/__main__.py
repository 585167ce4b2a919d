"""`python -m bench.filters`: microseconds per chunk of a guarded stream at 1, 100 and 10,000 forbidden phrases.

Timed on the same chunks: the phrase filter alone, with phrases of which the answer holds no word (`elsewhere`: what
their number costs) and with phrases made of its words (of 10,000 one begins at nearly every word); the filter behind
JSON strings, as for arguments of tools; and all that is done for an event of a guarded stream (read, filter, write).
The floor beside the last is the least that anything which looks into an event must do: parsing its JSON. Means are
processor time; the 99th percentile of single chunks is wall time.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import orjson

from bench.stats import emit, median, percentile
from guards.stream.json_text import JsonTextFilter
from guards.stream.phrase import Cut, PhraseFilter, Release
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from proxy.dialects.base import Call
from proxy.dialects.chat import Chat
from proxy.guarded import GuardedStream

Chunk = TypeVar("Chunk", str, bytes)

SIZES = (1, 100, 10_000)
CHUNK = 4  # characters: a token of ordinary text
WORDS = 1200  # of one answer
VOCABULARY = 4000

_CALL = Call({}, "m", True, 1, False, (), "q")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.filters", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under half a minute")
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE, or '-' for standard output")
    arguments = parser.parse_args()
    emit(measured(5 if arguments.quick else 40), arguments.json)


def measured(rounds: int) -> dict[str, float]:
    """All figures: medians of processor time over rounds, in which the sizes take turns; 99th percentiles of chunks."""
    rng = random.Random(1)
    words, others = _vocabulary(rng, "acegikmnprtvxz"), _vocabulary(rng, "bdfhjloqsuwy")
    text = " ".join(rng.choices(words, k=WORDS))
    chunks = [text[i : i + CHUNK] for i in range(0, len(text), CHUNK)]
    events = [_event(chunk) for chunk in chunks]
    here = {size: _index(size, words, rng) for size in SIZES}
    elsewhere = {size: _index(size, others, rng) for size in SIZES}
    figures: dict[str, float] = {"chunks": float(len(chunks)), "floor_us_per_chunk": _floor(events, rounds)}
    ways: dict[str, Callable[[Generation], list[float]]] = {
        "filter_elsewhere": lambda g: _times(PhraseFilter(g.phrases, g.forbidden, disguised=True).on_delta, chunks),
        "filter": lambda g: _times(PhraseFilter(g.phrases, g.forbidden, disguised=True).on_delta, chunks),
        "json_filter": lambda g: _times(
            JsonTextFilter(PhraseFilter(g.phrases, g.forbidden, disguised=True)).on_delta, chunks
        ),
        "guarded": lambda g: _times(GuardedStream(Chat(), _CALL, g).feed, events),
    }
    for name, way in ways.items():
        indexes = elsewhere if name == "filter_elsewhere" else here
        means: dict[int, list[float]] = {size: [] for size in SIZES}
        last: dict[int, list[float]] = {}
        for _ in range(rounds):
            for size in SIZES:
                began = time.thread_time()
                last[size] = way(indexes[size])
                means[size].append((time.thread_time() - began) * 1e6 / len(last[size]))
        for size in SIZES:
            figures[f"{name}_us_per_chunk_{size}"] = median(means[size])
            figures[f"{name}_p99_us_{size}"] = percentile(last[size], 99)
        figures[f"{name}_growth_{SIZES[0]}_to_{SIZES[-1]}"] = (
            figures[f"{name}_us_per_chunk_{SIZES[-1]}"] / figures[f"{name}_us_per_chunk_{SIZES[0]}"]
        )
    return figures


def _vocabulary(rng: random.Random, letters: str) -> list[str]:
    """Words of some letters: those of either kind stay among themselves, in rot13 too."""
    return ["".join(rng.choices(letters, k=rng.randrange(2, 9))) for _ in range(VOCABULARY)]


def _times(feed: Callable[[Chunk], object], chunks: Sequence[Chunk]) -> list[float]:
    """Microseconds for each chunk. Nothing may be cut: the rest of the answer would cost nothing."""
    times = []
    for chunk in chunks:
        started = time.perf_counter()
        step = feed(chunk)
        times.append((time.perf_counter() - started) * 1e6)
        assert not isinstance(step, Cut)
    return times


def _floor(events: Sequence[bytes], rounds: int) -> float:
    def parse(event: bytes) -> object:
        return orjson.loads(event.removeprefix(b"data: "))

    means = []
    for _ in range(rounds):
        began = time.thread_time()
        _times(parse, events)
        means.append((time.thread_time() - began) * 1e6 / len(events))
    return median(means)


def _index(size: int, words: Sequence[str], rng: random.Random) -> Generation:
    """Phrases made of the words that answers use, in orders that this answer does not: the walk begins often."""
    index = ForgetIndex(2)
    index.put_set(ForgetSet("s"), None, 1)
    for place in range(size):
        phrase = " ".join(rng.choices(words, k=rng.randrange(3, 7)))
        entry = Entry(f"e{place}", "s", Kind.FACT, texts=("q",), answers=(f"{phrase} xq{place}",))
        index.put_entry(entry, np.zeros((1, 2), np.float32), 1)
    index.publish(1)
    found = index.current
    assert isinstance(PhraseFilter(found.phrases, found.forbidden).on_delta("a "), Release)
    return found


def _event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    head = {"id": "chatcmpl-973eaa5bfaf0e404", "object": "chat.completion.chunk", "created": 1795227327, "model": "m"}
    return b"data: " + orjson.dumps({**head, "choices": [choice]})


if __name__ == "__main__":
    main()
