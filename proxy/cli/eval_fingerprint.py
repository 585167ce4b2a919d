"""`lethe eval fingerprint`: whether refusals can be told from what the model says when it does not know."""

import asyncio
import random
from typing import Any

import click

from evals.gate.rows import RowsError, Source
from evals.runs.arms import ArmError
from evals.runs.client import RunError, connected
from evals.runs.fingerprint import Asked, ask_both, questions_about_nobody, told_apart
from proxy.cli.attack import targets_in
from proxy.cli.eval_run import check_json_target, chosen, progress_of, server_options, write_json
from proxy.cli.output import NOT_FOUND, USAGE, fail, say


@click.command()
@click.option("--set", "set_id", required=True, help="The forget set whose questions are asked.")
@click.option("--unknown", metavar="FILE", help="FILE or FILE#field of questions that the model cannot answer.")
@click.option("--arm", default="guarded", show_default=True, help="The arm whose refusals are looked at.")
@click.option("--limit", type=click.IntRange(5), default=60, show_default=True, help="Questions of each kind.")
@click.option("--seed", default=0, show_default=True, help="The same seed asks the same.")
@click.option("--model", help="Default: the first model that is served.")
@click.option("--max-tokens", type=click.IntRange(1), default=48, show_default=True, help="Length of an answer.")
@click.option("--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Requests side by side.")
@click.option("--show-text", is_flag=True, help="Put questions and answers into the JSON.")
@click.option("--json", "target", metavar="FILE", help="Write JSON to FILE, or '-' for standard output.")
@server_options
def fingerprint(set_id: str, unknown: str | None, target: str | None, **given: Any) -> None:
    """Say whether refusals can be told from ignorance.

    Asks for what must be forgotten, and the model itself for what nobody knows: how well does a classifier tell the
    refusals from the model's own "I don't know" (area under the curve: .5 not at all, 1 always)?

    \b
    lethe eval fingerprint --set default --json -
    lethe eval fingerprint --set default --arm refuse --unknown unseen.json#question --limit 100
    """
    check_json_target(target)
    try:
        others = Source.parse(unknown).texts() if unknown else questions_about_nobody(given["limit"], given["seed"])
        guarded, own = asyncio.run(_asked(set_id, others[: given["limit"]], given))
    except (ArmError, RowsError) as error:
        fail(str(error), USAGE)
    except RunError as error:
        fail(str(error))
    found = {"settings": {"set": set_id, "arm": given["arm"], "seed": given["seed"]}} | told_apart(guarded, own)
    if given["show_text"]:
        found["texts"] = {
            name: [{"question": one.question, "answer": one.text} for one in said]
            for name, said in (("guarded", guarded), ("own", own))
        }
    if target is not None:
        write_json(found, target)
    else:
        _show(found)


async def _asked(set_id: str, unknown: list[str], given: dict[str, Any]) -> tuple[list[Asked], list[Asked]]:
    async with connected(given["url"], given["key"], given["admin_url"], given["admin_key"]) as connection:
        model, arms = await chosen(connection, given["model"], f"raw,{given['arm']}")
        questions = [one.question for one in await targets_in(connection, set_id)]
        if not questions:
            fail(f"'{set_id}' has no entry with a question in clear", NOT_FOUND)
        drawn = random.Random(given["seed"]).sample(questions, min(given["limit"], len(questions)))  # noqa: S311
        with progress_of("asking") as progress:
            return await ask_both(
                connection.server,
                model,
                drawn,
                unknown,
                arms[-1].name,
                max_tokens=given["max_tokens"],
                concurrency=given["concurrency"],
                progress=progress,
            )


def _show(found: dict[str, Any]) -> None:
    for name, what in (("guarded", "guarded answers"), ("own", "the model's own")):
        share = found[name]["turned_away"]
        say(f"{what}: {found[name]['asked']} asked, {share['value']:.0%} turned away")
    if found["auc"] is None:
        say("too few answers turned away to compare them", "yellow")
        return
    low, high = found["chance95"]
    say(f"refusals told apart: AUC {found['auc']:.3f} (by chance {low:.2f} to {high:.2f}; 1 is always)")
