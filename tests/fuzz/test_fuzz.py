"""A small number of what `python -m tests.fuzz` does.

What that finds gets a test of its own: seeds change with the mutations.
"""

import random
from collections import Counter

from tests.fuzz import requests, streams

FEW = 3000


def test_mutated_requests_are_read_or_refused_and_nothing_gets_by_unread() -> None:
    ended = Counter(requests.one(random.Random(seed)) for seed in range(FEW))
    assert min(ended["refused"], ended["passed"]) > FEW / 10


def test_mutated_streams_leak_nothing_and_fail_as_foreseen() -> None:
    forbidden = streams.generations()
    ended = Counter(streams.one(random.Random(seed), forbidden) for seed in range(FEW))
    assert all(ended[end] > FEW / 100 for end in ("hit", "cut", "whole", "refused")), ended
