"""An embedder that lets requests go first: what a change of embedder embeds a whole ledger with."""

import time
from collections.abc import Callable, Sequence
from threading import Event

import numpy as np

from indexes.embedder import Embedder
from indexes.vectors import Vectors

SLICE = 8  # texts that are embedded without looking up: what a request may have to wait for, some 30 ms
GIVE_WAY_S = 0.05  # the longest wait for requests before the next slice: it must come to an end under any load


class Stopped(Exception):
    """The server ends, or something else was chosen."""


class Patient:
    """Embeds a few texts at a time and waits while requests need the processor. Raises Stopped once it is to stop."""

    def __init__(self, embedder: Embedder, busy: Callable[[], bool], stop: Event) -> None:
        """`busy` tells whether a request waits for the embedder in force."""
        self._embedder = embedder
        self._busy = busy
        self._stop = stop
        self.name, self.dimensions = embedder.name, embedder.dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # those of a slice share little padding
        made = np.empty((len(texts), self.dimensions), np.float32)
        for first in range(0, len(order), SLICE):
            self._give_way()
            some = order[first : first + SLICE]
            made[some] = self._embedder.embed([texts[place] for place in some])
        return made

    def _give_way(self) -> None:
        until = time.monotonic() + GIVE_WAY_S
        while not self._stop.is_set() and self._busy() and time.monotonic() < until:
            time.sleep(0.002)
        if self._stop.is_set():
            raise Stopped
