"""`lethe check` and `compare`."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run, out, parsed
from tests.clients.system import Forgetting, System, forget_set, json_of

CAPITAL = "What is the capital of France?"
WEEK = "How many days are there in a week?"


def test_check_says_what_would_happen_and_why(run: Run, forget: Forgetting):
    assert out(run("check", WEEK)).startswith("pass: it goes to the model as it is (generation ")
    entry = forget.add(CAPITAL, "Paris")["id"]
    said = out(run("check", "Which city is the capital of France?"))
    first, head, row = said.splitlines()
    assert re.fullmatch(r"instruct: the model is told to answer as one who does not know \(generation \d+\)", first)
    assert head.split() == "entry set via score threshold margin state made of text".split()
    assert "similarity 0." in row
    assert row.split()[:3] == [entry, forget.name, "embedding"]
    assert row.endswith("Which city is the capital of France?")


def test_check_in_json_names_every_match(run: Run, forget: Forgetting):
    entry = forget.add(CAPITAL, "Paris")["id"]
    reply = parsed(run("check", CAPITAL, "--json"))
    assert reply["rung"] == "instruct"
    assert reply["ladder"] == ["instruct", "refuse"]
    assert reply["nearest"][0]["entry"] == entry
    assert reply["nearest"][0]["score"] > 0.99


def test_a_long_text_with_line_breaks_stays_one_row(run: Run, forget: Forgetting):
    forget.add(CAPITAL, "Paris")
    said = out(run("check", f"{CAPITAL}\n\n{CAPITAL}\n" + "And so on. " * 3))
    assert "What is the capital of France?" in said
    assert len(said.splitlines()) <= 2 + 5


def test_check_with_a_retain_example(run: Run, forget: Forgetting, lone: System):
    forget.add(CAPITAL, "Paris", threshold=0.5)
    spain = "What is the capital of Spain?"
    json_of(lone.admin("PATCH", f"/sets/{forget.name}", {"retain": [spain]}))
    said = out(run("check", spain))
    assert said.startswith("pass:")
    assert "retain" in said


def test_check_reads_a_whole_request_of_any_dialect(run: Run, forget: Forgetting, tmp_path: Path):
    forget.add(CAPITAL, "Paris")
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"model": "m", "input": "Hello", "instructions": CAPITAL}))
    assert out(run("check", "--request", file, "--dialect", "responses")).startswith("instruct")
    asked = json.dumps({"model": "m", "system": CAPITAL, "messages": [{"role": "user", "content": "Hi"}]})
    assert out(run("check", "--request", "-", "--dialect", "messages", input=asked)).startswith("instruct")
    refused = run("check", "--request", file, "--dialect", "chat")
    assert (refused.exit_code, "'messages' is a list" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "content", "says"),
    [
        (("check",), "{}", "give either TEXT or --request FILE"),
        (("check", "a", "--request", "-"), "{}", "give either TEXT or --request FILE"),
        (("compare",), "{}", "give either QUESTION or --request FILE"),
        (("check", "--request", "-"), '{"model": 1,\n}', "is not valid JSON in line"),
        (("compare", "--request", "-"), "[]", "it is no JSON object"),
        (("check", "a", "--dialect", "smoke"), "", "'smoke' is not one of"),
    ],
)
def test_a_request_that_cannot_be_read_is_told(run: Run, arguments: tuple[str, ...], content: str, says: str):
    result = run(*arguments, input=content)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.engine
def test_compare_shows_both_arms(asking: Run, system: System):
    same = out(asking("compare", WEEK, "--max-tokens", "16"))
    raw, guarded, note = same.splitlines()
    assert raw.removeprefix("raw      ") == guarded.removeprefix("guarded  ") != ""
    assert note == "the same, to the letter"

    with forget_set(system) as forget:
        forget.add(CAPITAL, "Paris")
        said = out(asking("compare", "Which city is the capital of France?"))
        raw, *_, note = said.splitlines()
        assert "Paris" in raw
        assert said.count("Paris") == 1
        assert note in ("guarded by: instruct", "guarded by: refuse")
        reply = parsed(asking("compare", CAPITAL, "--json"))
    assert reply["raw"]["outcome"] == "answered"
    assert reply["guarded"]["findings"][0]["verdict"] != "allow"
    assert "Paris" not in str(reply["guarded"]["answer"])


@pytest.mark.engine
@pytest.mark.parametrize(
    ("dialect", "question"),
    [("completions", "The days of the week are Monday,"), ("responses", WEEK), ("messages", WEEK)],
)
def test_compare_in_other_dialects(asking: Run, dialect: str, question: str):
    same = out(asking("compare", question, "--max-tokens", "8", "--dialect", dialect))
    raw, *_, note = same.splitlines()
    assert raw.removeprefix("raw      ")
    assert note == "the same, to the letter"


@pytest.mark.engine
def test_compare_with_a_model_that_is_not_served(asking: Run):
    result = asking("compare", WEEK, "--model", "gpt-0")
    assert result.exit_code == 5
    assert "the model 'gpt-0' does not exist; available: smollm2" in result.stderr


def test_compare_without_an_engine(run: Run):
    result = run("compare", WEEK)
    assert result.exit_code == 1
    assert "no model is served: the engine does not answer" in result.stderr


def test_check_says_when_an_assistant_is_not_loaded(forget: Forgetting, run: Run):
    forget.policy(on_match=["offset", "instruct"], assistant="nobody")
    forget.add("What is in the locked room?", "a harpsichord")
    said = out(run("check", "What is in the locked room?"))
    assert said.startswith("instruct: ")
    assert f"not loaded: nobody, so the ladder of gate:{forget.name} goes without it" in said
    assert "there are no assistants" in out(run("assistant", "list"))


def test_assistants_that_are_not_there(run: Run):
    for command in (("unload", "nobody"), ("rollback", "nobody")):
        result = run("assistant", *command)
        assert (result.exit_code, "there is no assistant 'nobody'" in result.stderr) == (5, True)
    result = run("assistant", "load", "/nowhere")
    assert result.exit_code == 1
    assert "/nowhere holds no complete assistant" in result.stderr
