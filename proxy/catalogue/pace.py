"""How far the embedding of a whole ledger has come, and how long the rest will take."""

import time
from collections.abc import Callable


class Pace:
    """Told by `IndexFollower.build`; read from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.read = self.total = self.embedded = 0

    def tell(self, read: int, total: int, embedded: int) -> None:
        """So many entries were read, of so many, of which so many had to be embedded."""
        self.read, self.total, self.embedded = read, total, embedded

    @property
    def rate(self) -> float:
        """Entries read per second."""
        return self.read / max(1e-9, self._clock() - self._began)

    @property
    def left_s(self) -> float | None:
        """Seconds until all are read; None while nobody can tell."""
        return (self.total - self.read) / self.rate if self.read else None
