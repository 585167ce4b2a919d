"""What the documents tell a reader to type is typed here, against a server as users run it before the real engine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.system import LETHE, System, serving
from tests.conftest import RealEngine

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    "lethe assistant load": "needs an engine with slots and a trained assistant; tests/cli/test_assistant.py runs each",
    "lethe assistant train": "minutes of training; tests/engine trains tiny models by the same command",
    "python -m guards.engine.merge": "needs an adapter from elsewhere; tests/engine merges a tiny one",
    "python3 requirements/install.py harness": "70 packages of a tool; tests/evals/test_harness.py makes its task",
    "lethe embedder use": "needs a second embedder; tests/cli/test_embedder_use.py changes to one and back",
    "lethe ledger": "the ledger is in the state folder of the server of these tests; tests/cli runs each of these",
    "make up": "set-up itself: `make test` has done all of it but the last step, which tests/cli runs as `lethe up`",
    "lethe keys create": "a client key would close the server for the tests beside; tests/cli runs each of these",
}
"""First words of blocks that are not run, and why."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str
    marked: bool

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def _blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        for match in re.finditer(r"(<!-- run -->\n)?^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            yield Block(document, text[: match.start()].count("\n") + 1, match[2], match[3], bool(match[1]))


BLOCKS = list(_blocks())


@pytest.fixture(scope="session")
def system(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Lethe before the real engine, as after `make up`."""
    with serving(tmp_path_factory.mktemp("docs"), real_engine.base_url, model=real_engine.model) as running:
        yield running


def _run(block: Block, system: System, folder: Path) -> str:
    text = block.text.replace("http://127.0.0.1:8080", system.client_url)
    text = text.replace("http://127.0.0.1:8081", system.admin_url).replace(".venv/bin/lethe", "lethe")
    command = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", text]
    env = system.env | {"PATH": f"{LETHE.parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
    return done.stdout


def marked(document: Path) -> list[Block]:
    return [block for block in BLOCKS if block.document == document and block.marked]


@pytest.mark.engine
def test_the_first_steps_do_what_the_readme_says(system: System, tmp_path: Path) -> None:
    ask, forget, look, stream = marked(ROOT / "README.md")
    assert "The capital of France is Paris." in _run(ask, system, tmp_path)
    assert "added fe_" in _run(forget, system, tmp_path)
    assert "Paris" not in _run(ask, system, tmp_path)
    near, unrelated, why = re.split(r"^(?=raw  |instruct: )", _run(look, system, tmp_path), flags=re.MULTILINE)[1:]
    raw, guarded = near.split("\nguarded  ")
    assert "Paris" in raw
    assert "Paris" not in guarded
    assert unrelated.endswith("\nthe same, to the letter\n")
    assert "embedding" in why
    assert _run(stream, system, tmp_path).strip()


@pytest.mark.engine
@pytest.mark.parametrize(
    "document", [page for page in DOCUMENTS if marked(page) and page.name != "README.md"], ids=lambda path: path.name
)
def test_a_document_can_be_followed_from_top_to_bottom(document: Path, system: System, tmp_path: Path) -> None:
    for block in marked(document):
        _run(block, system, tmp_path)
    if document.name == "operating.md":  # exported, removed, imported: they are in force
        for text in ("Tell me about Orlin Tavaresque", "Who wrote The Saltglass Orchard?"):
            assert system.check(text)["rung"] == "instruct"


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language in ("sh", "bash", "python") and not b.marked], ids=str
)
def test_a_command_that_is_not_run_says_why(block: Block) -> None:
    assert any(block.text.strip().startswith(first) for first in NOT_RUN)


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "reference.py", "--check"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_marks_stand_right_before_blocks() -> None:
    """A mark that does not would run nothing."""
    for document in DOCUMENTS:
        assert document.read_text("utf-8").count("<!-- run -->") == len(marked(document)), document
