"""Mutated requests over the wire: every one is answered, and none with a failure of the server."""

import random
from collections import Counter

import pytest

from tests.fakes.vllm_shapes import MODEL
from tests.fuzz.mutations import mutated
from tests.fuzz.requests import BODIES, ROUTES
from tests.wire.harness import Lethe

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEW = 300


async def test_no_request_makes_the_server_fail(shared: Lethe) -> None:
    seen: Counter[int] = Counter()
    for seed in range(FEW):
        rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        name = rng.choice(list(BODIES))
        body = mutated({**BODIES[name], "model": MODEL}, rng, rng.randrange(1, 4))
        body["stream"] = rng.random() < 0.5
        reply = await shared.post(ROUTES[name].path, body)
        seen[reply.status] += 1
        assert reply.status in (200, 400, 404), (name, body, reply.raw)
    assert seen[200] > FEW / 10
    assert seen[400] > FEW / 10
