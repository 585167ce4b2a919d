"""The census: every route and request field of the pinned vLLM is decided, and one that is not is named."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evals.census.__main__ import SNAPSHOT, installed_surface, main
from evals.census.decided import compared
from guards.prompt.routes import ROUTES, Way
from guards.prompt.tables import TABLES
from proxy import client_api


@pytest.fixture
def surface() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SNAPSHOT.read_text("utf-8"))
    return copy.deepcopy(found)


def test_everything_that_was_recorded_is_decided(surface: dict[str, Any]) -> None:
    census = compared(surface)
    assert census.undecided == ()
    assert census.routes > 60
    assert census.fields > 200
    assert census.nested > 500


@pytest.mark.engine
def test_the_installed_vllm_is_the_recorded_one(surface: dict[str, Any], engine_python: Path) -> None:
    """An upgrade that adds a route or a field fails here, and is recorded and decided then."""
    assert installed_surface(engine_python) == surface


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s["routes"].append("POST /v1/oracle"), "route /v1/oracle"),
        (
            lambda s: s["fields"]["/v1/messages"].update(recall="text"),
            "field /v1/messages recall",
        ),
        (
            lambda s: s["fields"]["/v1/responses"].update({"reasoning.replay": "text"}),
            "field /v1/responses reasoning.replay",
        ),
        (
            lambda s: s["fields"]["/v1/chat/completions"].update({"seed.inner": "text"}),
            "field /v1/chat/completions seed.inner",
        ),
        (
            lambda s: s["kinds"]["/v1/responses"]["input[]"].append("hologram"),
            "kind /v1/responses input[] hologram",
        ),
        (lambda s: s["fields"].update({"/v1/new": {"prompt": "text"}}), "field /v1/new prompt"),
    ],
)
def test_what_nobody_decided_is_named(surface: dict[str, Any], change: Any, named: str) -> None:
    change(surface)
    assert compared(surface).undecided == (named,)


def test_what_is_inside_a_field_that_is_scanned_or_not_passed_on_needs_no_row(surface: dict[str, Any]) -> None:
    surface["fields"]["/v1/messages"].update(
        {"messages[].new": "text", "vllm_xargs.new": "text", "container.x": "text"}
    )
    assert compared(surface).undecided == ()


def test_tables_and_routes_of_the_server_agree() -> None:
    passed_on = {path for path, (way, _) in ROUTES.items() if way in (Way.GUARDED, Way.CHECKED)}
    assert passed_on == set(TABLES)
    served = {route.path for route in client_api.routes()}
    assert {path for path, (way, _) in ROUTES.items() if way is not Way.CLOSED} <= served
    assert not {path for path, (way, _) in ROUTES.items() if way is Way.CLOSED} & served


def test_it_is_a_command(tmp_path: Path) -> None:
    target = tmp_path / "census.json"
    done = CliRunner().invoke(main, ["--recorded", "--json", str(target)])
    assert done.exit_code == 0, done.output
    assert "undecided: 0" in done.output
    figures = json.loads(target.read_text("utf-8"))
    assert figures["undecided"] == []
    assert figures["decided"] == sum(figures["found"].values())
    assert json.loads(CliRunner().invoke(main, ["--recorded", "--json", "-"]).output) == figures
