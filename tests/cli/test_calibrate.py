"""`lethe calibrate` against a running server."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, out, parsed
from tests.clients.system import Forgetting, System, json_of

QUESTIONS = (
    "Where did the clockmaker Ilse Varga learn her trade?",
    "Which prize did the painter Orlin Tavaresque win in 1987?",
    "What is the last novel of Mirela Dostoy about?",
)
KEPT = (
    "How long should I boil an egg?",
    "Which planet is the largest in the solar system?",
    "Where can I learn to repair clocks?",
    "Who won the prize for painting last year?",
)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept.jsonl"
    path.write_text("".join(json.dumps({"question": text}) + "\n" for text in KEPT))
    return path


def test_it_proposes_shows_and_applies(run: Run, forget: Forgetting, lone: System, kept: Path, tmp_path: Path):
    for question in QUESTIONS:
        forget.add(question, "somebody")
    folder = tmp_path / "report"
    reply = parsed(run("calibrate", "--set", forget.name, "--retain", kept, "--report", folder, "--json"))
    chosen = reply["proposed"]
    assert chosen["fpr"] == 0
    assert chosen["tpr"] > 0.9
    assert reply["now"]["threshold"] == 0.75
    assert reply["applied"] is False
    assert "threshold" not in json_of(lone.admin("GET", f"/sets/{forget.name}"))["policy"]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "Varga" not in (folder / "report.html").read_text()

    said = out(run("calibrate", "--set", forget.name, "--retain", kept, "--apply"))
    assert "proposed" in said
    assert f"applied to {forget.name}" in said
    policy = json_of(lone.admin("GET", f"/sets/{forget.name}"))["policy"]
    assert policy["threshold"] == chosen["threshold"]
    assert policy["margin"] == chosen["margin"]


def test_it_says_what_is_lacking(run: Run, forget: Forgetting, kept: Path, tmp_path: Path):
    empty = run("calibrate", "--set", forget.name, "--retain", kept)
    assert empty.exit_code == 2
    assert "--forget" in empty.stderr
    forget.add(QUESTIONS[0], "somebody")
    unsaid = run("calibrate", "--set", forget.name)
    assert unsaid.exit_code == 2
    assert "--retain" in unsaid.stderr
    gone = run("calibrate", "--set", forget.name, "--retain", tmp_path / "gone")
    assert gone.exit_code == 2
    unknown = run("calibrate", "--set", "nobody-has-this", "--retain", kept)
    assert unknown.exit_code == 5


def test_where_no_setting_will_do_it_fails_with_the_curve(run: Run, forget: Forgetting, tmp_path: Path):
    forget.add(QUESTIONS[0], "somebody")
    same = tmp_path / "same.jsonl"
    same.write_text(json.dumps({"question": QUESTIONS[0]}))
    failed = run("calibrate", "--set", forget.name, "--retain", same, "--target-fpr", "0", "--apply")
    assert failed.exit_code == 1
    assert "--target-fpr" in failed.stderr
    assert "worst false alarms" in failed.stdout
    assert QUESTIONS[0] not in failed.stdout
    shown = run("calibrate", "--set", forget.name, "--retain", same, "--target-fpr", "0", "--show-text")
    assert QUESTIONS[0] in shown.stdout
