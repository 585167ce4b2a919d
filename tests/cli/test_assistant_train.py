"""`lethe assistant train`: which rows of a set reach the training, and what of the command line does."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import Result

from proxy.cli.assistant_train import forget_rows
from proxy.cli.output import FAILED, USAGE
from tests.cli.conftest import Run
from tests.clients.system import Forgetting, System, json_of

FAKE = """\
#!{python}
# The engine's Python as far as the command sees it: has vLLM, and says what the training would have been told.
import json, os, sys
arguments = sys.argv[1:]
if arguments[0] == "-c":
    sys.exit(0)
options = dict(zip(arguments[2::2], arguments[3::2]))
read = lambda name: [json.loads(line) for line in open(options[name])] if name in options else None
mode = os.stat(options["--forget"]).st_mode
said = {{"module": arguments[1], "arguments": arguments, "forget": read("--forget"), "questions": read("--questions")}}
print(json.dumps(said | {{"mode": mode}}))
sys.exit(int(os.environ.get("LETHE_TEST_STATUS", 0)))
"""


@pytest.fixture
def engine_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import sys

    path = tmp_path / "python"
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o755)
    return path


def told(result: Result, capfd: pytest.CaptureFixture[str]) -> dict:
    assert result.exit_code == 0, result.output
    return json.loads(capfd.readouterr().out)


def test_a_set_trains_what_it_holds(
    run: Run, forget: Forgetting, lone: System, engine_python: Path, capfd: pytest.CaptureFixture[str]
):
    forget.add("Who wrote The Saltglass Orchard?", "Orlin Tavaresque")
    forget.add("Who painted it?", "Somebody", state="observe")
    json_of(lone.admin("PATCH", f"/sets/{forget.name}", {"retain": ["Who wrote Hamlet?"]}))
    env = {"LETHE_ENGINE_PYTHON": str(engine_python)}
    said = told(run("assistant", "train", "--set", forget.name, "--objective", "uld", env=env), capfd)
    assert said["module"] == "guards.engine.training"
    assert said["forget"] == [{"question": "Who wrote The Saltglass Orchard?", "answer": "Orlin Tavaresque"}]
    assert said["questions"] == [{"question": "Who wrote Hamlet?"}]
    assert not stat.S_IMODE(said["mode"]) & 0o077  # forget text: nobody else may read it
    arguments = said["arguments"]
    assert arguments[arguments.index("--name") + 1] == forget.name
    assert arguments[arguments.index("--objective") + 1] == "uld"
    assert "--json" not in arguments
    assert not Path(arguments[arguments.index("--forget") + 1]).exists()  # and it does not stay


def test_options_reach_the_training_under_their_names(
    run: Run, engine_python: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "q", "answer": "a"}\n')
    given = ["--forget", rows, "--retain", rows, "--retain", rows, "--steps", "50", "--steps", "forget=20"]
    given += ["--learning-rate", "0.001", "--filter-rate", "0", "--name", "authors", "--combine", "rank", "--k", "20"]
    env = {"LETHE_ENGINE_PYTHON": str(engine_python)}
    arguments = told(run("assistant", "train", *given, "--json", env=env), capfd)["arguments"]
    pairs = list(zip(arguments[2:-1:2], arguments[3::2], strict=True))
    for flag, value in zip(given[::2], given[1::2], strict=True):
        assert (flag, str(value)) in [
            (name, text.replace("0.0", "0") if name == "--filter-rate" else text) for name, text in pairs
        ]
    assert arguments[-1] == "--json"
    assert arguments.count("--retain") == 2


def test_its_exit_status_is_the_trainings(
    run: Run, engine_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "q", "answer": "a"}\n')
    env = {"LETHE_ENGINE_PYTHON": str(engine_python), "LETHE_TEST_STATUS": "130"}
    assert run("assistant", "train", "--forget", rows, "--name", "a", env=env).exit_code == 130


def test_what_is_missing_is_named(run: Run, forget: Forgetting, tmp_path: Path):
    nothing = run("assistant", "train", "--name", "a")
    assert nothing.exit_code == USAGE
    assert "--set or --forget" in nothing.stderr
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}")
    assert "--name" in run("assistant", "train", "--forget", rows).stderr
    no_engine = run("assistant", "train", "--set", forget.name, env={"LETHE_ENGINE_PYTHON": str(tmp_path / "none")})
    assert no_engine.exit_code == FAILED
    assert "make env" in no_engine.stderr


def test_a_set_without_answers_has_nothing_to_train_from(run: Run, forget: Forgetting, engine_python: Path):
    json_of(forget.system.admin("POST", forget.entries, {"kind": "entity", "names": ["Orlin Tavaresque"]}))
    result = run("assistant", "train", "--set", forget.name, env={"LETHE_ENGINE_PYTHON": str(engine_python)})
    assert result.exit_code == FAILED
    assert "no active entry with a question and an answer" in result.stderr


def entry(kind: str, *, texts: tuple[str, ...] = (), answers: tuple[str, ...] = (), state: str = "active") -> dict:
    return {"kind": kind, "texts": list(texts), "answers": list(answers), "state": state}


def test_entries_become_questions_with_answers():
    rows, idle = forget_rows(
        [
            entry("fact", texts=("q1", "q2"), answers=("a1", "a2")),
            entry("fact", texts=("q3",), answers=("a3",), state="disabled"),
            entry("fact", texts=("q4",)),
            entry("passage", texts=("one two three four five six seven", "short")),
            entry("entity"),
        ]
    )
    assert [(row["question"], row["answer"]) for row in rows] == [
        ("q1", "a1"),
        ("q1", "a2"),
        ("q2", "a1"),
        ("q2", "a2"),
        ("one two", "three four five six seven"),
    ]
    assert idle == 2
