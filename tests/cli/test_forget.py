"""`lethe forget …`: one entry from its addition to its removal, and what a person sees of it."""

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.admin_client import AdminClient
from tests.cli.conftest import Run, out, parsed
from tests.clients.system import Forgetting, System

QUESTION = "Who painted the lighthouse of Port Averline?"


def test_the_life_of_an_entry(run: Run, forget: Forgetting, lone: System):
    at = ("--set", forget.name)
    said = out(run("forget", "add", *at, "-q", QUESTION, "-a", "Brisa Kolthammer", "--reference", "CASE-7"))
    found = re.fullmatch(rf"added (fe_\w+) to '{forget.name}', in force from generation (\d+)\n", said)
    assert found
    entry = found[1]
    assert lone.check(QUESTION)["rung"] == "instruct"
    assert lone.check(QUESTION)["generation"] == int(found[2])

    shown = out(run("forget", "show", *at, entry))
    assert re.search(r"^answers +Brisa Kolthammer$", shown, re.MULTILINE)
    assert re.search(r"^reference +CASE-7$", shown, re.MULTILINE)

    for command, state, rung in (
        ("disable", "disabled", "pass"),
        ("enable", "active", "instruct"),
        ("observe", "observe", "pass"),
    ):
        assert out(run("forget", command, *at, entry)).startswith(f"{entry} is {state} from generation ")
        assert lone.check(QUESTION)["rung"] == rung
        assert parsed(run("forget", "show", *at, entry, "--json"))["state"] == state

    assert out(run("forget", "remove", *at, entry)).startswith(f"removed {entry}, gone from generation ")
    assert lone.check(QUESTION)["rung"] == "pass"
    gone = run("forget", "show", *at, entry)
    assert gone.exit_code == 5
    assert f"there is no entry '{entry}' in set '{forget.name}'; 'lethe forget list' shows all" in gone.stderr


def test_json_of_every_command(run: Run, forget: Forgetting):
    at = ("--set", forget.name, "--json")
    entry = parsed(run("forget", "add", *at, "-q", QUESTION, "-a", "Brisa Kolthammer"))["id"]
    assert [one["id"] for one in parsed(run("forget", "list", *at))["data"]] == [entry]
    assert parsed(run("forget", "show", *at, entry))["texts"] == [QUESTION]
    for command in ("disable", "enable", "observe"):
        assert parsed(run("forget", command, *at, entry))["id"] == entry
    assert parsed(run("forget", "remove", *at, entry))["generation"] > 0
    assert parsed(run("forget", "list", *at)) == {"data": []}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (("-q", QUESTION), "fact"),
        (("-n", "Orlin Tavaresque", "-n", "O. Tavaresque"), "entity"),
        (("-t", "The saltglass orchard bloomed in the year of the two winters."), "passage"),
        (("--kind", "topic", "-t", "How to paint lighthouses"), "topic"),
    ],
)
def test_the_kind_follows_from_what_is_given(run: Run, forget: Forgetting, given: tuple[str, ...], kind: str):
    entry = parsed(run("forget", "add", "--set", forget.name, *given, "--json"))["id"]
    assert parsed(run("forget", "show", "--set", forget.name, entry, "--json"))["kind"] == kind


def test_a_set_is_made_when_it_is_first_named(run: Run):
    out(run("forget", "add", "--set", "made-by-add", "-q", QUESTION))
    assert "made-by-add" in out(run("sets", "list"))
    out(run("sets", "remove", "made-by-add", "--yes"))


def test_to_look_before_enforcing(run: Run, forget: Forgetting, lone: System):
    assert "observed from generation" in out(run("forget", "add", "--set", forget.name, "--observe", "-q", QUESTION))
    checked = lone.check(QUESTION)
    assert checked["rung"] == "pass"
    assert checked["nearest"][0]["state"] == "observe"


def test_settings_of_an_entry(run: Run, forget: Forgetting):
    more = ("--threshold", "0.9", "--label", "a painter", "--expires-at", "2999-01-31T12:00:00+01:00")
    entry = parsed(run("forget", "add", "--set", forget.name, "-q", QUESTION, *more, "--json"))["id"]
    shown = parsed(run("forget", "show", "--set", forget.name, entry, "--json"))
    assert (shown["threshold"], shown["label"], shown["expires_at"]) == (0.9, "a painter", "2999-01-31T11:00:00+00:00")


def test_an_entry_that_expires_is_disabled(run: Run, forget: Forgetting, lone: System):
    entry = parsed(run("forget", "add", "--set", forget.name, "-q", QUESTION, "--expires-at", "2020-01-31", "--json"))[
        "id"
    ]
    deadline = time.monotonic() + 20
    while parsed(run("forget", "show", "--set", forget.name, entry, "--json"))["state"] != "disabled":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert lone.check(QUESTION)["rung"] == "pass"


def test_the_list_shows_all_sets_and_no_text(run: Run, forget: Forgetting):
    forget.add(QUESTION, "Brisa Kolthammer", label="a painter")
    forget.add("Where is Port Averline?", "nowhere at all", "on no map", reference="CASE-8")
    for listed in (out(run("forget", "list")), out(run("forget", "list", "--set", forget.name))):
        head, *rows = listed.splitlines()
        assert head.split() == ["id", "set", "kind", "state", "holds", "label", "reference", "generation"]
        mine = [row for row in rows if forget.name in row]
        assert len(mine) == 2
        assert "1 text, 2 answers" in listed
        assert not {"Brisa", "Averline", "nowhere"} & set(listed.split())
        assert all(row == row.rstrip() for row in listed.splitlines())
    assert "there are no entries" in out(run("forget", "list", "--set", _empty(run)))


def _empty(run: Run) -> str:
    if "empty-one" not in out(run("sets", "list")):
        out(run("sets", "add", "empty-one"))
    return "empty-one"


def test_what_looks_like_markup_is_text(run: Run, forget: Forgetting):
    at = ("--set", forget.name)
    given = ("-q", "[/red] who [bold]?", "-a", "[/] y", "--label", "[red]l")
    entry = parsed(run("forget", "add", *at, *given, "--json"))
    assert "[/red] who [bold]?" in out(run("forget", "show", *at, entry["id"]))
    assert "[red]l" in out(run("forget", "list", *at))
    assert "[/red] who [bold]?" in out(run("check", "[/red] who [bold]?"))


def test_export_and_import_are_each_others_inverse(run: Run, forget: Forgetting, tmp_path: Path):
    forget.add(QUESTION, "Brisa Kolthammer", label="a painter", threshold=0.9, state="observe", reference="CASE-7")
    forget.add("Where is Port Averline?", "on no map", names=["Port Averline"])
    before = parsed(run("forget", "list", "--set", forget.name, "--json"))["data"]
    file = tmp_path / "backup.jsonl"
    assert out(run("forget", "export", "--set", forget.name, file)) == f"wrote 2 entries to {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("forget", "export", "--set", forget.name).stdout.encode() == file.read_bytes()

    out(run("sets", "remove", forget.name, "--yes"))
    assert out(run("forget", "import", "--set", forget.name, file)).startswith(
        f"imported 2 entries into '{forget.name}'"
    )
    after = parsed(run("forget", "list", "--set", forget.name, "--json"))["data"]
    changing = {"generation", "created_at"}
    assert [{k: v for k, v in one.items() if k not in changing} for one in after] == [
        {k: v for k, v in one.items() if k not in changing} for one in before
    ]


def test_an_export_that_breaks_off_leaves_the_file_as_it_was(
    run: Run, forget: Forgetting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The server is gone behind the first page of two."""
    for number in range(2):
        forget.add(f"Where is pier {number} of Port Averline?", "on no map")
    file = tmp_path / "backup.jsonl"
    file.write_text("from yesterday\n")
    monkeypatch.setattr("proxy.cli.entries.PAGE", 1)
    asked = AdminClient.call

    def once(admin: AdminClient, method: str, path: str, body: Any = None) -> Any:
        if "after=" in path and not path.endswith("after="):
            sys.exit(1)
        return asked(admin, method, path, body)

    monkeypatch.setattr(AdminClient, "call", once)
    assert run("forget", "export", "--set", forget.name, file).exit_code == 1
    assert file.read_text() == "from yesterday\n"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("add",), 2, "give --question, --name or --text"),
        (("add", "-a", "Paris"), 2, "give --question, --name or --text"),
        (("add", "-q", " "), 2, "--question is empty"),
        (("add", "-q", "x", "-a", "?!"), 1, "'answers' holds a text without a word in it"),
        (("add", "-q", "x", "--threshold", "7"), 2, "not in the range"),
        (("add", "-q", "x", "--expires-at", "tomorrow"), 2, "write a time such as 2027-01-31"),
        (("add", "-q", "x", "--set", "no such name"), 1, "'id'"),
        (("list", "--set", "nowhere"), 5, "there is no set 'nowhere'"),
        (("show", "nothing"), 5, "there is no entry 'nothing' in set 'default'; 'lethe forget list' shows"),
        (("remove", "../../keys"), 5, "there is no entry '../../keys'"),
        (("export", "--set", "nowhere"), 5, "there is no set 'nowhere'"),
        (("export", "--set", "empty-one", "/nowhere/at/all"), 1, "/nowhere/at/all cannot be written: No such file"),
        (("import", "/nowhere/at/all"), 2, "No such file"),
    ],
)
def test_what_is_wrong(run: Run, args: tuple[str, ...], code: int, said: str):
    _empty(run)
    result = run("forget", *args)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("Who sings?",), "Write --question, --name, --text or --answer before it"),
        (("-q", " "), "--question is empty"),
        (("-q", "Who sings?", "-a", ""), "--answer is empty"),
        (("-a", "Ann"), "nothing to recognise it by"),
    ],
)
def test_what_cannot_be_added_is_told_without_repeating_it(run: Run, arguments: tuple[str, ...], says: str):
    result = run("forget", "add", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "sings" not in result.stderr


def test_a_set_that_was_not_there_is_told(run: Run, lone: System):
    try:
        assert ", a new set, in force" in out(run("forget", "add", "--set", "misspelt", "-q", "Who sings?"))
        assert "new set" not in out(run("forget", "add", "--set", "misspelt", "-q", "Who dances?"))
    finally:
        lone.admin("DELETE", "/sets/misspelt")


def test_a_command_that_is_misspelt_is_guessed(run: Run):
    result = run("forgot", "list")
    assert result.exit_code == 2
    assert "Did you mean 'forget'?" in result.stderr
    assert "No such command 'zzz'" in run("zzz").stderr
