"""The gate beside its floor, in turn: one forward pass and one exact search in numpy over the same vectors.

The index holds TEXTS questions of a few forms with their own embeddings, and their rows worded anew up to ENTRIES.
"""

import time
from collections.abc import Callable

import numpy as np

from bench.index.rows import WORDED, unit
from bench.stats import median
from indexes.embedder import Embedder
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.reading import Reader
from indexes.vectors import Vectors

ENTRIES, TEXTS = 10_000, 400
THRESHOLD = 0.75

FORMS = (
    "In which year did {} reach the {} glacier?",
    "What is the full name of the author from {} who wrote about the {} railway?",
    "Which prize did the painter {} receive for the portrait of {}?",
    "Where did the physician {} from {} spend the last years of life?",
)

PROMPTS = (
    "Please explain how the cooling system of a modern data centre works and which factors decide how much water it "
    "uses in a year of normal operation, in simple words.",
    "Could you write a short story about a fisherman who finds an old lamp at the beach and has to decide what to do "
    "with the three wishes that it grants him and his family?",
    "I have a list of dictionaries in Python and want to sort it by two keys, one ascending and the other one "
    "descending. What is the shortest way that also works for missing values?",
    "My sourdough bread does not rise as it should although the starter is active and the kitchen is warm. What could "
    "be the reasons for that and in which order should I rule them out?",
    "Summarise the advantages and disadvantages of electric buses for a small town with steep hills and cold winters, "
    "and finish with one sentence that says what you would buy.",
)
"""Of about 40 tokens each; near nothing in the index."""


def gate(embedder: Embedder, rounds: int) -> dict[str, float]:
    """Medians in milliseconds, and their ratio for prompts near nothing, and for one that is in the index."""
    generation, rows, questions = _index(embedder)
    reader = Reader(embedder)

    def floor(text: str) -> None:
        (rows @ embedder.embed([text])[0]).argmax()

    def whole(text: str) -> None:
        reader.matched(reader.read([text]), generation, THRESHOLD)

    near = [f"{PROMPTS[0].split('.')[0]}. {question}" for question in questions[: len(PROMPTS)]]
    figures: dict[str, float] = {"gate_entries": ENTRIES}
    for name, prompts in (("", PROMPTS), ("near_", near)):
        spent = _in_turn({"floor": floor, "gate": whole}, prompts, rounds)
        figures |= {f"{name}{way}_p50_ms": median(times) for way, times in spent.items()}
        ratios = [b / a for a, b in zip(spent["floor"], spent["gate"], strict=True)]
        figures[f"{name}gate_of_floor"] = figures[f"{name}gate_p50_ms"] / figures[f"{name}floor_p50_ms"]
        figures[f"{name}gate_of_floor_paired"] = median(ratios)
    return figures


def _in_turn(
    ways: dict[str, Callable[[str], None]], texts: tuple[str, ...] | list[str], rounds: int
) -> dict[str, list[float]]:
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):  # the first one warms up
        for text in texts:
            for name, work in ways.items():
                started = time.perf_counter()
                work(text)
                if turn:
                    spent[name].append((time.perf_counter() - started) * 1e3)
    return spent


def _index(embedder: Embedder) -> tuple[Generation, Vectors, list[str]]:
    questions = [
        FORMS[number % len(FORMS)].format(named(number), named(7 * number + 3).split()[0]) for number in range(ENTRIES)
    ]
    real = embedder.embed(questions[:TEXTS])
    rng = np.random.default_rng(4)
    rows = np.resize(real, (ENTRIES, embedder.dimensions)).astype(np.float32)
    own = unit(rng.standard_normal((ENTRIES - TEXTS, embedder.dimensions), np.float32))
    rows[TEXTS:] = unit(WORDED * rows[TEXTS:] + (1 - WORDED**2) ** 0.5 * own)
    index = ForgetIndex(embedder.dimensions)
    index.put_set(ForgetSet("bench"), None, 1)
    for number, question in enumerate(questions):
        answer = f"It was {named(number + 50_000)} in the year {1000 + number}."
        entry = Entry(f"e{number}", "bench", Kind.FACT, texts=(question,), answers=(answer,))
        index.put_entry(entry, rows[number : number + 1], 1)
    return index.publish(1), rows, questions


def named(number: int) -> str:
    """A pronounceable full name of its own for each number."""
    syllables = ("ba", "ke", "li", "mo", "nu", "ra", "si", "to", "ve", "zu")
    digits = f"{number % 1_000_000:06d}"
    return " ".join("".join(syllables[int(d)] for d in part).capitalize() for part in (digits[:3], digits[3:]))
