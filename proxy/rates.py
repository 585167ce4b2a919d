"""How much each key may ask: requests and tokens a minute, and answers under way at once.

Allowances fill up evenly, a minute's worth at the most: who was silent for a minute may ask a minute's worth at once.
A request is paid for when it comes, tokens of an answer when it ends, so one long answer may take the allowance below
nothing, and the key waits longer for the next. Each process counts for itself: what must be agreed with others before
every request would cost more than it saves.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from proxy.config import Limits
from proxy.errors import RateLimited
from proxy.keys import Caller
from proxy.metrics import Metrics

MINUTE_S = 60.0
ROUNDING = 1e-9  # of sums of times
SLOT_S = 1  # after which to ask again for a place among the answers under way: nobody knows when one ends

Clock = Callable[[], float]
Headers = dict[str, str]


class Asking(Protocol):
    """A request that was let in."""

    headers: Headers
    """What the key has left, for the reply."""
    tokens: int
    """Of the answer; set before it ends."""


class Rates:
    """The allowances of all keys in this process. Operators' keys have no limits."""

    def __init__(self, limits: Limits, metrics: Metrics, clock: Clock = time.monotonic) -> None:
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._keys: dict[str, _Key] = {}

    @contextmanager
    def asking(self, caller: Caller) -> Iterator[Asking]:
        """Lets a request of a key in, for as long as it is answered. Raises RateLimited."""
        if caller.may("admin"):
            yield _Asking()
            return
        key = self._keys.get(caller.key_id)
        if key is None:
            key = self._keys[caller.key_id] = _Key(self._limits, self._clock)
        try:
            asking = key.let_in()
        except RateLimited as refused:
            self._metrics.limited.labels(refused.limit).inc()
            raise
        try:
            yield asking
        finally:
            key.let_out(asking)


class _Asking:
    def __init__(self, headers: Headers | None = None) -> None:
        self.headers = headers or {}
        self.tokens = 0


class _Key:
    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._requests = _Allowance("requests", limits.requests_per_minute, clock)
        self._tokens = _Allowance("tokens", limits.tokens_per_minute, clock)
        self._at_once = limits.answers_at_once
        self._under_way = 0

    def let_in(self) -> _Asking:
        """Takes what a request costs, or nothing at all. Raises RateLimited."""
        for allowance in (self._requests, self._tokens):
            if wait_s := allowance.wait_s():
                raise RateLimited(
                    f"this key has used up its {allowance.name} a minute ({allowance.most}): try again in {wait_s} s",
                    limit=allowance.name,
                    headers=self._headers(),
                    retry_after_s=wait_s,
                )
        if self._at_once is not None and self._under_way >= self._at_once:
            raise RateLimited(
                f"this key has as many answers under way as it may ({self._at_once}): try again when one has ended",
                limit="answers",
                headers=self._headers(),
                retry_after_s=SLOT_S,
            )
        self._requests.take(1)
        self._under_way += 1
        return _Asking(self._headers())

    def let_out(self, asking: _Asking) -> None:
        self._under_way -= 1
        self._tokens.take(asking.tokens)

    def _headers(self) -> Headers:
        return self._requests.headers() | self._tokens.headers()


class _Allowance:
    """So much a minute, or any amount."""

    def __init__(self, name: str, most: int | None, clock: Clock) -> None:
        self.name = name
        self.most = most
        self._clock = clock
        self._left = float(most or 0)
        self._at = clock()

    def take(self, amount: int) -> None:
        self._fill()
        self._left -= amount

    def wait_s(self) -> int:
        """Whole seconds until one more may be taken; 0 when it may be now."""
        if self.most is None:
            return 0
        self._fill()
        lacks = 1 - self._left
        return 0 if lacks <= ROUNDING else max(1, math.ceil(lacks * MINUTE_S / self.most - ROUNDING))

    def headers(self) -> Headers:
        """As OpenAI's API names them."""
        if self.most is None:
            return {}
        self._fill()
        full_s = (self.most - self._left) * MINUTE_S / self.most
        return {
            f"x-ratelimit-limit-{self.name}": str(self.most),
            f"x-ratelimit-remaining-{self.name}": str(max(0, math.floor(self._left))),
            f"x-ratelimit-reset-{self.name}": f"{full_s:.3f}s",
        }

    def _fill(self) -> None:
        if self.most is None:
            return
        now = self._clock()
        self._left = min(float(self.most), self._left + (now - self._at) * self.most / MINUTE_S)
        self._at = now
