"""`lethe experiment`: divide traffic between arms, and see what can be said about them."""

from typing import Any
from urllib.parse import quote

import click

from proxy.cli.admin_client import EVERYWHERE, AdminClient, admin_options
from proxy.cli.output import count, json_option, print_json, print_table, say

BAR = 24  # characters of the scale from 0 to 1


@click.group()
def experiment() -> None:
    """Divide traffic between arms and compare them.

    An arm is `guarded`, `raw`, or a policy under `arms:` of the configuration. Requests that name an arm themselves
    stay out of it. One experiment runs at a time.

    \b
    lethe experiment start trial --arm guarded=9 --arm strict=1 --unit user
    lethe experiment report trial
    lethe experiment stop trial --reason "strict refuses too much"
    """


@experiment.command()
@click.argument("name")
@click.option("--arm", "arms", multiple=True, required=True, help="An arm and its weight, as guarded=9. Repeat it.")
@click.option("--control", default="guarded", show_default=True, help="The arm that others are compared with.")
@click.option("--unit", type=click.Choice(["key", "user", "session"]), default="key", show_default=True,
              help="What keeps its arm: an API key, its `user` field, or its `x-lethe-session` header.")  # fmt: skip
@click.option("--rail", "rails", multiple=True, help="Stop when crossed, as strict:refused=0.05. Repeat it.")
@click.option("--shadow", type=click.FloatRange(0, 1, min_open=True),
              help="Share of guarded requests that the raw arm answers too, unseen by clients.")  # fmt: skip
@click.option("--slow-after", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True,
              help="Seconds from which a request counts as slow.")  # fmt: skip
@admin_options
@json_option
def start(admin: AdminClient, name: str, as_json: bool, arms: tuple[str, ...], **given: Any) -> None:
    """Start the experiment NAME.

    \b
    lethe experiment start trial --arm guarded=9 --arm strict=1 --rail strict:refused=0.05
    """
    body = {
        "id": name,
        "arms": dict(_weight(arm) for arm in arms),
        "control": given["control"],
        "unit": given["unit"],
        "slow_after_s": given["slow_after"],
        "guard_rails": [_rail(rail) for rail in given["rails"]],
    }
    if given["shadow"]:
        body["shadow"] = {"share": given["shadow"]}
    reply = admin.call("POST", f"/admin/v1/experiments?{EVERYWHERE}", body)
    if as_json:
        print_json(reply)
    else:
        say(f"'{name}' runs; see it with: lethe experiment report {name}")


@experiment.command("list")
@admin_options
@json_option
def list_experiments(admin: AdminClient, as_json: bool) -> None:
    """List all experiments, the newest first."""
    reply = admin.call("GET", "/admin/v1/experiments")
    if as_json:
        print_json(reply)
        return
    rows = [row | {"arms": _arms(row["arms"])} for row in reply["data"]]
    columns = ("id", "state", "arms", "started_at", "stopped_at", "reason")
    print_table(rows, columns, "there are no experiments", texts=("reason",))


@experiment.command()
@click.argument("name")
@admin_options
@json_option
def report(admin: AdminClient, name: str, as_json: bool) -> None:
    """Show what NAME has found so far. Looking early, or often, makes no difference to what is true of it."""
    reply = admin.call("GET", _path(name))
    if as_json:
        print_json(reply)
        return
    end = f", stopped: {reply['reason']}" if reply["state"] == "stopped" else ""
    say((name, "bold"), f" {reply['state']} since {reply['started_at']}{end}")
    for arm, found in reply["arms"].items():
        say((f"\n{arm}", "bold"), f"  {count(found['units'], 'unit')}, {count(found['requests'], 'request')}")
        print_table([_row(metric, figures) for metric, figures in found["metrics"].items()], _COLUMNS, "")
    for arm, metrics in (reply["shadow"] or {}).items():
        say((f"\n{arm} beside raw", "bold"), "  the raw arm's answers to the same requests; no client saw them")
        print_table([_row(metric, figures) for metric, figures in metrics.items()], _COLUMNS, "")
    say(
        (
            f"\nIntervals hold with {reply['confidence']:.0%} at every look; they are of each unit's first request.",
            "dim",
        )
    )


@experiment.command()
@click.argument("name")
@click.option("--reason", default="stopped by an admin", show_default=True, help="Kept with the figures.")
@admin_options
@json_option
def stop(admin: AdminClient, name: str, as_json: bool, reason: str) -> None:
    """Stop NAME; everyone is guarded from the next request on."""
    reply = admin.call("POST", f"{_path(name)}:stop?{EVERYWHERE}", {"reason": reason})
    if as_json:
        print_json(reply)
    else:
        say(f"'{name}' is stopped")


@experiment.command()
@click.argument("name")
@click.confirmation_option(prompt="Forget the experiment and its figures?")
@admin_options
@json_option
def remove(admin: AdminClient, name: str, as_json: bool) -> None:
    """Forget NAME, which is stopped, and its figures."""
    reply = admin.call("DELETE", f"{_path(name)}?{EVERYWHERE}")
    if as_json:
        print_json(reply)
    else:
        say(f"'{name}' is gone")


_COLUMNS = ("metric", "n", "mean", "interval", "0 to 1", "than_control", "of_all_requests")


def _row(metric: str, figures: dict[str, Any]) -> dict[str, Any]:
    low, high, mean = figures["low"], figures["high"], figures["mean"]
    apart = figures.get("from_control")
    of_requests = figures.get("of_requests")
    return {
        "metric": metric,
        "n": figures["n"],
        "mean": None if mean is None else f"{mean:.3f}",
        "interval": f"{low:.3f} to {high:.3f}",
        "0 to 1": _bar(low, high, mean),
        "than_control": apart and f"{apart['verdict']} ({apart['low']:+.3f} to {apart['high']:+.3f})",
        "of_all_requests": None if of_requests is None else f"{of_requests:.3f}",
    }


def _bar(low: float, high: float, mean: float | None) -> str:
    """The interval on a scale of `BAR` characters."""
    marks = ["·"] * BAR
    for place in range(int(low * (BAR - 1)), round(high * (BAR - 1)) + 1):
        marks[place] = "─"
    if mean is not None:
        marks[round(mean * (BAR - 1))] = "●"
    return "".join(marks)


def _arms(arms: dict[str, float]) -> str:
    return ", ".join(f"{arm}={weight:g}" for arm, weight in arms.items())


def _path(name: str) -> str:
    return f"/admin/v1/experiments/{quote(name, safe='')}"


def _weight(given: str) -> tuple[str, float]:
    arm, _, weight = given.partition("=")
    return arm, _number(weight or "1", given)


def _rail(given: str) -> dict[str, Any]:
    where, _, limit = given.partition("=")
    arm, _, metric = where.partition(":")
    if not metric or not limit:
        raise click.BadParameter(f"'{given}' is not ARM:METRIC=LIMIT, such as strict:refused=0.05")
    return {"arm": arm, "metric": metric, "at_most": _number(limit, given)}


def _number(text: str, given: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"in '{given}', '{text}' is not a number") from None
