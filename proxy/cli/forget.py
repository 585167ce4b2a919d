"""`lethe forget …`: forget entries of a running server."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import click

from proxy.cli.admin_client import EVERYWHERE, AdminClient, AdminError, admin_options
from proxy.cli.entries import ensure_set, entries_of, entries_path, set_option, tell_behind
from proxy.cli.forget_files import export, import_
from proxy.cli.output import NOT_FOUND, USAGE, count, fail, json_option, print_json, print_table, say


@click.group()
def forget() -> None:
    """Add, list, change and remove what must be forgotten."""


forget.add_command(import_)
forget.add_command(export)


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise click.BadParameter("write a time such as 2027-01-31 or 2027-01-31T12:00:00+01:00") from None
    return value


@forget.command()
@click.argument("bare", nargs=-1, metavar="")
@set_option
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
    made = ensure_set(admin, set_id)
    reply = admin.call("POST", f"{entries_path(set_id)}?{EVERYWHERE}", body)
    if as_json:
        print_json(reply)
    else:
        tell_behind(reply)
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
    entries = [entry for one in sets for entry in entries_of(admin, one)]
    if as_json:
        print_json({"data": entries})
        return
    rows = [entry | {"holds": _holds(entry)} for entry in entries]
    columns = ("id", "set", "kind", "state", "holds", "label", "reference", "generation")
    print_table(rows, columns, "there are no entries", texts=("holds", "label", "reference"))


@forget.command()
@set_option
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
    @set_option
    @click.argument("entry")
    @admin_options
    @json_option
    def change(admin: AdminClient, set_id: str, entry: str, as_json: bool) -> None:
        reply = _of_entry(admin, "PATCH", set_id, entry, {"state": state})
        if as_json:
            print_json(reply)
        else:
            tell_behind(reply)
            say(f"{entry} is {reply['state']} from generation {reply['generation']}")

    change.__doc__ = text
    forget.command(name)(change)


_state_command("disable", "disabled", "Stop matching an entry, but keep it.")
_state_command("enable", "active", "Enforce an entry again.")
_state_command("observe", "observe", "Report matches of an entry without acting on them.")


@forget.command()
@set_option
@click.argument("entry")
@admin_options
@json_option
def remove(admin: AdminClient, set_id: str, entry: str, as_json: bool) -> None:
    """Remove an entry and its text for good."""
    reply = _of_entry(admin, "DELETE", set_id, entry)
    if as_json:
        print_json(reply)
    else:
        tell_behind(reply)
        say(f"removed {entry}, gone from generation {reply['generation']}")


def _of_entry(admin: AdminClient, method: str, set_id: str, entry: str, body: Any = None) -> Any:
    try:
        return admin.attempt(method, f"{entries_path(set_id)}/{quote(entry, safe='')}?{EVERYWHERE}", body)
    except AdminError as error:
        where = "; 'lethe forget list' shows all entries and their sets" if error.code == NOT_FOUND else ""
        fail(f"{error}{where}", error.code)


def _holds(entry: dict[str, Any]) -> str:
    held = entry.get("holds") or {name: len(entry[name]) for name in ("texts", "names", "answers")}
    counted = ", ".join(count(number, name.removesuffix("s")) for name, number in held.items() if number)
    return f"{counted} (sealed)" if entry["storage"] == "sealed" else counted
