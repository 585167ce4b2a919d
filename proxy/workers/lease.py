"""How long a process may serve without having heard from the ledger that it shares with others.

Others count on it: whoever waits until an entry is enforced everywhere waits for every process whose lease may still
run. So a process stops *before* the others may take it for gone: its own clock starts when it asks the ledger, theirs
when the ledger has heard it.
"""

import time


class Lease:
    """Runs out on its own, without anybody looking: also after the process was stopped and woken again."""

    def __init__(self, seconds: float | None = None) -> None:
        """None: nobody else writes, so there is nothing to miss."""
        self.seconds = seconds
        self._until = float("inf") if seconds is None else 0.0

    def renew(self, asked_at: float) -> None:
        """The ledger answered a question asked at that moment (`time.monotonic`), and everything it said is applied."""
        if self.seconds is not None:
            self._until = asked_at + self.seconds

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self._until
