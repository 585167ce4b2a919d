"""Tables in arrays give back what was put in, and are the same in every process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indexes.columns import Appended, Blobs, Found, Keys, Lists, hashed, mixed, part, text_of, texts_of, under

# Near each other in their first bits, in their last bits, and at both ends.
numbers = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(0, 40), st.integers(2**64 - 40, 2**64 - 1), st.integers(2**40, 2**40 + 40)
)


@given(st.lists(numbers, max_size=80), numbers)
@example([0, 2**64 - 1], 2**63)
def test_keys_are_a_set(drawn: list[int], other: int) -> None:
    keys = Keys.of(np.array(drawn, np.uint64))
    for made in (keys, Keys(keys.columns())):
        assert made.numbers().tolist() == sorted(set(drawn))
        assert [made.place(number) for number in sorted(set(drawn))] == list(range(len(set(drawn))))
        assert (other in made) is (other in drawn)


def test_a_million_keys() -> None:
    drawn = np.random.default_rng(3).integers(0, 2**64, 1_000_000, np.uint64)
    keys = Keys.of(drawn)
    assert all(number in keys for number in drawn[:1000].tolist())
    assert not any(number ^ 1 in keys for number in drawn[:1000].tolist())
    assert sum(array.nbytes for array in keys.columns().values()) < 11 * len(drawn)


@given(st.lists(st.tuples(numbers, st.integers(0, 5)), max_size=40), st.integers(0, 40))
def test_what_was_said_of_a_number_is_found_in_order(drawn: list[tuple[int, int]], cut: int) -> None:
    found = Found.of_pairs(drawn[:cut]).and_then(Found.of_pairs(drawn[cut:]))
    for made in (found, Found(found.columns())):
        for key in {key for key, _ in drawn} | {7}:
            assert list(made.get(key)) == [value for other, value in drawn if other == key]
            assert (key in made) is any(other == key for other, _ in drawn)


@given(st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=4), max_size=10))
def test_lists_by_their_place(drawn: list[list[int]]) -> None:
    lists = Lists.of([len(some) for some in drawn], [number for some in drawn for number in some])
    assert [list(lists[place]) for place in range(len(lists))] == drawn


@given(st.lists(st.text(max_size=5), max_size=9), st.integers(0, 9))
def test_texts_by_their_place(drawn: list[str], cut: int) -> None:
    blobs = texts_of(drawn[:cut]).and_then(texts_of(drawn[cut:]))
    assert [text_of(blob) for blob in Blobs(blobs.columns())] == drawn


@given(st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=90), max_size=6))
def test_what_was_appended_stays_for_who_holds_it(drawn: list[list[int]]) -> None:
    numbers, every, held = Appended(np.uint32), list[int](), []
    for some in drawn:
        numbers.extend(some)
        every += some
        assert [numbers[place] for place in range(len(numbers))] == every
        held.append((numbers.first(len(every)), list(every)))
    assert all(array.tolist() == before for array, before in held)


def test_parts_are_told_apart_by_their_names() -> None:
    one, other = {"a": np.arange(2)}, {"a": np.arange(3), "b/c": np.arange(1)}
    both = under("x", one) | under("xy", other)
    assert part("x", both).keys() == {"a"}
    assert part("xy", both).keys() == {"a", "b/c"}


@pytest.mark.parametrize("seed", ["0", "77"])
def test_numbers_of_words_are_the_same_in_every_process(seed: str) -> None:
    said = "from indexes.columns import hashed, mixed; print(mixed(hashed('brass'), hashed('名')))"
    done = subprocess.run(
        [sys.executable, "-c", said],
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=True,
    )
    assert int(done.stdout) == mixed(hashed("brass"), hashed("名"))
