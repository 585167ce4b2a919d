"""`lethe forget import`: all lines are checked first, and however often it is interrupted, each is in once."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import Result

from proxy.cli.import_lines import BATCH_BYTES, BATCH_ENTRIES, BadLines, batches, lines_of, read_lines
from tests.cli.conftest import Run, out, parsed, runner
from tests.clients.system import LETHE, Forgetting, System, forget_set, json_of, serving

MANY = 7 * BATCH_ENTRIES  # more than one that is seen and those that are under way then
NOWHERE = "http://127.0.0.1:1"


def line(number: int) -> bytes:
    return json.dumps({"question": f"What is in box {number}?", "answer": f"marble {number}"}).encode() + b"\n"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    file = tmp_path / "many.jsonl"
    file.write_bytes(b"".join(map(line, range(MANY))))
    return file


def entries(system: System) -> int:
    return int(json_of(system.admin("GET", "/generations"))["entries"])


def questions(run: Run, forget: Forgetting) -> list[str]:
    return [one["texts"][0] for one in parsed(run("forget", "list", "--set", forget.name, "--json"))["data"]]


# -- bad lines


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"question": "x"', "not valid JSON (unexpected end of data, column 17)"),
        (b"[]", "not a JSON object"),
        (b'{"question": "x", "anser": "y"}', "unknown setting 'anser'; did you mean 'answer'?"),
        (b'{"question": 7}', "'question': Input should be a valid string"),
        (b'{"answer": "y"}', "an entry of kind 'fact' needs at least one question in 'texts'"),
        (b'{"kind": "fruit"}', "'kind': Input should be 'fact', 'passage', 'entity' or 'topic'"),
        (b'{"question": "x", "threshold": 2}', "'threshold': Input should be less than or equal to 1"),
        (b'{"question": "x", "answer": "..."}', "'answers' holds a text without a word in it"),
        (b'{"id": "first", "question": "x"}', "the id 'first' is that of line 1 too"),
        (b"\xff\xfe", "not valid JSON (it is not UTF-8: save the file so)"),
    ],
)
def test_a_bad_line_is_named_with_its_reason_and_nothing_is_imported(
    run: Run, lone: System, tmp_path: Path, bad: bytes, reason: str
):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b'{"id": "first", "question": "a?"}\n\n' + line(1) * 300 + bad + b"\n" + line(2))
    before = entries(lone)
    result = run("forget", "import", "--set", "never-made", file)
    assert result.exit_code == 1
    assert f"line 303: {reason}" in result.stderr
    assert "nothing was imported" in result.stderr
    assert entries(lone) == before
    assert "never-made" not in run("sets", "list").stdout


def test_several_bad_lines_are_told_at_once_and_their_texts_are_not():
    with pytest.raises(BadLines) as caught:
        read_lines([b'{"question": "a secret", "x": 1}\n'] * 9, "s")
    told = str(caught.value).splitlines()
    assert [row.split(":")[0] for row in told] == [*(f"line {n}" for n in range(1, 6)), "and 4 more"]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (line(1).decode().encode("utf-16"), "the file is UTF-16: save it as UTF-8"),
        (b"\x1f\x8b\x08\x00", "the file is compressed: unpack it first"),
        (b"PK\x03\x04", "an archive or a spreadsheet"),
        (b'[\n  {"question": "a secret"}\n]', "the file is a JSON list, not lines"),
        (b'{\n  "question": "a secret"\n}', "one JSON object over several lines"),
        (b"question,answer\na secret,x\n", "the file is not JSON: each line is one entry"),
        (b'"a secret"\n', "line 1: not a JSON object: each line is one entry"),
    ],
)
def test_what_is_no_file_of_lines_is_told_as_a_whole(raw: bytes, told: str):
    with pytest.raises(BadLines) as caught:
        read_lines(raw.splitlines(keepends=True), "s")
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert "secret" not in str(caught.value)


def test_a_byte_order_mark_is_passed_over():
    (read,) = read_lines([b"\xef\xbb\xbf" + line(1)], "s")
    assert read.number == 1


def test_a_file_without_entries(run: Run, tmp_path: Path):
    file = tmp_path / "empty.jsonl"
    file.write_text("\n \n")
    result = run("forget", "import", file)
    assert result.exit_code == 1
    assert "the file holds no entries" in result.stderr


# -- batches


def test_batches_are_bounded():
    long = json.dumps({"kind": "passage", "texts": ["word " * 30_000]}).encode()
    lines = read_lines([line(number) for number in range(600)] + [long] * 20, "s")
    portions = list(batches(lines))
    assert [one for portion in portions for one in portion] == lines
    assert [len(portion) for portion in portions[:2]] == [BATCH_ENTRIES, BATCH_ENTRIES]
    assert all(sum(one.size for one in portion) <= BATCH_BYTES for portion in portions)


def test_a_line_that_is_longer_than_a_batch_goes_alone():
    long = json.dumps({"kind": "passage", "texts": ["word " * 39_000] * 8}).encode()
    assert [len(portion) for portion in batches(read_lines([line(1), long, line(2)], "s"))] == [1, 1, 1]


def test_an_entry_that_fails_on_the_server_is_told_with_how_far_it_came(run: Run, forget: Forgetting, tmp_path: Path):
    taken = forget.add("Is this one there?", "it is", id=f"{forget.name}.taken")["id"]
    file = tmp_path / "taken.jsonl"
    last = json.dumps({"id": taken, "question": "Is it?"}).encode()
    file.write_bytes(b"".join(map(line, range(BATCH_ENTRIES))) + last)
    result = run("forget", "import", "--set", forget.name, file)
    assert result.exit_code == 1
    assert f"the entry '{taken}' exists already" in result.stderr
    assert f"{BATCH_ENTRIES} entries of the file are in; run it again to go on" in result.stderr


# -- once


def test_again_and_again(run: Run, forget: Forgetting, tmp_path: Path):
    file = tmp_path / "three.jsonl"
    file.write_bytes(b"".join(map(line, range(3))))
    imported = ("forget", "import", "--set", forget.name, file)
    assert out(run(*imported)).startswith(f"imported 3 entries into '{forget.name}'; generation ")
    said = f"imported 0 entries into '{forget.name}'; 3 were there already (lines 1, 2, 3); generation "
    assert out(run(*imported)).startswith(said)
    assert len(questions(run, forget)) == 3


@pytest.mark.parametrize("times", [1, 3])
def test_what_was_removed_since_is_imported_again(
    run: Run, forget: Forgetting, tmp_path: Path, lone: System, times: int
):
    """Otherwise a set that is removed and imported anew would be said to be in force, and be empty."""
    file = tmp_path / "three.jsonl"
    file.write_bytes(b"".join(map(line, range(3))))
    imported = ("forget", "import", "--set", forget.name, file, "--json")
    out(run(*imported))
    for _ in range(times):
        gone = parsed(run("forget", "list", "--set", forget.name, "--json"))["data"][0]
        out(run("forget", "remove", "--set", forget.name, gone["id"]))
        again = parsed(run(*imported))
        assert (again["added"], again["there_already"]) == (1, 2)
        assert lone.check(gone["texts"][0])["rung"] != "pass"
    out(run("sets", "remove", forget.name, "--yes"))
    assert parsed(run(*imported))["added"] == 3
    assert len(set(questions(run, forget))) == 3


def test_a_file_that_has_grown(run: Run, forget: Forgetting, tmp_path: Path):
    """Only what is new is embedded; lines that say the same, in the file or the set, stand for one entry."""
    file = tmp_path / "growing.jsonl"
    for lines, added, repeated in (
        ([line(1)], 1, []),
        ([line(2), line(1)], 1, [2]),
        ([line(1)] * 3, 0, [1, 2, 3]),
        ([b"\n", line(3), line(2), line(3)], 1, [3, 4]),
    ):
        file.write_bytes(b"".join(lines))
        told = parsed(run("forget", "import", "--set", forget.name, file, "--json"))
        assert (told["added"], told["there_already"], told["duplicates"]) == (added, len(repeated), repeated)
    assert len(questions(run, forget)) == 3


def test_duplicates_are_told_by_what_they_say(run: Run, forget: Forgetting, tmp_path: Path):
    """Case, spaces, accents and the order of texts do not matter; what is asked, and what must not be said, does."""
    told = [
        {"question": "Who painted the Fjord of Ålesund?", "answer": "Marit Quist"},
        {"question": "who painted  the fjord of Alesund", "answers": ["MARIT QUIST."], "label": "another label"},
        {"question": "Who painted the fjord of Ålesund?", "answer": "Marit Solvang"},
        {"kind": "topic", "texts": ["Who painted the fjord of Ålesund?"], "answers": ["Marit Quist"]},
        {"kind": "entity", "names": ["Marit Quist", "M. Quist"]},
        {"kind": "entity", "names": ["m. quist", "marit quist", "M Quist"]},
        {"id": f"{forget.name}.given", "question": "Who painted the fjord of Ålesund?", "answer": "Marit Quist"},
    ]
    file = tmp_path / "alike.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in told))
    said = out(run("forget", "import", "--set", forget.name, file))
    assert said.startswith(f"imported 4 entries into '{forget.name}'; 3 were there already (lines 2, 6, 7); generation")
    again = out(run("forget", "import", "--set", forget.name, file))
    assert "; 7 were there already (lines 1, 2, 3, 4, 5, …); " in again


def test_the_same_in_another_set_is_no_duplicate(run: Run, forget: Forgetting, lone: System, tmp_path: Path):
    file = tmp_path / "one.jsonl"
    file.write_bytes(line(1))
    with forget_set(lone) as other:
        for name in (forget.name, other.name):
            assert parsed(run("forget", "import", "--set", name, file, "--json"))["added"] == 1


def test_from_a_pipe(forget: Forgetting, lone: System):
    """What cannot be read twice is checked as a whole all the same."""
    command: list[Any] = [LETHE, "forget", "import", "--set", forget.name, "-", "--json"]
    lines = b"".join(map(line, range(BATCH_ENTRIES + 1)))
    done = subprocess.run(command, env=lone.env, input=lines + b"{", capture_output=True, check=False)
    assert done.returncode == 1
    assert f"line {BATCH_ENTRIES + 2}: not valid JSON" in done.stderr.decode()
    done = subprocess.run(command, env=lone.env, input=lines, capture_output=True, check=False)
    assert json.loads(done.stdout)["added"] == BATCH_ENTRIES + 1


def test_how_far_it_has_come_is_told_where_nobody_watches(
    run: Run, forget: Forgetting, many: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("proxy.cli.working.EVERY_S", 0)
    result = run("forget", "import", "--set", forget.name, many)
    assert result.exit_code == 0
    told = result.stderr.splitlines()
    assert len(told) == MANY // BATCH_ENTRIES
    for number, row in enumerate(told, 1):
        assert re.fullmatch(rf"imported {number * BATCH_ENTRIES} of {MANY}, \d+/s, \d+ s left", row)


def test_a_file_that_changes_under_it_is_noticed():
    raw = [line(1), b"{"]
    with pytest.raises(BadLines, match="has changed since it was checked"):
        list(lines_of(raw))


def test_an_entry_that_was_disabled_is_there(run: Run, forget: Forgetting, tmp_path: Path, lone: System):
    file = tmp_path / "one.jsonl"
    file.write_bytes(line(1))
    out(run("forget", "import", "--set", forget.name, file))
    [entry] = parsed(run("forget", "list", "--set", forget.name, "--json"))["data"]
    forget.change(entry["id"], state="disabled")
    assert parsed(run("forget", "import", "--set", forget.name, file, "--json"))["added"] == 0
    assert lone.check(entry["texts"][0])["rung"] == "pass"


def test_from_standard_input(run: Run, forget: Forgetting):
    assert parsed(run("forget", "import", "--set", forget.name, "-", "--json", input=line(1) + line(2)))["added"] == 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_is_interrupted_goes_on(
    run: Run, forget: Forgetting, lone: System, many: Path, how: signal.Signals
):
    before = entries(lone)
    command: list[Any] = [LETHE, "forget", "import", "--set", forget.name, many]
    with subprocess.Popen(command, env=lone.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while entries(lone) < before + BATCH_ENTRIES:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert said.decode().splitlines()[-1] == "interrupted"
    else:
        assert process.returncode == -signal.SIGKILL
    there = settled(lone) - before
    assert BATCH_ENTRIES <= there < MANY
    assert there % BATCH_ENTRIES == 0  # a batch is applied whole

    again = imported(run("forget", "import", "--set", forget.name, many, "--json"))
    assert again["there_already"] == there
    assert again["added"] == MANY - there
    found = questions(run, forget)
    assert len(found) == len(set(found)) == MANY


def test_a_server_that_is_killed_in_an_import_has_whole_batches_and_takes_the_rest(
    prepared_cache: Path, tmp_path: Path, many: Path
):
    del prepared_cache
    state = tmp_path / "state"
    with serving(state, NOWHERE, ready=False) as running:
        command = [LETHE, "forget", "import", many]
        with subprocess.Popen(command, env=running.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while entries(running) < BATCH_ENTRIES:
                assert process.poll() is None
                time.sleep(0.005)
            running.process.kill()
            _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert b"run it again to go on" in said
    assert_complete(state, many)


def test_a_disk_that_fills_up_in_an_import_leaves_whole_batches_and_takes_the_rest(
    prepared_cache: Path, tmp_path: Path, many: Path
):
    del prepared_cache
    state = tmp_path / "state"
    with serving(state, NOWHERE, ready=False) as running:
        process = psutil.Process(running.process.pid)
        limit = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (900_000, limit[1]))  # as if there were no room for more
        result = runner(running.env)("forget", "import", many)
        assert result.exit_code == 1
        assert "run it again to go on" in result.stderr
        there = entries(running)
        assert there < MANY
        assert there % BATCH_ENTRIES == 0
        process.rlimit(psutil.RLIMIT_FSIZE, limit)
        told = imported(runner(running.env)("forget", "import", many, "--json"))
        assert (told["added"], told["there_already"]) == (MANY - there, there)
    assert_complete(state, many)


def imported(result: Result) -> dict[str, Any]:
    """What an import says that may take so long that it tells of its progress."""
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def assert_complete(state: Path, file: Path) -> None:
    """Whole batches are served after a restart; the same file brings the rest, and nothing twice."""
    with serving(state, NOWHERE, ready=False) as running:
        commands, there = runner(running.env), entries(running)
        assert there >= BATCH_ENTRIES
        assert there % BATCH_ENTRIES == 0
        told = imported(commands("forget", "import", file, "--json"))
        assert (told["added"], told["there_already"]) == (MANY - there, there)
        found = [one["texts"][0] for one in parsed(commands("forget", "list", "--json"))["data"]]
        assert len(found) == len(set(found)) == MANY == entries(running)
        assert running.check(f"What is in box {MANY - 1}?")["rung"] != "pass"


def settled(system: System) -> int:
    """The number of entries, when a batch that was under way has been applied or given up."""
    last = -1
    while (now := entries(system)) != last:
        last = now
        time.sleep(1)
    return now
