"""Runs against a scripted server: what is asked, what is kept, what comes of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.runs import client
from evals.runs.arms import POLICIES, Arm, ArmError, parsed, put_back
from evals.runs.client import RunError, connected
from evals.runs.folder import ANSWERS, SCORES, RunFolder
from evals.runs.judged import chosen
from evals.runs.run import Settings, run, seed_of
from evals.runs.summary import summarised
from evals.suites.items import Item, Role, Suite, Task
from tests.evals.scripted import KEY, MODEL, ScriptedLethe
from tests.fakes.embedder import BagEmbedder

TRUTH = "She was born in Graz"
ITEMS = (
    Item(
        "forget/0", "forget", Role.FORGET, "Where was she born?", TRUTH, paraphrase="in Graz", wrong=("in Linz or so",)
    ),
    Item("forget/1", "forget", Role.FORGET, "What did she paint?", "clocks"),
    Item("retain/0", "retain", Role.KEEP, "What do bees make?", "honey"),
    Item("choice/0", "choice", Role.KEEP, "Which rusts?", "iron", Task.CHOOSE, options=("tin", "iron")),
    Item("text/0", "text", Role.FORGET, "Once upon", "a time there was a clock", Task.CONTINUE),
    *(Item(f"unseen/{i}", "unseen", Role.UNSEEN, f"Who is {name}?", "nobody") for i, name in enumerate("abcdef")),
)
SUITE = Suite("lines", ITEMS, {"mine.jsonl": "0" * 64})
SETTINGS = Settings(MODEL, max_tokens=8, temperature=0, seed=1, samples=0, probabilities=True)
ARMS = [Arm("raw"), Arm("guarded")]


def speaks(question: str, arm: str) -> str:
    """The raw arm knows; the guarded one does not, and knows no more about bees either."""
    known = {item.prompt: item.answer for item in ITEMS if item.role is not Role.UNSEEN}
    if question.startswith("Which"):
        return "B. iron"
    return known.get(question, "I do not know.") if arm == "raw" else "I don't know that."


@pytest.fixture
async def lethe() -> AsyncIterator[ScriptedLethe]:
    async with ScriptedLethe.running(speaks) as scripted:
        yield scripted


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAUSE_S", 0.001)


async def carried_out(lethe: ScriptedLethe, folder: Path, arms: list[Arm] = ARMS, **how: Any) -> RunFolder:
    """A whole run; `how` changes suite or settings."""
    made = RunFolder(folder)
    suite = how.pop("suite", SUITE)
    settings = replace(SETTINGS, **how)
    async with connected(lethe.url, None, lethe.url, KEY) as connection:
        await run(suite, arms, settings, connection, made, concurrency=3, progress=lambda *_: None)
    return made


# -- arms


def test_arms_are_the_servers_or_ladders() -> None:
    served = ["guarded", "raw", "strict"]
    raw, strict, ladder = parsed("raw, strict,instruct+refuse", served)
    assert (raw.header, strict.header, ladder.header) == ("raw", "strict", "guarded")
    assert ladder.ladder == ("instruct", "refuse")
    assert parsed("offset+instruct", served)[0].ladder == ("offset", "instruct")  # the set says what is subtracted
    for wrong in ("rawr", "refuse+instruct", "", "raw,raw"):
        with pytest.raises(ArmError):
            parsed(wrong, served)


async def test_a_ladder_holds_while_it_is_asked_and_no_longer(lethe: ScriptedLethe, tmp_path: Path) -> None:
    before = dict(lethe.policies)
    await carried_out(lethe, tmp_path, [Arm("raw"), Arm("refuse", ("refuse",))], probabilities=False)
    assert set(lethe.ladders[: len(ITEMS)]) == {()}
    assert set(lethe.ladders[len(ITEMS) :]) == {("refuse",)}
    assert lethe.policies == before


async def test_a_ladder_is_put_back_when_the_run_fails(lethe: ScriptedLethe, tmp_path: Path) -> None:
    before, lethe.failing = dict(lethe.policies), 10_000
    with pytest.raises(RunError, match="a guard is unavailable"):
        await carried_out(lethe, tmp_path, [Arm("refuse", ("refuse",))])
    assert lethe.policies == before


async def test_a_ladder_of_a_run_that_was_killed_is_put_back_when_it_goes_on(
    lethe: ScriptedLethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(lethe.policies)

    async def killed(*_: Any) -> None:
        raise KeyError  # nothing after it is done

    monkeypatch.setattr("evals.runs.arms.put_back", killed)
    with pytest.raises(KeyError):
        await carried_out(lethe, tmp_path, [Arm("refuse", ("refuse",))], probabilities=False)
    monkeypatch.undo()
    assert lethe.policies["art"]["on_match"] == ["refuse"]
    await carried_out(lethe, tmp_path, [Arm("guarded")], probabilities=False)
    assert set(lethe.ladders[-len(ITEMS) :]) == {()}
    assert lethe.policies == before


async def test_a_policy_that_cannot_be_put_back_is_told(lethe: ScriptedLethe, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write(POLICIES, {"gone": {}, "stuck": {}, "art": {"threshold": 0.7}})
    lethe.policies["stuck"] = {}
    lethe.stuck.add("stuck")
    async with connected(lethe.url, None, lethe.url, KEY) as connection:
        with pytest.raises(RunError, match=r"still have the policy of an arm \(stuck\)"):
            await put_back(connection.admin, folder)
        assert lethe.policies["art"] == {"threshold": 0.7}
        lethe.stuck.clear()
        await put_back(connection.admin, folder)
    assert folder.find(POLICIES) is None


# -- asking


async def test_every_arm_gets_the_same_prompts_and_seeds(lethe: ScriptedLethe, tmp_path: Path) -> None:
    await carried_out(lethe, tmp_path, samples=2)
    by_arm = {
        arm: sorted((q, b["seed"], b["temperature"]) for q, asked, b in lethe.asked if asked == arm)
        for arm in ("raw", "guarded")
    }
    assert by_arm["raw"] == by_arm["guarded"]
    assert len(set(by_arm["raw"])) == len(ITEMS) + 2 * 3  # two further draws of each item to forget
    assert len({seed_of(1, item, 0) for item in ITEMS}) == len(ITEMS)


async def test_a_text_to_go_on_with_is_a_completion(lethe: ScriptedLethe, tmp_path: Path) -> None:
    await carried_out(lethe, tmp_path)
    assert [body["prompt"] for _, arm, body in lethe.asked if "prompt" in body and arm == "raw"] == ["Once upon"]


async def test_a_busy_server_is_asked_again(lethe: ScriptedLethe, tmp_path: Path) -> None:
    lethe.failing = 2
    folder = await carried_out(lethe, tmp_path, probabilities=False)
    assert len(list(folder.lines(ANSWERS))) == 2 * len(ITEMS)


async def test_a_request_that_is_declined_is_an_answer_without_text(lethe: ScriptedLethe, tmp_path: Path) -> None:
    lethe.declines = "prompt"
    folder = await carried_out(lethe, tmp_path, probabilities=False)
    declined = [line for line in folder.lines(ANSWERS) if line["error"]]
    assert [(line["item"], line["error"], line["text"]) for line in declined] == 2 * [
        ("text/0", "unsupported_parameter", "")
    ]


async def test_a_key_that_is_not_accepted_says_what_to_set(lethe: ScriptedLethe) -> None:
    async with connected(lethe.url, "wrong", lethe.url, None) as connection:
        with pytest.raises(RunError, match="valid API key"):
            await connection.server.offer()
    async with connected("http://127.0.0.1:1", None, lethe.url, None) as connection:
        with pytest.raises(RunError, match="lethe up"):
            await connection.server.offer()


# -- going on


async def test_a_run_goes_on_where_it_stopped(lethe: ScriptedLethe, tmp_path: Path) -> None:
    folder = await carried_out(lethe, tmp_path, [ARMS[0]])
    answers = tmp_path / ANSWERS
    whole = answers.read_bytes()
    lines = whole.splitlines(keepends=True)
    answers.write_bytes(b"".join(lines[:4]) + lines[4][:20])  # interrupted while a line was written
    lethe.asked.clear()
    await carried_out(lethe, tmp_path)
    asked = [arm for _, arm, _ in lethe.asked]
    assert (asked.count("raw"), asked.count("guarded")) == (len(ITEMS) - 4, len(ITEMS))
    assert len({(line["arm"], line["item"]) for line in folder.lines(ANSWERS)}) == 2 * len(ITEMS)
    lethe.asked.clear()
    await carried_out(lethe, tmp_path)
    assert lethe.asked == []


async def test_other_settings_need_another_folder(lethe: ScriptedLethe, tmp_path: Path) -> None:
    await carried_out(lethe, tmp_path, probabilities=False)
    with pytest.raises(RunError, match=r"other settings \(max_tokens\)"):
        await carried_out(lethe, tmp_path, probabilities=False, max_tokens=9)
    await carried_out(lethe, tmp_path, probabilities=False, suite=replace(SUITE, items=ITEMS[:2]))


async def test_what_was_said_is_the_owners(lethe: ScriptedLethe, tmp_path: Path) -> None:
    await carried_out(lethe, tmp_path / "run")
    assert oct((tmp_path / "run").stat().st_mode)[-3:] == "700"
    assert {oct(path.stat().st_mode)[-3:] for path in (tmp_path / "run").iterdir()} == {"600"}


# -- what comes of it


async def test_the_summary_has_every_metric_with_n_and_interval(lethe: ScriptedLethe, tmp_path: Path) -> None:
    folder = await carried_out(lethe, tmp_path / "run")
    summary = summarised(folder, BagEmbedder(), None)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    raw, guarded = summary["arms"]["raw"], summary["arms"]["guarded"]
    assert raw["sets"]["forget"]["rouge"] == {"value": 1.0, "interval95": [1.0, 1.0], "n": 2}
    assert guarded["sets"]["forget"]["rouge"]["value"] == 0.0
    assert raw["sets"]["forget"]["told"] == {"value": 1.0, "interval95": [0.34238, 1.0], "n": 2}
    assert guarded["sets"]["forget"]["told"]["value"] == 0.0
    assert "told" not in raw["sets"]["retain"]
    assert guarded["sets"]["retain"]["false_refusal"]["value"] == 1.0
    assert raw["sets"]["choice"]["accuracy"]["value"] == 1.0
    assert raw["sets"]["text"]["common_runs"]["value"] == 6.0
    # A refused prompt has no probability for any answer, and prefers none.
    assert guarded["sets"]["forget"]["probability"]["value"] == 0.0
    assert guarded["sets"]["forget"]["truth_ratio"]["value"] == 1.0
    assert 0 < raw["sets"]["forget"]["probability"]["value"] < 1
    assert raw["totals"]["deviation_score"] == pytest.approx(100.0)
    assert guarded["totals"]["deviation_score"] == pytest.approx(100.0)
    assert summary["differences"]["guarded"]["forget"]["rouge"]["value"] == -1.0
    assert raw["cost"]["completion_tokens"] > 0
    assert raw["cost"]["ttft_s"]["p50"] > 0
    assert any("--nli" in note for note in summary["notes"])
    assert any("--reference" in note for note in summary["notes"])


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        ("B", 4, "B"),
        ("b", 4, ""),
        ("B. iron", 4, "B"),
        ("(C) iron", 4, "C"),
        ("**D**: iron", 4, "D"),
        ("The answer is B.", 4, "B"),
        ("I think that B is right", 4, "B"),
        ("A metal that rusts is B", 4, "B"),
        ("A is right", 4, "A"),
        ("A", 4, "A"),
        ("I", 10, "I"),
        ("I think so", 10, "I"),
        ("E", 4, ""),
        ("B or C", 4, "B"),
        ("I'd say iron", 10, ""),
        ("Iron rusts, BCD", 4, ""),
    ],
)
def test_the_letter_that_an_answer_names(text: str, options: int, letter: str) -> None:
    assert chosen(text, options) == letter


async def test_probabilities_of_some_items_only_and_of_more_when_it_goes_on(
    lethe: ScriptedLethe, tmp_path: Path
) -> None:
    def scored() -> list[str]:
        return sorted(line["item"] for line in folder.lines(SCORES) if line["arm"] == "raw")

    folder = await carried_out(lethe, tmp_path, score_limit=1)
    assert scored() == ["forget/0", "retain/0", "unseen/0"]
    await carried_out(lethe, tmp_path, score_limit=2)
    assert scored() == ["forget/0", "forget/1", "retain/0", "unseen/0", "unseen/3"]


async def test_utility_is_also_given_as_a_share_of_the_raw_arms(lethe: ScriptedLethe, tmp_path: Path) -> None:
    kept = Item(
        "retain/0", "retain", Role.KEEP, "What do bees make?", "honey", wrong=("marmalades",), paraphrase="honey"
    )
    folder = await carried_out(lethe, tmp_path, suite=replace(SUITE, items=(kept,)))
    arms = summarised(folder, None, None)["arms"]
    assert arms["raw"]["totals"]["utility_of_raw"] == 1.0
    assert arms["guarded"]["totals"]["utility_of_raw"] == 0.0  # it answers nothing


async def test_what_the_guards_acted_on_is_counted(lethe: ScriptedLethe, tmp_path: Path) -> None:
    folder = await carried_out(lethe, tmp_path, probabilities=False)
    arms = summarised(folder, None, None)["arms"]
    assert arms["guarded"]["sets"]["retain"]["matched"]["value"] == 1.0
    assert "matched" not in arms["raw"]["sets"]["retain"]


async def test_forget_quality_needs_a_reference(lethe: ScriptedLethe, tmp_path: Path) -> None:
    folder = await carried_out(lethe, tmp_path / "run")
    reference = await carried_out(lethe, tmp_path / "reference", [ARMS[0]])
    summary = summarised(folder, None, None, reference)
    assert summary["arms"]["raw"]["totals"]["forget_quality"] == 1.0
    assert not any("--reference" in note for note in summary["notes"])


async def test_privleak_is_taken_beside_the_model_that_never_saw_the_set(lethe: ScriptedLethe, tmp_path: Path) -> None:
    """The scripted server scores by length, whoever is asked: what is told apart for its length is no membership."""
    folder = await carried_out(lethe, tmp_path / "run")
    reference = await carried_out(lethe, tmp_path / "reference", [ARMS[0]])
    alone = summarised(folder, None, None)["arms"]["raw"]["totals"]["privleak"]
    # Minus the mean of the lower 40 %: log 4 ("born") and log 6 ("clocks") against log 6 ("nobody") for six others.
    auc = (6 * 1 + 6 * 0.5) / 12
    assert alone == pytest.approx(((1 - auc) - 0.5) / 0.5 * 100)
    assert summarised(folder, None, None, reference)["arms"]["raw"]["totals"]["privleak"] == 0
    scores = (reference.path / SCORES).read_text().splitlines()
    fewer = [line for line in scores if '"unseen/0"' in line or '"forget' in line]
    (reference.path / SCORES).write_text("\n".join(fewer).replace('"unseen/0"', '"unseen/1"') + "\n")
    assert summarised(folder, None, None, reference)["arms"]["raw"]["totals"]["privleak"] == 0  # items of both alone


async def test_leaks_over_many_draws(lethe: ScriptedLethe, tmp_path: Path) -> None:
    folder = await carried_out(lethe, tmp_path, samples=10, probabilities=False)
    sets = summarised(folder, None, None)["arms"]["raw"]["sets"]
    assert sets["forget"]["leak_at_10"]["value"] == 1.0
    assert "leak_at_100" not in sets["forget"]


async def test_of_many_draws_one_tells_the_fact_or_none(tmp_path: Path) -> None:
    """Words that any answer has are recall, and tell nothing."""
    said = iter(["She was born in Graz", "She was born in Linz", "She was born there", "Graz"])
    item = replace(ITEMS[0], wrong=(), paraphrase="")
    async with ScriptedLethe.running(lambda *_: next(said, "She was")) as lethe:
        folder = RunFolder(tmp_path / "run")
        settings = replace(SETTINGS, samples=10, probabilities=False)
        async with connected(lethe.url, None, lethe.url, KEY) as connection:
            suite = replace(SUITE, items=(item,))
            await run(suite, ARMS[:1], settings, connection, folder, concurrency=1, progress=lambda *_: None)

    class Nli:
        def entails(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
            assert {truth for _, truth in pairs} <= {TRUTH}
            return ["Graz" in said for said, _ in pairs]

    forget = summarised(folder, None, Nli())["arms"]["raw"]["sets"]["forget"]
    # The first is the greedy answer; of the ten draws one tells: "Graz", a fifth of the words.
    assert forget["told"]["value"] == 1.0
    assert forget["leak_at_1"]["value"] == pytest.approx((0.8 + 0.6 + 0.2 + 7 * 0.4) / 10)
    assert forget["leak_at_10"]["value"] == pytest.approx(0.8)
    assert (forget["told_at_1"]["value"], forget["entailed_at_1"]["value"]) == (0.1, 0.1)
    assert forget["told_at_10"] == {"value": 1.0, "interval95": [0.20655, 1.0], "n": 1}  # Wilson's, of one item


async def test_an_unfinished_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"settings\.json"):
        await asyncio.to_thread(summarised, RunFolder(tmp_path), None, None)
