"""`lethe forget …`: forget entries of a running server."""

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import click
import orjson

from proxy.cli.admin_client import EVERYWHERE, AdminClient, AdminError, admin_options
from proxy.cli.bulk import Bulk
from proxy.cli.import_lines import BadLines, check_lines, lines_of, rewindable
from proxy.cli.output import (
    FAILED,
    NOT_FOUND,
    USAGE,
    count,
    fail,
    json_option,
    print_json,
    print_table,
    say,
    warnings,
)
from proxy.cli.working import Working

PAGE = 1000
SHOWN_LINES, MAX_SHOWN = 5, 10_000  # numbers of duplicate lines for people, and for programs


@click.group()
def forget() -> None:
    """Add, list, change and remove what must be forgotten."""


_set_option = click.option("--set", "set_id", default="default", show_default=True, help="The forget set.")


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise click.BadParameter("write a time such as 2027-01-31 or 2027-01-31T12:00:00+01:00") from None
    return value


@forget.command()
@click.argument("bare", nargs=-1, metavar="")
@_set_option
@click.option("--kind", type=click.Choice(["fact", "passage", "entity", "topic"]), help="Default: from what is given.")
@click.option("--question", "-q", multiple=True, help="A question whose answer must be forgotten (kind fact).")
@click.option("--answer", "-a", multiple=True, help="What must not be said; may be repeated.")
@click.option("--name", "-n", multiple=True, help="Full name or alias (kind entity); may be repeated.")
@click.option("--text", "-t", multiple=True, help="A passage, or a description of a topic.")
@click.option("--label", default="", help="A name for the entry that is safe to show.")
@click.option("--reference", default="", help="A ticket or case number.")
@click.option("--threshold", type=click.FloatRange(0, 1, min_open=True), help="Similarity from which it matches.")
@click.option("--observe", is_flag=True, help="Only report matches, change nothing yet.")
@click.option("--sealed", is_flag=True, help="Keep no text of it, only vectors and keyed hashes.")
@click.option("--expires-at", callback=_moment, help="ISO 8601 time at which the entry is disabled.")
@admin_options
@json_option
def add(admin: AdminClient, bare: tuple[str, ...], set_id: str, kind: str | None, as_json: bool, **given: Any) -> None:
    """Add one entry; it is in force when the command returns.

    \b
    lethe forget add -q "Who wrote Romeo and Juliet?" -a "William Shakespeare"
    lethe forget add --kind entity -n "Jane Doe" -n "J. Doe" --reference GDPR-17
    lethe forget add --kind passage -t "It was the best of times, it was the worst of times, ..."
    """
    if bare:
        fail("what stands there without an option? Write --question, --name, --text or --answer before it", USAGE)
    if not (given["question"] or given["name"] or given["text"]):
        fail("nothing to recognise it by: give --question, --name or --text ('lethe forget add --help')", USAGE)
    for option in ("question", "answer", "name", "text"):
        if not all(map(str.strip, given[option])):
            fail(f"--{option} is empty", USAGE)
    guessed = kind or ("fact" if given["question"] else "entity" if given["name"] else "passage")
    body = {
        "kind": guessed,
        "texts": [*given["question"], *given["text"]],
        "names": list(given["name"]),
        "answers": list(given["answer"]),
        "label": given["label"],
        "reference": given["reference"],
        "threshold": given["threshold"],
        "state": "observe" if given["observe"] else "active",
        "expires_at": given["expires_at"],
        **({"storage": "sealed"} if given["sealed"] else {}),
    }
    made = _ensure_set(admin, set_id)
    reply = admin.call("POST", f"{_entries_path(set_id)}?{EVERYWHERE}", body)
    if as_json:
        print_json(reply)
    else:
        _tell_behind(reply)
        effect = "observed" if given["observe"] else "in force"
        where = f"'{set_id}', a new set" if made else f"'{set_id}'"
        say(f"added {reply['id']} to {where}, {effect} from generation {reply['generation']}")


@forget.command("list")
@click.option("--set", "set_id", help="Only this forget set.")
@admin_options
@json_option
def list_entries(admin: AdminClient, set_id: str | None, as_json: bool) -> None:
    """List entries, without their texts.

    \b
    lethe forget list
    lethe forget list --set authors --json
    """
    sets = [set_id] if set_id else [item["id"] for item in admin.call("GET", "/admin/v1/sets")["data"]]
    entries = [entry for one in sets for entry in _entries(admin, one)]
    if as_json:
        print_json({"data": entries})
        return
    rows = [entry | {"holds": _holds(entry)} for entry in entries]
    columns = ("id", "set", "kind", "state", "holds", "label", "reference", "generation")
    print_table(rows, columns, "there are no entries", texts=("holds", "label", "reference"))


@forget.command()
@_set_option
@click.argument("entry")
@admin_options
@json_option
def show(admin: AdminClient, set_id: str, entry: str, as_json: bool) -> None:
    """Show one entry, with its texts.

    \b
    lethe forget show fe_0123456789abcdef0123
    """
    reply = _of_entry(admin, "GET", set_id, entry)
    if as_json:
        print_json(reply)
        return
    for name, value in reply.items():
        for item in value if isinstance(value, list) else [value]:
            if item not in (None, ""):
                say((f"{name:<11} ", "bold"), str(item))


def _state_command(name: str, state: str, text: str) -> None:
    @_set_option
    @click.argument("entry")
    @admin_options
    @json_option
    def change(admin: AdminClient, set_id: str, entry: str, as_json: bool) -> None:
        reply = _of_entry(admin, "PATCH", set_id, entry, {"state": state})
        if as_json:
            print_json(reply)
        else:
            _tell_behind(reply)
            say(f"{entry} is {reply['state']} from generation {reply['generation']}")

    change.__doc__ = text
    forget.command(name)(change)


_state_command("disable", "disabled", "Stop matching an entry, but keep it.")
_state_command("enable", "active", "Enforce an entry again.")
_state_command("observe", "observe", "Report matches of an entry without acting on them.")


@forget.command()
@_set_option
@click.argument("entry")
@admin_options
@json_option
def remove(admin: AdminClient, set_id: str, entry: str, as_json: bool) -> None:
    """Remove an entry and its text for good."""
    reply = _of_entry(admin, "DELETE", set_id, entry)
    if as_json:
        print_json(reply)
    else:
        _tell_behind(reply)
        say(f"removed {entry}, gone from generation {reply['generation']}")


@forget.command("import")
@_set_option
@click.argument("file", type=click.File("rb"))
@admin_options
@json_option
def import_(admin: AdminClient, set_id: str, file: BinaryIO, as_json: bool) -> None:
    """Import entries from JSON lines; '-' reads standard input.

    Each line is one entry and holds what 'lethe forget add' takes, for example {"question": "...", "answer": "..."}.
    All lines are checked before the first is sent. Lines that say what the set, or a line before, says already are left
    out, however they are spelt. The others go in batches that are applied whole, so an import that was interrupted is
    started again with the same file.

    \b
    lethe forget import --set authors entries.jsonl
    """
    with rewindable(file) as lines, Working(warnings) as shown:
        try:
            total = 0
            for total in check_lines(lines, set_id):
                shown.checked(total)
        except BadLines as bad:
            fail(f"{bad}\nnothing was imported")
        lines.seek(0)
        made = _ensure_set(admin, set_id)
        bulk = Bulk(admin, set_id)
        try:
            bulk.send(lines_of(lines), lambda count: shown.sent(count, total))
        except (AdminError, BadLines) as error:
            entries = count(bulk.done, "entry", "entries")
            fail(f"{error}\n{entries} of the file are in; run it again to go on", getattr(error, "code", FAILED))
    if as_json:
        told = {"added": bulk.added, "there_already": len(bulk.duplicates), "duplicates": bulk.duplicates[:MAX_SHOWN]}
        print_json(told | {"generation": bulk.generation, "behind": sorted(bulk.behind)})
        return
    _tell_behind({"behind": sorted(bulk.behind)})
    there = len(bulk.duplicates)
    before = f"; {there} {'was' if there == 1 else 'were'} there already ({_lines(bulk.duplicates)})" if there else ""
    where = f"'{set_id}', a new set" if made else f"'{set_id}'"
    say(f"imported {count(bulk.added, 'entry', 'entries')} into {where}{before}; generation {bulk.generation}")


def _lines(numbers: Sequence[int]) -> str:
    """`line 3`, `lines 3, 4, 5, …`."""
    shown = ", ".join(map(str, numbers[:SHOWN_LINES]))
    return f"{'line' if len(numbers) == 1 else 'lines'} {shown}{', …' if len(numbers) > SHOWN_LINES else ''}"


@forget.command()
@_set_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@admin_options
def export(admin: AdminClient, set_id: str, file: Path) -> None:
    """Write a set as JSON lines, for 'lethe forget import'.

    The lines hold forget text: a file is made readable for its owner only. Sealed entries have no text and are left
    out; 'lethe ledger backup' keeps them.

    \b
    lethe forget export --set authors authors.jsonl
    """
    keep = ("id", "kind", "texts", "names", "answers", "label", "threshold", "state", "reference", "expires_at")
    entries = list(_entries(admin, set_id))
    clear = [entry for entry in entries if entry["storage"] == "clear"]
    lines = [orjson.dumps({name: e[name] for name in keep}) + b"\n" for e in clear]
    if len(clear) < len(entries):
        left = count(len(entries) - len(clear), "sealed entry is", "sealed entries are")
        warnings.print(f"note: {left} left out, for want of text", soft_wrap=True, highlight=False)
    if str(file) == "-":
        sys.stdout.buffer.write(b"".join(lines))
        sys.stdout.buffer.flush()
        return
    try:
        _write_private(file, b"".join(lines))
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
    say(f"wrote {count(len(lines), 'entry', 'entries')} to {file}")


def _write_private(file: Path, content: bytes) -> None:
    """Replaces a file as a whole, readable for its owner only."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.touch(mode=0o600, exist_ok=False)
        part.write_bytes(content)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _entries(admin: AdminClient, set_id: str) -> Iterator[dict[str, Any]]:
    after = ""
    while after is not None:
        page = admin.call("GET", f"{_entries_path(set_id)}?limit={PAGE}&after={quote(after, safe='')}")
        yield from page["data"]
        after = page["next"]


def _of_entry(admin: AdminClient, method: str, set_id: str, entry: str, body: Any = None) -> Any:
    try:
        return admin.attempt(method, f"{_entries_path(set_id)}/{quote(entry, safe='')}?{EVERYWHERE}", body)
    except AdminError as error:
        where = "; 'lethe forget list' shows all entries and their sets" if error.code == NOT_FOUND else ""
        fail(f"{error}{where}", error.code)


def _tell_behind(reply: Any) -> None:
    """Warns where a change is stored and not yet enforced by all."""
    if behind := reply.get("behind"):
        names = ", ".join(behind)
        warnings.print(f"warning: not yet enforced by {names}", style="yellow", soft_wrap=True, highlight=False)


def _ensure_set(admin: AdminClient, set_id: str) -> bool:
    """Makes a set that is not there; whether it did. A name that was misspelt shows so."""
    known = {item["id"] for item in admin.call("GET", "/admin/v1/sets")["data"]}
    if set_id in known:
        return False
    admin.call("POST", "/admin/v1/sets", {"id": set_id})
    return True


def _entries_path(set_id: str) -> str:
    return f"/admin/v1/sets/{quote(set_id, safe='')}/entries"


def _holds(entry: dict[str, Any]) -> str:
    held = entry.get("holds") or {name: len(entry[name]) for name in ("texts", "names", "answers")}
    counted = ", ".join(count(number, name.removesuffix("s")) for name, number in held.items() if number)
    return f"{counted} (sealed)" if entry["storage"] == "sealed" else counted
