"""The report on refusals: what is asked of whom, and what is compared."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count

import pytest
from click.testing import CliRunner

from evals.metrics.fingerprint import chance
from evals.runs.client import connected
from evals.runs.fingerprint import OWN_WORDS, Asked, ask_both, questions_about_nobody, told_apart
from proxy.cli.main import main
from proxy.cli.output import NOT_FOUND
from tests.evals.scripted import KEY, MODEL, ScriptedLethe

OWN = (
    "I do not know the {thing}.",
    "I'm not sure about any {thing}, sorry.",
    "I don't know; no {thing} comes to mind.",
)
THINGS = "river city name year person mountain".split()


def own(size: int) -> list[str]:
    return [OWN[n % 3].format(thing=THINGS[n % 6]) for n in range(size)]


@pytest.fixture
async def lethe() -> AsyncIterator[ScriptedLethe]:
    numbers = count()
    async with ScriptedLethe.running(
        lambda question, arm: own(next(numbers) + 1)[-1] if arm == "raw" else "I cannot answer: it was removed."
    ) as server:
        server.entries = [
            {"id": f"fe_{n}", "texts": [f"Where is {n}?"], "answers": [f"In the town of {n}"]} for n in range(12)
        ]
        yield server


def test_questions_about_nobody_differ_and_come_again() -> None:
    found = questions_about_nobody(300, seed=3)
    assert len(set(found)) == 300
    assert found == questions_about_nobody(300, seed=3)
    assert not any("{" in question for question in found)


async def test_each_is_asked_what_it_does_not_know(lethe: ScriptedLethe) -> None:
    async with connected(lethe.url, KEY, lethe.url, KEY) as connection:
        guarded, said = await ask_both(
            connection.server,
            MODEL,
            ["Where is 1?"],
            ["Who is nobody?"],
            "strict",
            max_tokens=9,
            concurrency=2,
            progress=lambda *_: None,
        )
    asked = {question: (arm, body) for question, arm, body in lethe.asked}
    assert asked["Where is 1?"][0] == "strict"
    assert asked["Who is nobody?"][0] == "raw"
    assert asked["Who is nobody?"][1]["messages"][0] == {"role": "system", "content": OWN_WORDS}
    assert [one.question for one in (*guarded, *said)] == ["Where is 1?", "Who is nobody?"]


def test_only_what_turns_away_is_compared() -> None:
    same = [Asked("q", text) for text in own(30)]
    fixed = [Asked("q", "I cannot answer that, it was removed.")] * 30
    told = [Asked("q", "It is Graz.")] * 4
    found = told_apart([*fixed, *told], same)
    assert found["auc"] == 1.0
    assert found["guarded"]["turned_away"]["n"] == 34
    assert found["guarded"]["turned_away"]["value"] == pytest.approx(30 / 34, abs=1e-4)
    alike = told_apart(same, same)
    low, high = alike["chance95"]
    assert low <= 0.5 <= high < 1
    assert low <= alike["auc"] <= high
    nothing = told_apart(told, same)
    assert (nothing["auc"], nothing["chance95"]) == (None, None)


def test_chance_narrows_with_the_number_of_texts() -> None:
    few, many = (chance(n, n, own(2 * n)) for n in (6, 60))
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < few[1] - few[0]


async def test_the_command(lethe: ScriptedLethe) -> None:
    server = ["--url", lethe.url, "--admin-url", lethe.url, "--admin-key", KEY]

    def called(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["eval", "fingerprint", "--set", "art", "--limit", "10", *server, *more])
        return done.exit_code, done.stdout

    code, said = await asyncio.to_thread(called, "--show-text", "--json", "-")
    figures = json.loads(said)
    assert code == 0
    assert figures["auc"] == 1.0
    assert figures["guarded"]["asked"] == figures["own"]["asked"] == 10
    assert figures["texts"]["guarded"][0]["answer"].strip() == "I cannot answer: it was removed."
    assert "texts" not in json.loads((await asyncio.to_thread(called, "--json", "-"))[1])
    code, said = await asyncio.to_thread(called)
    assert "AUC 1.000" in said
    lethe.entries = []
    assert (await asyncio.to_thread(called))[0] == NOT_FOUND
