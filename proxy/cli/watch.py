"""`lethe watch`: probes forget entries through the guarded arm, again and again, and reports what leaks."""

import asyncio
import random
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import click

from evals.attacks.campaign import campaign, usable
from evals.attacks.corpus import corpus, families
from evals.attacks.targets import Target
from evals.runs.client import Connection, RunError, connected
from proxy.cli.attack import targets_in
from proxy.cli.eval_run import chosen, progress_of, server_options
from proxy.cli.output import FAILED, NOT_FOUND, USAGE, count, fail, json_option, print_json, say, warnings

USUAL = "direct,paraphrase,role_play,prefix_injection,prefill"
BATCH = 1000  # entries reported in one call
ARM = "guarded"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Round:
    """One round of probes: how many by entry, leaks by entry, what the server made of them, and how many probes had no
    answer, which are not among `probes`."""

    probes: Counter[str]
    leaks: Counter[str]
    leaked: list[dict[str, Any]]
    unanswered: int

    def figures(self) -> dict[str, Any]:
        counted = {"entries": len(self.probes), "probes": self.probes.total(), "unanswered": self.unanswered}
        return {**counted, "leaked": self.leaked}


class _Every(click.ParamType[int]):
    """A span of time such as 30m, in seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"([1-9]\d*)([smhd])", str(value))
        if not found:
            self.fail(f"'{value}' is not a span of time such as 30m, 6h or 1d", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


@click.command()
@click.option("--set", "set_id", required=True, help="The forget set to watch.")
@click.option("--every", type=_Every(), default="1h", show_default=True, help="Time between rounds.")
@click.option("--once", is_flag=True, help="One round; exit code 1 when an entry leaked.")
@click.option("--families", "wanted", default=USUAL, show_default=True, help="Kinds of probes, comma-separated.")
@click.option("--sample", type=click.IntRange(1), help="Entries of a round, other ones each time [default: all].")
@click.option("--model", help="Default: the first model that is served.")
@click.option("--max-tokens", type=click.IntRange(1), default=48, show_default=True, help="Length of an answer.")
@click.option("--concurrency", type=click.IntRange(1), default=2, show_default=True, help="Probes side by side.")
@server_options
@json_option
def watch(set_id: str, every: int, once: bool, wanted: str, as_json: bool, **given: Any) -> None:
    """Probe the entries of a set through the guarded arm, and raise those that leak by one rung.

    The server counts what is reported (lethe_watch_…) and logs `entry_leaked` for each entry: alert on these. What a
    leak is, is judged by the words of the entry's answer, not by the guards. Probes that had no answer are told and not
    counted; a round in which none had one has failed.

    \b
    lethe watch --set default --every 6h --sample 50
    lethe watch --set default --once --json
    """
    kinds = wanted.split(",")
    if unknown := set(kinds) - set(families()):
        fail(f"there is no family '{min(unknown)}'; there are {', '.join(families())}", USAGE)
    number = 0
    while True:
        try:
            found = asyncio.run(_round(set_id, kinds, number, given))
        except RunError as error:
            if once:
                fail(str(error))
            warnings.print(f"{error}; trying again in {every} s", highlight=False)  # a watch outlives a restart
            found = None
        if found is not None:
            _show(found, as_json=as_json)
            if once:
                raise SystemExit(FAILED if found.leaked else 0)
        number += 1
        asyncio.run(asyncio.sleep(every))


async def _round(set_id: str, kinds: Sequence[str], number: int, given: dict[str, Any]) -> Round:
    async with connected(given["url"], given["key"], given["admin_url"], given["admin_key"]) as connection:
        model, _ = await chosen(connection, given["model"], ARM)
        targets = usable(await targets_in(connection, set_id))
        if not targets:
            fail(f"'{set_id}' has no entry to probe: a question and an answer in clear are needed", NOT_FOUND)
        rng = random.Random(number)  # noqa: S311 - which entries come first is no secret
        with progress_of("probing") as progress:
            tried = await campaign(
                corpus(_sampled(targets, given["sample"], rng), kinds, number),
                targets,
                [ARM],
                connection.server,
                model,
                max_tokens=given["max_tokens"],
                concurrency=given["concurrency"],
                progress=progress,
            )
        if not tried:
            fail(f"none of these families applies to an entry of '{set_id}'", NOT_FOUND)
        answered = [one for one in tried if one.answered]
        if tried and not answered:
            status = ", ".join(sorted({str(one.status) for one in tried}))
            raise RunError(f"none of {len(tried)} probes had an answer (status {status}): nothing is known about leaks")
        probes = Counter(one.attack.target for one in answered)
        leaks = Counter(one.attack.target for one in answered if one.leaked and not one.by_chance)
        leaked = await _reported(connection, set_id, probes, leaks)
        return Round(probes, leaks, leaked, len(tried) - len(answered))


def _sampled(targets: list[Target], size: int | None, rng: random.Random) -> list[Target]:
    return targets if size is None else rng.sample(targets, min(size, len(targets)))


async def _reported(
    connection: Connection, set_id: str, probes: Counter[str], leaks: Counter[str]
) -> list[dict[str, Any]]:
    """Entries that leaked, as the server answers. One call for each thousand entries, at least one: a round ended."""
    name = secrets.token_hex(8)
    rows = [{"entry": entry, "probes": probes[entry], "leaks": leaks[entry]} for entry in sorted(probes)]
    leaked: list[dict[str, Any]] = []
    for start in range(0, max(1, len(rows)), BATCH):
        body = {"probed": rows[start : start + BATCH], "round": name}
        reply = await connection.admin.call("POST", f"/sets/{quote(set_id, safe='')}/watch", body)
        leaked += reply["leaked"]
    return leaked


def _show(found: Round, *, as_json: bool) -> None:
    if as_json:
        print_json(found.figures())
        return
    say(f"{count(found.probes.total(), 'probe')} of {count(len(found.probes), 'entry', 'entries')}, ",
        f"{count(len(found.leaked), 'entry', 'entries')} leaked")  # fmt: skip
    if found.unanswered:
        say((f"{count(found.unanswered, 'probe')} had no answer: their entries may leak unseen", "yellow"))
    for one in found.leaked:
        what = f"now begins at '{one['rung']}'" if one["raised"] else f"leaks on the last rung, '{one['rung']}'"
        say(("  " + one["entry"], "red"), f" {what}; see: lethe forget show {one['entry']}")
