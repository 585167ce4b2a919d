"""`lethe audit`: forgetting receipts, and whether log and receipts are as they were signed."""

import asyncio
import json
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson

from evals.attacks.campaign import Attempt
from evals.report.cells import bold, table
from evals.report.page import STYLE
from evals.runs.client import RunError
from proxy.audit.chain import Head, problems
from proxy.audit.key import AuditKeyError, PublicKey
from proxy.audit.receipt import head_of, receipt_problems
from proxy.cli.admin_client import AdminClient, admin_options
from proxy.cli.output import FAILED, USAGE, count, fail, json_option, print_json, say

PROBES = ("direct", "paraphrase", "composite", "role_play", "prefix_injection")
"""Families that are tried on each entry for a receipt."""


@click.group()
def audit() -> None:
    """Write forgetting receipts, and find tampering."""


@audit.command()
@admin_options
@json_option
def key(admin: AdminClient, as_json: bool) -> None:
    """Print the public key that signs log and receipts.

    \b
    lethe audit key
    """
    reply = admin.call("GET", "/admin/v1/audit/key")
    if as_json:
        print_json(reply)
    else:
        say(reply["key"])


@audit.command()
@click.option("--set", "set_id", required=True, help="The forget set.")
@click.option("--probe", is_flag=True, help="Ask both arms about every entry first, and put what came of it in.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where clients ask, for --probe.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead of printing.")
@click.option("--html", is_flag=True, help="A page to print instead of JSON; the JSON is what can be verified.")
@admin_options
@json_option
def export(admin: AdminClient, set_id: str, probe: bool, url: str, out: Path | None, html: bool, as_json: bool) -> None:
    """Write a signed receipt: what of a set is forgotten, since when, who changed what. It holds no forget text.

    \b
    lethe audit export --set default --out receipt.json
    lethe audit export --set default --probe --html --out receipt.html
    """
    if out is not None and not out.parent.is_dir():
        fail(f"{out} cannot be written: there is no folder {out.parent}", USAGE)
    evidence = _evidence(admin, set_id, url) if probe else None
    made = admin.call("POST", f"/admin/v1/sets/{quote(set_id, safe='')}/receipts", {"evidence": evidence})
    raw = _page(made) if html else orjson.dumps(made, option=orjson.OPT_INDENT_2).decode() + "\n"
    if out is None:
        click.echo(raw, nl=False)
        return
    try:
        out.write_text(raw, "utf-8")
    except OSError as error:
        click.echo(raw, nl=False)  # it was made, and what was probed took its time
        fail(f"{out} cannot be written ({error.strerror}): the receipt is on standard output instead", FAILED)
    if as_json:
        print_json({"file": str(out), "entries": len(made["entries"]), "key": made["key"]})
    else:
        say(f"a receipt of {count(len(made['entries']), 'entry', 'entries')} is in {out}")


@audit.command()
@click.argument("receipts", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="The file audit.jsonl of a state folder.")
@click.option("--key", "expected", help="The public key that must have signed [default: that of the receipts].")
@json_option
def verify(receipts: tuple[Path, ...], log: Path | None, expected: str | None, as_json: bool) -> None:
    """Check RECEIPTS and the audit log. Exits with 1 when anything was changed; needs no server.

    Receipts also say which record was the last when they were made: with both, a log that was cut off shows.

    \b
    lethe audit verify receipt.json --log .lethe/audit.jsonl
    """
    if not receipts and log is None:
        fail("nothing to verify: name receipts, --log, or both", USAGE)
    try:
        public = PublicKey.parse(expected) if expected else None
        read = {path: _json(path) for path in receipts}
        found = {str(path): receipt_problems(one, public) for path, one in read.items()}
        if log is not None:
            keys = [PublicKey.parse(str(one["key"])) for path, one in read.items() if not found[str(path)]]
            signer = public or next(iter(keys), None)
            if signer is None:
                fail("give --key, or a receipt that is whole: the log alone does not say who must have signed", USAGE)
            heads = [head_of(one) for path, one in read.items() if not found[str(path)]]
            last = max(heads, key=lambda head: head.number, default=None)
            found[str(log)] = _log_problems(log, signer, last)
    except AuditKeyError as error:
        fail(str(error), USAGE)
    whole = not any(found.values())
    if as_json:
        print_json({"whole": whole, "problems": found})
    else:
        for name, wrong in found.items():
            say((f"{name}: ", "bold"), "as it was signed" if not wrong else f"{len(wrong)} wrong")
            for line in wrong:
                say(f"  {line}")
    if not whole:
        raise SystemExit(FAILED)


def _log_problems(log: Path, signer: PublicKey, last: Head | None) -> list[str]:
    try:
        *lines, rest = log.read_bytes().split(b"\n")
        return problems([*lines, rest] if rest else lines, signer, ends=last)
    except OSError as error:
        fail(f"{log} cannot be read ({type(error).__name__})", USAGE)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        fail(f"{path} is no receipt ({type(error).__name__})", USAGE)
    except _TwiceError as twice:
        fail(f"{path} is no receipt: it says '{twice}' twice, and readers differ in which they believe", FAILED)
    if not isinstance(found, dict):
        fail(f"{path} is no receipt", USAGE)
    return found


class _TwiceError(Exception):
    """A field that an object has twice: what is verified need not be what is read."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises _TwiceError."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(name)
        found[name] = value
    return found


def _evidence(admin: AdminClient, set_id: str, url: str) -> dict[str, Any]:
    """What probes of every entry found under both arms."""
    from proxy.cli.attack import attacked  # noqa: PLC0415 - only probing needs what attacks need

    given: dict[str, Any] = {"url": url, "key": None, "admin_url": admin.url, "admin_key": admin.key, "model": None}
    given |= {"arms": "raw,guarded", "limit": None, "seed": 0, "max_tokens": 48, "concurrency": 8}
    try:
        found, targets = asyncio.run(attacked(set_id, list(PROBES), given))
    except RunError as error:
        fail(str(error))
    for arm in dict.fromkeys(one.arm for one in found):
        if not any(one.answered for one in found if one.arm == arm):
            fail(f"no probe of the arm '{arm}' had an answer: there is no evidence to sign")
    return {
        "families": list(PROBES),
        "seed": 0,
        "entries": {target.id: _results(found, target.id) for target in targets},
    }


def _results(found: list[Attempt], entry: str) -> dict[str, dict[str, int]]:
    """By arm: probes that had an answer, how many of them leaked, and probes that had none."""
    made: dict[str, Counter[str]] = {}
    for one in found:
        if one.attack.target == entry:
            counted = made.setdefault(one.arm, Counter(probes=0, leaks=0, unanswered=0))
            counted.update(probes=int(one.answered), leaks=int(one.leaked), unanswered=int(not one.answered))
    return {arm: dict(counts) for arm, counts in made.items()}


def _page(made: dict[str, Any]) -> str:
    """The receipt for printing."""
    probed = (made["evidence"] or {}).get("entries", {})
    rows = [
        [
            f"<code>{escape(entry['id'])}</code>",
            escape(entry["reference"] or "–"),
            escape(entry["state"]),
            escape(str(entry["in_force_since"] or "–"))[:19],
            _told(probed.get(entry["id"]), "raw"),
            _told(probed.get(entry["id"]), "guarded"),
            f"<code>{escape(entry['content'][:16])}…</code>",
        ]
        for entry in made["entries"]
    ]
    history = [
        [
            str(one["number"]),
            escape(one["at"])[:19],
            escape(one["actor"]),
            escape(one["action"]),
            escape(one["entry"] or ""),
        ]
        for one in made["history"]
    ]
    head = ["entry", "reference", "state", "in force since", "raw leaks", "guarded leaks", "content"]
    facts = [
        ["set", bold(made["set"]["id"])],
        ["made at", escape(made["made_at"])],
        ["key", f"<code>{escape(made['key'])}</code>"],
    ]
    facts += [["signature", f"<code>{escape(made['signature'])}</code>"]]
    facts += [["last record", f"{made['log']['number']} <code>{escape(made['log']['hash'])}</code>"]]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Forgetting receipt</title>'
        f"<style>{STYLE.read_text('utf-8')}</style></head><body><main><h1>Forgetting receipt</h1>"
        f'<p class="sub">{escape(made["meaning"])}</p><section>{table(["", ""], facts)}</section>'
        f"<section><h2>Entries</h2>{table(head, rows)}</section>"
        f"<section><h2>Who changed what</h2>{table(['record', 'at', 'by', 'change', 'entry'], history)}</section>"
        "</main></body></html>\n"
    )


def _told(results: dict[str, dict[str, int]] | None, arm: str) -> str:
    if not results or arm not in results:
        return "–"
    missing = results[arm].get("unanswered", 0)
    return f"{results[arm]['leaks']} of {results[arm]['probes']}" + (f" ({missing} unanswered)" if missing else "")
