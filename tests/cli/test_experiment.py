"""`lethe experiment`: a life from start to removal, and mistakes on the way."""

import pytest

from tests.cli.conftest import Run, out, parsed


def test_life_of_an_experiment(run: Run):
    assert out(run("experiment", "list")) == "there are no experiments\n"
    said = out(run("experiment", "start", "trial", "--arm", "guarded=3", "--arm", "raw", "--rail", "raw:failed=0.5"))
    assert said == "'trial' runs; see it with: lethe experiment report trial\n"
    assert parsed(run("experiment", "list", "--json"))["data"][0]["arms"] == {"guarded": 3, "raw": 1}
    assert "guarded=3, raw=1" in out(run("experiment", "list"))
    said = out(run("experiment", "report", "trial"))
    assert said.startswith("trial running since ")
    assert "raw  0 units, 0 requests" in said
    assert "not known (-1.000 to +1.000)" in said
    figures = parsed(run("experiment", "report", "trial", "--json"))
    assert figures["experiment"]["guard_rails"] == [{"arm": "raw", "metric": "failed", "at_most": 0.5}]
    assert out(run("experiment", "stop", "trial", "--reason", "seen enough")) == "'trial' is stopped\n"
    assert "stopped: seen enough" in out(run("experiment", "report", "trial"))
    assert out(run("experiment", "remove", "trial", "--yes")) == "'trial' is gone\n"
    assert run("experiment", "report", "trial").exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--arm", "guarded=much"), "'much' is not a number"),
        (("--arm", "guarded", "--rail", "guarded=1"), "is not ARM:METRIC=LIMIT"),
        (("--arm", "guarded", "--arm", "other"), "there is no arm 'other'"),
        (("--arm", "guarded", "--rail", "guarded:speed=0.5"), "metric"),
    ],
)
def test_mistakes_are_told(run: Run, arguments: tuple[str, ...], says: str):
    result = run("experiment", "start", "trial", *arguments)
    assert result.exit_code in (1, 2)
    assert says in result.stderr
