"""The preparation command: what it does with a cache in any state. The recipes are stand-ins; torch is not loaded."""

import dataclasses
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from guards.engine import cache, prepare


class StandIn:
    """A recipe's module that writes one file, or fails."""

    def __init__(self) -> None:
        self.written = 0
        self.error: BaseException | None = None

    def write(self, folder: Path, step: Callable[[], None]) -> None:
        step()
        (folder / "weights").write_bytes(b"w" * 100)
        if self.error:
            raise self.error
        self.written += 1


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    recipe = StandIn()
    module = types.ModuleType("stand_in_recipe")
    module.write = recipe.write
    monkeypatch.setitem(sys.modules, "stand_in_recipe", module)
    real = prepare.recipes

    def recipes(root: Path) -> tuple[prepare.Recipe, ...]:
        kept = dataclasses.replace(
            real(root)[0], module="stand_in_recipe", distribution="pytest", steps=("loading", "writing")
        )
        return (kept,)

    monkeypatch.setattr(prepare, "recipes", recipes)
    monkeypatch.setattr(prepare, "_quiet_libraries", lambda: None)
    return recipe


def run(root: Path, *options: str) -> int:
    return prepare.main(["--cache", str(root), *options])


def test_prepares_what_is_missing_and_then_leaves_it_alone(
    tmp_path: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
):
    assert run(tmp_path, "--json") == 0
    first = json.loads(capsys.readouterr().out)["folders"][0]
    assert (first["action"], first["size"], first["name"]) == ("prepared", 100, cache.MODEL)
    assert run(tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["folders"][0]["action"] == "ready"
    assert stand_in.written == 1


def test_elsewhere_than_on_a_terminal_it_prints_plain_lines(
    tmp_path: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
):
    run(tmp_path)
    assert capsys.readouterr().err.splitlines() == ["model: loading", "model: writing"]


def test_damage_is_named_and_mended(tmp_path: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]):
    run(tmp_path)
    weights = cache.model_folder(tmp_path) / "weights"
    weights.write_bytes(b"short")
    assert run(tmp_path, "--check") == 1
    assert f"{weights} has 5 bytes instead of 100" in capsys.readouterr().err
    assert run(tmp_path) == 0
    assert "preparing again" in capsys.readouterr().err
    assert stand_in.written == 2
    assert run(tmp_path, "--check", "--verify") == 0


def test_another_version_of_the_package_is_prepared_again(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
):
    run(tmp_path)
    monkeypatch.setattr(prepare.importlib.metadata, "version", lambda _: "99")
    assert run(tmp_path, "--check") == 1
    assert run(tmp_path) == 0
    assert stand_in.written == 2


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RuntimeError("it answers nonsense"), 1, "could not be prepared: it answers nonsense"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (KeyboardInterrupt(), 130, "nothing half done is left"),
    ],
)
def test_a_failure_is_told_and_leaves_nothing(
    tmp_path: Path,
    stand_in: StandIn,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    said: str,
):
    stand_in.error = error
    assert run(tmp_path) == status
    assert said in capsys.readouterr().err
    assert list((tmp_path / "models").iterdir()) == []
    stand_in.error = None
    assert run(tmp_path) == 0


def test_a_full_disk_is_told_before_anything_is_begun(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1e8))
    assert run(tmp_path) == 1
    assert "0.1 GB free" in capsys.readouterr().err
    assert stand_in.written == 0


def test_a_package_that_is_not_installed_is_told(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run(tmp_path)

    def missing(_: str) -> str:
        raise prepare.importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(prepare.importlib.metadata, "version", missing)
    assert run(tmp_path) == 1
    assert "make env" in capsys.readouterr().err
