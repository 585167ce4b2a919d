"""`lethe sets`."""

import pytest

from tests.cli.conftest import Run, out, parsed


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
