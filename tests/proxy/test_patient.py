"""An embedder that gives way embeds the same, slice by slice, and stops between two slices."""

from collections.abc import Sequence
from threading import Event

import numpy as np
import pytest

from indexes.vectors import Vectors
from proxy.catalogue.patient import SLICE, Patient, Stopped
from tests.fakes.embedder import BagEmbedder

TEXTS = [f"{'word ' * (place * 7 % 13)}number {place}" for place in range(3 * SLICE - 1)]


class Counted(BagEmbedder):
    """Notes how many texts it was given at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.slices: list[int] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.slices.append(len(texts))
        return super().embed(texts)


@pytest.mark.parametrize("busy", [False, True])
def test_vectors_are_those_of_the_texts_however_busy_it_is(busy: bool) -> None:
    inner = Counted()
    made = Patient(inner, lambda: busy, Event()).embed(TEXTS)
    assert inner.slices == [SLICE, SLICE, SLICE - 1]
    assert np.array_equal(made, BagEmbedder().embed(TEXTS))


def test_it_looks_for_requests_before_every_slice() -> None:
    inner, looked_at = Counted(), []

    def busy() -> bool:
        looked_at.append(len(inner.slices))
        return False

    Patient(inner, busy, Event()).embed(TEXTS)
    assert looked_at == [0, 1, 2]


def test_it_stops_between_two_slices() -> None:
    stop, inner = Event(), Counted()

    def busy() -> bool:
        if len(inner.slices) == 1:
            stop.set()
        return False

    with pytest.raises(Stopped):
        Patient(inner, busy, stop).embed(TEXTS)
    assert inner.slices == [SLICE]
