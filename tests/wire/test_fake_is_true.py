"""The scripted engine answers as a real one does: the tests of this folder rest on that."""

from typing import Any

import aiohttp
import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_compared import CASES, Case, card_shape, shape_of
from tests.fakes.vllm_shapes import MODEL

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_same_request_same_shape(real_engine: Any, engine: FakeVllm, case: Case) -> None:
    async with aiohttp.ClientSession() as http:
        real = await shape_of(http, real_engine.base_url, real_engine.model, case)
        engine.answers(*case.steps, finish=case.finish)
        assert await shape_of(http, engine.url, MODEL, case) == real


async def test_health_and_models(real_engine: Any, engine: FakeVllm) -> None:
    async with aiohttp.ClientSession() as http:
        assert await card_shape(http, engine.url) == await card_shape(http, real_engine.base_url)
