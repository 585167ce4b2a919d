"""`lethe eval gate`: reading rows, variants, intervals, and detection on TOFU where the data is present."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from evals.gate.measure import GateUnderTest
from evals.gate.rows import RowsError, Source, rows
from evals.gate.variants import families, variants_of
from evals.metrics.intervals import wilson
from indexes.embedder import EmbedderError, OnnxEmbedder
from proxy.cli.evaluate import evaluate
from proxy.config import load
from tests.fakes.embedder import BagEmbedder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TOFU, LANGUAGES = DATA / "tofu", DATA / "tofu_multilingual"
FACTS = [("Where was Ilse Varga born?", "Graz"), ("What did Ilse Varga paint?", "clocks")]


# -- rows


@pytest.mark.parametrize("text", ['[{"question": "a"}, {"question": "b"}]', '{"question": "a"}\n\n{"question": "b"}\n'])
def test_rows_are_a_list_or_lines(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows").write_text(text)
    assert Source.parse(f"name={tmp_path / 'rows'}").texts() == ["a", "b"]


def test_a_source_may_name_its_field(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('[{"question": "a", "other": "b"}]')
    assert Source.parse(f"x={tmp_path / 'rows.json'}#other").texts() == ["b"]
    assert Source.parse(str(tmp_path / "rows.json")) == Source("rows", tmp_path / "rows.json")


@pytest.mark.parametrize("text", ["", "[]", "nothing", '["a"]', '[{"answer": 1}]'])
def test_what_is_no_row_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(RowsError, match=r"rows\.json"):
        Source("x", tmp_path / "rows.json").texts()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match="gone"):
        rows(tmp_path / "gone")


ROW = b'{"question": "Who?", "answer": "A"}'


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "holds no rows: write one JSON object a line"),
        (b"question,answer\nWho?,A\n", "is not JSON: write one JSON object a line"),
        (ROW.decode().encode("utf-16"), "is UTF-16: rows are read from text in UTF-8"),
        ('{"question": "Müller?"}'.encode("latin-1"), "is not UTF-8 \\(byte 16\\)"),
        (ROW + b'\n{"question": \n', "line 2 is no JSON: Expecting value"),
        (b'{\n"data": [{"question": "Who?"}],\n"more": 1}', "one JSON object, not rows: save the list in 'data' alone"),
        (b'"Who?"\n', "row 1 is no JSON object"),
        (b"[" * 100_000, "no whole JSON list: nested too deeply"),
        (b'[{"question": "Who?"}', "no whole JSON list"),
        (b'{"prompt": "Who?", "response": "A", "n": 1}', "no text in 'question'; it has 'prompt', 'response': name"),
        (b'{"n": 1}', "no text in 'question'; it has no text at all"),
        (b'{"question": "Who \\ud800?"}', "half of a character in 'question'"),
        (b'{"question": "Who?", "answer": ["A", "B"]}', "no text in 'answer' but list"),
        (json.dumps({"question": "x" * 200_001}).encode(), "200,001 characters in 'question'"),
    ],
)
def test_first_mistakes_are_told_with_their_cure(tmp_path: Path, raw: bytes, told: str) -> None:
    (tmp_path / "rows").write_bytes(raw)
    with pytest.raises(RowsError, match=told) as found:
        Source("x", tmp_path / "rows").facts()
    assert "Who" not in str(found.value)  # what is to be forgotten is not shown


def test_what_is_meant_well_is_read(tmp_path: Path) -> None:
    odd = tmp_path / "a=b#c.jsonl"
    odd.write_bytes(b"\xef\xbb\xbf" + ROW + b"\r\n\r\n" + '{"question": "Who\u2028?", "answer": 0}'.encode())
    assert Source.parse(str(odd)).facts() == [("Who?", "A"), ("Who\u2028?", "0")]
    assert Source.parse(f"{odd}").name == "a=b#c"
    (tmp_path / "other.json").write_text('[{"prompt": "Who?", "answer": null}]')
    assert Source.parse(f"{tmp_path / 'other.json'}#prompt").facts() == [("Who?", "")]


def test_a_folder_is_no_file_of_rows(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match="cannot be read: Is a directory"):
        rows(tmp_path)


# -- variants


@pytest.mark.parametrize("name", families())
def test_variants_are_the_same_for_the_same_seed(name: str) -> None:
    texts = [question for question, _ in FACTS]
    family = families()[name]
    assert variants_of(texts, family, 1) == variants_of(texts, family, 1)
    assert variants_of(texts, family, 1) != texts


# -- the command


def test_the_command_measures_and_fails_with_a_reason(tmp_path: Path) -> None:
    good = tmp_path / "rows.json"
    good.write_text(json.dumps([{"question": q, "answer": a} for q, a in FACTS]))
    _shipped()
    ran = CliRunner().invoke(evaluate, ["gate", "--forget", str(good), "--positive", f"same={good}", "--json", "-"])
    figures = json.loads(ran.stdout)
    assert figures["settings"]["entries"] == 2
    assert [(s["name"], s["share"]) for s in figures["sets"]] == [("same", 1.0)]
    wrong = CliRunner().invoke(evaluate, ["gate", "--forget", str(tmp_path / "gone")])
    assert wrong.exit_code == 2


def test_retain_examples_pass() -> None:
    gate = GateUnderTest(BagEmbedder())
    gate.retain(["Where was Ilse Varga born?"])
    gate.forget(FACTS)
    assert gate.measure("kept", ["Where was Ilse Varga born?"], expected=False).flagged == 0
    assert gate.measure("found", ["What did Ilse Varga paint?"], expected=True).flagged == 1


# -- detection, as it is promised


def _shipped() -> OnnxEmbedder:
    try:
        return OnnxEmbedder(load(None).embedder_path, threads=2)
    except EmbedderError as error:
        pytest.skip(f"no embedder: {error}")


@pytest.fixture(scope="module")
def tofu() -> GateUnderTest:
    if not TOFU.exists():
        pytest.skip("TOFU is not beside the repository (../shared/data/tofu)")
    gate = GateUnderTest(_shipped())
    gate.retain([])
    gate.forget([(row["question"], row["answer"]) for row in rows(TOFU / "forget05.json")])
    return gate


def found(gate: GateUnderTest, texts: Sequence[str], promised: float) -> None:
    """Fails when the share that is flagged contradicts the promise at 95 %.

    A few rows cannot show a share, and one of them may lie on the other side of the threshold on another processor.
    """
    outcome = gate.measure("set", texts, expected=True)
    assert wilson(outcome.flagged, outcome.n)[1] >= promised, outcome.mistakes


def passed(gate: GateUnderTest, texts: Sequence[str], promised: float = 0.005) -> None:
    """Fails when the share of false alarms contradicts the promise at 95 %."""
    outcome = gate.measure("set", texts, expected=False)
    assert wilson(outcome.flagged, outcome.n)[0] <= promised, outcome.mistakes


def read(path: Path, field: str = "question", step: int = 1) -> list[str]:
    return Source("", path, field).texts()[::step]


def test_paraphrases_are_found(tofu: GateUnderTest) -> None:
    path = TOFU / "forget05_perturbed.json"
    found(tofu, read(path, "paraphrased_question", step=2), 0.995)


@pytest.mark.parametrize(
    ("language", "at_least"), [("fr", 0.97), ("ko", 0.95), ("ru", 0.85), ("ar", 0.85), ("hi", 0.85)]
)
def test_other_languages_are_found(tofu: GateUnderTest, language: str, at_least: float) -> None:
    found(tofu, read(LANGUAGES / f"forget01_{language}.jsonl"), at_least)
    passed(tofu, read(LANGUAGES / f"retain_perturbed_{language}.jsonl", step=8))


@pytest.mark.parametrize("family", families())
def test_variants_are_found(tofu: GateUnderTest, family: str) -> None:
    misspelt = (
        family == "typos"
    )  # every row has other slips: that needs more rows than a change that is always the same
    texts = read(TOFU / "forget05_perturbed.json", "paraphrased_question", step=2 if misspelt else 10)
    found(tofu, variants_of(texts, families()[family], 0), 0.97)


@pytest.mark.parametrize(
    ("file", "step"), [("retain_first80_authors.json", 7), ("real_authors.json", 1), ("world_facts.json", 1)]
)
def test_what_is_kept_passes(tofu: GateUnderTest, file: str, step: int) -> None:
    passed(tofu, read(TOFU / file, step=step))
