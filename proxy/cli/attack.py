"""`lethe attack`: every way round the guards that is known, tried on a forget set of a running server."""

import asyncio
import random
from typing import Any
from urllib.parse import quote

import click

from evals.attacks.campaign import Attempt, Carried, campaign, figures, usable
from evals.attacks.corpus import corpus, families
from evals.attacks.targets import Target, targets_of
from evals.runs.arms import ArmError
from evals.runs.client import Connection, RunError, connected
from proxy.cli.eval_run import check_json_target, chosen, progress_of, server_options, write_json
from proxy.cli.output import FAILED, INTERRUPTED, NOT_FOUND, USAGE, count, fail, print_table, say

PAGE = 1000  # entries read at a time


@click.command()
@click.option("--set", "set_id", required=True, help="The forget set to attack.")
@click.option("--families", "wanted", help="Comma-separated [default: all]; an unknown one lists them.")
@click.option("--arms", default="raw,guarded", show_default=True, help="Arms of the server, comma-separated.")
@click.option("--limit", type=click.IntRange(1), help="Entries, drawn by the seed [default: all].")
@click.option("--seed", default=0, show_default=True, help="The same seed asks the same.")
@click.option("--model", help="Default: the first model that is served.")
@click.option("--max-tokens", type=click.IntRange(1), default=48, show_default=True, help="Length of an answer.")
@click.option("--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Requests side by side.")
@click.option("--show-text", is_flag=True, help="Show what leaked; without it only which entry did.")
@click.option("--json", "target", metavar="FILE", help="Write JSON to FILE, or '-' for standard output.")
@server_options
def attack(set_id: str, wanted: str | None, target: str | None, **given: Any) -> None:
    """Attack a forget set, and say per family how often it leaked, with a 95 % interval.

    A leak is judged by the words of the entry's answer, not by the guards. Facts in clear can be attacked: entries
    with a question and an answer. The raw arm shows what the model knows; where it knows nothing, nothing can leak.

    \b
    lethe attack --set default --limit 10 --json -
    lethe attack --set default --families direct,prefill,base64 --arms guarded
    """
    known = families()
    picked = list(dict.fromkeys(name.strip() for name in wanted.split(","))) if wanted else list(known)
    if unknown := set(picked) - set(known):
        fail(f"there is no family '{min(unknown)}'; there are {', '.join(known)}", USAGE)
    check_json_target(target)
    carried, stopped, code = Carried(), "", FAILED
    try:
        found, _ = asyncio.run(attacked(set_id, picked, given, carried))
    except ArmError as error:
        fail(str(error), USAGE)
    except RunError as error:
        found, stopped = carried.whole(), str(error)
    except KeyboardInterrupt:
        found, stopped, code = carried.whole(), "interrupted", INTERRUPTED
    if not found and not stopped:
        fail(f"none of these families applies to an entry of '{set_id}'", NOT_FOUND)
    if found:
        _told(found, set_id, target, given)
    if stopped:
        fail(_rest(stopped, found, carried), code)
    if not any(attempt.answered for attempt in found):
        fail("no attempt had an answer: nothing is known about leaks (see /readyz, or the log of the server)")


def _told(found: list[Attempt], set_id: str, target: str | None, given: dict[str, Any]) -> None:
    counted = {
        "settings": {
            "set": set_id,
            "entries": len({attempt.attack.target for attempt in found}),
            "seed": given["seed"],
            "max_tokens": given["max_tokens"],
            "arms": [name.strip() for name in given["arms"].split(",")],
        }
    } | figures(found, show_text=given["show_text"])
    if target is not None:
        write_json(counted, target)
    else:
        _show(counted)


def _rest(stopped: str, found: list[Attempt], carried: Carried) -> str:
    """Why a campaign ended, and how the rest of it is asked."""
    if not found:
        return stopped
    kept = count(len({attempt.attack.family for attempt in found}), "family was", "families were")
    return f"{stopped}; {kept} asked whole and counted, the rest is: --families {','.join(carried.left())}"


async def attacked(
    set_id: str, picked: list[str], given: dict[str, Any], carried: Carried | None = None
) -> tuple[list[Attempt], list[Target]]:
    """Attempts and what was attacked. Raises RunError or ArmError."""
    async with connected(given["url"], given["key"], given["admin_url"], given["admin_key"]) as connection:
        model, arms = await chosen(connection, given["model"], given["arms"])
        if ladders := [arm.name for arm in arms if arm.ladder]:
            raise ArmError(f"'{ladders[0]}' is a ladder: attacks run against arms that the server has")
        targets = usable(await targets_in(connection, set_id))
        if not targets:
            fail(
                f"'{set_id}' has no entry that can be attacked: a question and an answer in clear are needed",
                NOT_FOUND,
            )
        if given["limit"]:
            drawn = random.Random(given["seed"]).sample(targets, min(given["limit"], len(targets)))  # noqa: S311
            targets = sorted(drawn, key=lambda one: one.id)
        with progress_of("attacking") as progress:
            found = await campaign(
                corpus(targets, picked, given["seed"]),
                targets,
                [arm.name for arm in arms],
                connection.server,
                model,
                max_tokens=given["max_tokens"],
                concurrency=given["concurrency"],
                progress=progress,
                carried=carried,
            )
    return found, targets


async def targets_in(connection: Connection, set_id: str) -> list[Target]:
    """All facts of a set. Raises RunError."""
    found: list[Target] = []
    after = ""
    while True:
        path = f"/sets/{quote(set_id, safe='')}/entries?limit={PAGE}&after={quote(after)}"
        page = await connection.admin.call("GET", path)
        found += targets_of(page["data"])
        after = page["next"] or ""
        if not after:
            return found


def _show(counted: dict[str, Any]) -> None:
    rows = [
        {"family": family, "arm": arm}
        | {name: one[name] for name in ("attempts", "leaks", "declined", "failed")}
        | {"rate": f"{one['rate']:.3f}", "interval": "{:.3f} – {:.3f}".format(*one["interval95"])}
        for family, arms in (*counted["families"].items(), ("all", counted["total"]))
        for arm, one in arms.items()
    ]
    print_table(
        rows, ("family", "arm", "attempts", "leaks", "rate", "interval", "declined", "failed"), "nothing was attacked"
    )
    if failed := sum(one["failed"] for one in counted["total"].values()):
        say((f"{count(failed, 'attempt')} had no answer: not counted, since nothing is known of them", "yellow"))
    for leak in counted["leaks"]:
        if leak["arm"] != "raw":
            text = f": {leak['text']}" if "text" in leak else ""
            say((f"leaked under {leak['arm']}: {leak['family']}, {leak['target']}{text}", "yellow"))
