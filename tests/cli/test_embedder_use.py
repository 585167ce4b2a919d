"""`lethe embedder use` and `show`: two real embedders, real processes, one of them killed on the way."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from proxy.config import Config
from tests.cli.conftest import out, parsed, runner
from tests.cli.test_workers import metric, until, workers
from tests.clients.system import System, forget_set, json_of, serving

NOWHERE = "http://127.0.0.1:1"
ENTRIES = 450  # three pages of what a change keeps at a time


@pytest.fixture(scope="module")
def other(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared embedder, made into another one: it reads every text behind a prefix, so its vectors are others."""
    del prepared_cache
    folder = tmp_path_factory.mktemp("embedders") / "other"
    shutil.copytree(Config().embedder_path, folder)
    (folder / "manifest.json").unlink()
    card = json.loads((folder / "embedder.json").read_text())
    (folder / "embedder.json").write_text(json.dumps(card | {"name": "other", "prefix_query": "query: "}))
    return folder


@pytest.fixture(scope="module")
def alone(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    del prepared_cache
    with serving(tmp_path_factory.mktemp("alone"), NOWHERE, ready=False) as running:
        yield running


def shown(running: System) -> Any:
    return json_of(running.admin("GET", "/embedder"))


def near(running: System, text: str) -> bool:
    return bool(json_of(running.admin("POST", "/check", {"text": text}))["rung"] != "pass")


def test_a_change_is_followed_to_its_end(alone: System, other: Path) -> None:
    run = runner(alone.env)
    with forget_set(alone) as forget:
        out(run("forget", "add", "--set", forget.name, "-q", "Who painted the harbour mural in Eskelund?"))
        told = parsed(run("embedder", "use", other, "--json"))
        assert (told["stage"], told["embedder"].split(":")[0], told["dimensions"]) == ("in force", "other", 384)
        assert "lethe calibrate" in told["advice"]
        assert f"(path {other})" in out(run("embedder", "show"))
        assert near(alone, "Who painted the harbour mural in Eskelund?")
        assert not near(alone, "How many days are there in a week?")
        said = out(run("embedder", "use", "--configured"))
        assert "in force: all-minilm-l6-v2" in said
        assert "lethe calibrate" in said
        assert near(alone, "Who painted the harbour mural in Eskelund?")


def test_what_cannot_be_used_is_told(alone: System, tmp_path: Path) -> None:
    run = runner(alone.env)
    failed = run("embedder", "use", tmp_path)
    assert failed.exit_code == 1
    assert "no embedder in" in failed.stderr
    assert "nothing was changed" in failed.stderr
    failed = run("embedder", "use")
    assert failed.exit_code == 2
    assert "give a PATH" in failed.stderr


def test_a_server_that_is_killed_on_the_way_goes_on_when_it_is_started_again(other: Path, tmp_path: Path) -> None:
    lines = tmp_path / "entries.jsonl"
    lines.write_text(
        "".join(
            json.dumps({"question": f"Who lives in box {number} of row {number % 7}?", "answer": f"marble {number}"})
            + "\n"
            for number in range(ENTRIES)
        )
    )
    with serving(tmp_path / "state", NOWHERE, ready=False) as running:
        run = runner(running.env)
        out(run("sets", "add", "boxes"))
        parsed(run("forget", "import", "--set", "boxes", "--json", lines))
        began = parsed(run("embedder", "use", other, "--no-wait", "--json"))
        assert began["stage"] == "embedding"

        def some_are_kept() -> bool:
            found = shown(running)
            assert found["stage"] == "embedding", "it must be killed on the way"
            return 0 < found["progress"]["entries"] < ENTRIES

        until(some_are_kept, "a page is kept")
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    with serving(tmp_path / "state", NOWHERE, ready=False) as running:
        assert near(running, "Who lives in box 17 of row 3?")
        until(lambda: shown(running)["stage"] == "in force", "the change goes on")
        assert shown(running)["embedder"].startswith("other:")
        assert near(running, "Who lives in box 17 of row 3?")
        swapped = [line for line in running.log() if line["event"] == "embedder_swapped"]
        assert 0 < swapped[0]["embedded"] < ENTRIES  # what was kept is not made again


def test_workers_change_together_also_one_that_is_started_anew(
    other: Path, tmp_path: Path, prepared_cache: Path
) -> None:
    with serving(tmp_path / "state", NOWHERE, "--workers", "2", ready=False) as crew, forget_set(crew) as forget:
        run = runner(crew.env)
        out(run("forget", "add", "--set", forget.name, "-q", "Who painted the harbour mural in Eskelund?"))
        reply = crew.admin("PUT", "/embedder?wait=applied&timeout_s=60", {"path": str(other)})
        assert (reply.status_code, json_of(reply)["applied"]) == (200, True)
        swaps: Callable[[], list[Any]] = lambda: [line for line in crew.log() if line["event"] == "embedder_swapped"]  # noqa: E731
        assert len(swaps()) == 2
        until(lambda: metric(crew, "lethe_embedder_changing") == {"0": 0, "1": 0}, "nobody is on the way any more")
        killed = workers(crew)[1]
        killed.kill()
        psutil.wait_procs([killed], timeout=30)
        until(lambda: len(metric(crew, "lethe_entries")) == 2, "it is started again")
        out(run("forget", "add", "--set", forget.name, "-q", "Which ship sank first?"))  # waits until both enforce it
        assert near(crew, "Which ship sank first?")
        assert len(swaps()) == 2  # the new worker began with the chosen embedder
