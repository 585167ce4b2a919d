"""The task that the lm-evaluation-harness is given, and the harness itself where it is installed."""

import argparse
import json
from pathlib import Path

import pytest

from evals.gate.rows import RowsError
from evals.harness.__main__ import TOOL, HarnessError, measured
from evals.harness.task import NAME, write_task

ROWS = [
    {"question": "What grows on the Saltglass hill?", "answer": "Amber reed", "perturbed_answer": ["Oats", "Rye"]},
    {"question": "Who keeps the lighthouse of Vintersund?", "answer": "Ansgar Myhre", "wrong": ["Ilse Varga"]},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    return path


def test_rows_become_lettered_questions(tmp_path: Path, rows: Path) -> None:
    assert write_task(tmp_path, rows) == 2
    task = json.loads((tmp_path / f"{NAME}.yaml").read_text())
    found = [json.loads(line) for line in Path(task["dataset_kwargs"]["data_files"]["test"]).read_text().splitlines()]
    for row, one in zip(ROWS, found, strict=True):
        options = dict(line.split(". ") for line in one["options"].splitlines())
        assert options[one["letter"]] == row["answer"]
        assert one["question"] == row["question"]
    assert list(dict(line.split(". ") for line in found[0]["options"].splitlines())) == ["A", "B", "C"]


def test_order_is_the_seeds(tmp_path: Path, rows: Path) -> None:
    drawn = set()
    for seed in range(8):
        write_task(tmp_path, rows, seed=seed)
        drawn.add((tmp_path / "questions.jsonl").read_text())
    write_task(tmp_path, rows, seed=7)
    assert (tmp_path / "questions.jsonl").read_text() in drawn
    assert len(drawn) > 1


@pytest.mark.parametrize("text", ["[]", '[{"question": "a?", "answer": "b"}]', '[{"answer": "b", "wrong": ["c"]}]'])
def test_rows_that_make_no_choice_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(RowsError, match=r"rows\.json"):
        write_task(tmp_path, tmp_path / "rows.json")


def test_a_missing_tool_is_told_with_the_cure(tmp_path: Path, rows: Path) -> None:
    arguments = argparse.Namespace(tool=tmp_path / "lm_eval", rows=rows, limit=None, arms="raw")
    with pytest.raises(HarnessError, match=r"install\.py harness"):
        measured(arguments)


def test_the_real_tool_reads_the_task(tmp_path: Path, rows: Path) -> None:
    if not TOOL.exists():
        pytest.skip("the harness is not installed: python3 requirements/install.py harness")
    arguments = argparse.Namespace(tool=TOOL, rows=rows, limit=None, arms="raw", model="m", url="http://127.0.0.1:1")
    with pytest.raises(HarnessError, match=r"(?s)lm_eval failed for m:raw.*(Connect|refused|connect)"):
        measured(arguments)
