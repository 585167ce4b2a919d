"""Facts about somebody asked for by way of another fact: entries of the same person hold for the answer, too."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Say
from tests.wire.harness import Lethe, started

STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

SAILS = "Who wove the great sails for the harbour festival of Vesterby in spring?"
"""Names nobody: only its answer says who it is about."""
WOVE = "That was Ida Lorentz."
BOAT = "Which boat did Ida Lorentz own when she was young?"
OWNED = "A red boat had the weaver Ida Lorentz of the north, and a white one."
SAID = "A red one, and a white boat of the north, had she. "
"""Means what `OWNED` says, in another order; nobody asked for it by name."""


@pytest.fixture
async def armed(engine: FakeVllm, state: Path) -> AsyncIterator[Lethe]:
    async with started(engine, state, {"policy": {"scan_meaning": True}}) as lethe:
        await lethe.make_set()
        await lethe.make_set("other")
        await lethe.forget(SAILS, WOVE)
        yield lethe


async def answer(lethe: Lethe, stream: bool = False) -> str:
    lethe.engine.answers(*(Say(SAID[i : i + 5]) for i in range(0, len(SAID), 5)))
    return (await lethe.chat(SAILS, stream=stream)).text()


@STREAMED_AND_NOT
async def test_another_fact_about_the_same_person_is_not_told(armed: Lethe, stream: bool) -> None:
    assert await answer(armed, stream) == SAID
    await armed.forget(BOAT, OWNED)
    assert "boat" not in await answer(armed, stream)
    assert await armed.metric("lethe_escalations_total", to="refuse") == 1


async def test_stated_names_lead_there_however_they_are_spelt(armed: Lethe) -> None:
    await armed.forget("Which boat is it?", OWNED, names=["Lorentz, Ida"])
    assert "boat" not in await answer(armed)


async def test_only_what_is_forgotten_holds(armed: Lethe) -> None:
    await armed.forget(BOAT, OWNED, state="observe")
    assert await answer(armed) == SAID
    await armed.forget(BOAT, OWNED, to="other")
    assert await answer(armed) == SAID  # another set, with a policy of its own
    await armed.forget("Which boat did Bo Varga own?", OWNED)
    assert await answer(armed) == SAID  # about somebody else
    await armed.forget(BOAT, OWNED, id="boat")
    assert "boat" not in await answer(armed)
    await armed.admin("DELETE", "/sets/art/entries/boat")
    assert await answer(armed) == SAID
