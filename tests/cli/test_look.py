"""`lethe check`, `compare`, `sets`, `keys`."""

import json
import re
from pathlib import Path

import httpx
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


def test_sets(run: Run):
    settings = ("-p", "on_match=instruct,refuse", "-p", "threshold=0.8", "-p", "reasoning=true", "-p", "style=refusal")
    created = run("sets", "add", "authors", "--label", "some authors", *settings, "-r", "Who is Homer?")
    assert out(created).startswith("created 'authors', generation ")
    listed = out(run("sets", "list"))
    row = next(row for row in listed.splitlines() if row.startswith("authors"))
    assert "on_match=instruct,refuse threshold=0.8 reasoning=true style=refusal" in row
    assert row.split()[-1] == "1"
    [one] = [one for one in parsed(run("sets", "list", "--json"))["data"] if one["id"] == "authors"]
    assert one["policy"] == {
        "on_match": ["instruct", "refuse"],
        "threshold": 0.8,
        "reasoning": True,
        "style": "refusal",
    }
    assert one["retain"] == ["Who is Homer?"]

    twice = run("sets", "add", "authors")
    assert twice.exit_code == 1
    assert "the set 'authors' exists already" in twice.stderr
    kept = run("sets", "remove", "authors", input="n\n")
    assert kept.exit_code == 1
    assert "authors" in out(run("sets", "list"))
    assert parsed(run("sets", "remove", "authors", "--yes", "--json"))["generation"] > 0
    gone = run("sets", "remove", "authors", "--yes")
    assert gone.exit_code == 5
    assert "there is no set 'authors'" in gone.stderr


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        ("on_match", 2, "'on_match' is not a setting: write name=value"),
        ("on_mtch=refuse", 1, "unknown policy setting 'on_mtch'; did you mean 'on_match'?"),
        ("on_match=refus", 1, "'on_match' is one of observe, offset, instruct, offset_instruct, refuse"),
        ("on_match=refuse,instruct", 1, "'on_match' climbs"),
        ("threshold=1.5", 1, "'threshold' is a number from 0 to 1"),
        ("threshold=high", 1, "'threshold' is a number from 0 to 1"),
        ("demonstrations=9", 1, "'demonstrations' is a number from 0 to 8"),
        ("reasoning=maybe", 1, "'reasoning' is true or false"),
    ],
)
def test_a_policy_that_is_wrong(run: Run, setting: str, code: int, said: str):
    result = run("sets", "add", "never-made", "-p", setting)
    assert result.exit_code == code
    assert said in result.stderr
    assert "never-made" not in out(run("sets", "list"))


def test_keys(run: Run, lone: System):
    """A key works from the call that makes it to the call that revokes it."""
    key = parsed(run("keys", "create", "--scope", "client", "--scope", "raw", "--label", "a test", "--json"))
    listed = out(run("keys", "list"))
    [row] = [row for row in listed.splitlines() if row.startswith(key["id"])]
    assert "client, raw" in row
    assert "a test" in row
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", row)
    assert key["key"] not in listed + str(parsed(run("keys", "list", "--json")))

    def models(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.get(f"{lone.base_url}/models", headers=headers, trust_env=False).status_code

    assert models(key["key"]) == 200
    assert models("something-else") == 401
    assert out(run("keys", "revoke", key["id"])) == f"revoked {key['id']}\n"
    assert models("something-else") == 200  # without any key for clients, anyone on this machine may ask

    said = out(run("keys", "create", "--scope", "client"))
    made = re.fullmatch(r"(key_\w+): (lethe-\S+)\n", said)
    assert made
    out(run("keys", "revoke", made[1], "--json"))
    gone = run("keys", "revoke", made[1])
    assert gone.exit_code == 5
    assert f"there is no key '{made[1]}'" in gone.stderr


def test_a_key_that_cannot_be_made_or_revoked(run: Run):
    assert run("keys", "create").exit_code == 2
    assert run("keys", "create", "--scope", "root").exit_code == 2
    [mine] = [one["id"] for one in parsed(run("keys", "list", "--json"))["data"] if "admin" in one["scopes"]]
    itself = run("keys", "revoke", mine)
    assert itself.exit_code == 1
    assert "a key cannot revoke itself" in itself.stderr


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
