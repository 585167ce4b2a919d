"""`lethe assistant`: train models for a forget set, load them into the engine, go back to a former version."""

import importlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from proxy.cli.admin_client import AdminClient, admin_options
from proxy.cli.output import json_option, print_json, print_table, say

LOAD_TIMEOUT_S = 600  # reading weights, and proving them to an engine that may be busy
_ELSEWHERE = {"train": "proxy.cli.assistant_train"}  # imported when it is called


class _OnDemand(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _ELSEWHERE.get(cmd_name)
        if module is None:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(importlib.import_module(module), cmd_name)
        return found


@click.group(cls=_OnDemand)
def assistant() -> None:
    """Train, load and roll back the models that an offset subtracts."""


@assistant.command("list")
@admin_options
@json_option
def list_assistants(admin: AdminClient, as_json: bool) -> None:
    """List assistants and what the engine has of them."""
    reply = admin.call("GET", "/admin/v1/assistants")
    if as_json:
        print_json(reply)
        return
    if reply["problem"]:
        say(("offsets: ", "bold"), reply["problem"])
    rows = [
        row
        | {
            "versions": ", ".join(map(str, row["versions"])),
            "used_by": ", ".join(row["used_by"]),
            "state": "loaded" if row["loaded"] else f"not loaded: {row['problem']}",
        }
        for row in reply["data"]
    ]
    columns = ("name", "version", "versions", "objective", "kind", "strength", "used_by", "state")
    print_table(rows, columns, "there are no assistants", texts=("state",))


@assistant.command()
@click.argument("folder", type=click.Path(path_type=Path))
@admin_options
@json_option
def load(admin: AdminClient, folder: Path, as_json: bool) -> None:
    """Load and use the assistant in FOLDER.

    FOLDER is what `lethe assistant train` wrote, as the server and the engine see it: NAME/VERSION with a card.json.
    The engine goes on serving; answers under way keep the version they began with.

    \b
    lethe assistant load .lethe/assistants/authors/1
    """
    place = folder.absolute() if folder.exists() else folder  # else as the server finds it, below its state folder
    reply = admin.call("POST", "/admin/v1/assistants", {"folder": str(place)}, timeout_s=LOAD_TIMEOUT_S)
    _show(reply, as_json)


@assistant.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Default: the version that was in use before.")
@admin_options
@json_option
def rollback(admin: AdminClient, name: str, version: int | None, as_json: bool) -> None:
    """Use another version of an assistant.

    \b
    lethe assistant rollback authors
    lethe assistant rollback authors --version 3
    """
    path = f"/admin/v1/assistants/{quote(name, safe='')}:activate"
    _show(admin.call("POST", path, {"version": version}, timeout_s=LOAD_TIMEOUT_S), as_json)


@assistant.command()
@click.argument("name")
@admin_options
@json_option
def unload(admin: AdminClient, name: str, as_json: bool) -> None:
    """Take an assistant out of the engine.

    Its versions are forgotten, its folders stay. Ladders that want its offset go without it from now on.

    \b
    lethe assistant unload authors
    """
    reply = admin.call("DELETE", f"/admin/v1/assistants/{quote(name, safe='')}")
    if as_json:
        print_json(reply)
        return
    say(f"unloaded '{name}'")
    if reply["used_by"]:
        say(f"these sets name it and go without it now: {', '.join(reply['used_by'])}")


def _show(reply: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(reply)
        return
    say(f"'{reply['name']}' is in use in version {reply['version']}, strength {reply['strength']:g}")
    if not reply["used_by"]:
        say(
            "no forget set names it yet: set a policy such as "
            f"on_match=offset,instruct,refuse and assistant={reply['name']}"
        )
