"""How often and how soon a dead engine is started again. Pure: the caller brings the time."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """At most `max_restarts` within `window_s`; the pause before each doubles from `first_delay_s` to `max_delay_s`.

    Five in ten minutes: an engine that dies once a day is kept up for ever, one that dies of each request is given up
    in a few minutes instead of being restarted against the same wall.
    """

    max_restarts: int = 5
    window_s: float = 600.0
    first_delay_s: float = 1.0
    max_delay_s: float = 30.0


class RestartBudget:
    """The restarts of one engine so far."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._recent: deque[float] = deque()
        self.total = 0

    def next_delay(self, now: float) -> float | None:
        """Seconds to wait before the next start after a death at `now` (monotonic); None: give up."""
        policy = self._policy
        while self._recent and now - self._recent[0] > policy.window_s:
            self._recent.popleft()
        if len(self._recent) >= policy.max_restarts:
            return None
        delay = min(policy.max_delay_s, policy.first_delay_s * 2.0 ** len(self._recent))
        self._recent.append(now)
        self.total += 1
        return delay
