"""`lethe sets`: the forget sets of a running server, and their policies."""

from typing import Any
from urllib.parse import quote

import click

from proxy.cli.admin_client import EVERYWHERE, AdminClient, admin_options
from proxy.cli.output import USAGE, fail, json_option, print_json, print_table, say


@click.group()
def sets() -> None:
    """List, add and remove forget sets."""


@sets.command("list")
@admin_options
@json_option
def list_sets(admin: AdminClient, as_json: bool) -> None:
    """List all forget sets."""
    reply = admin.call("GET", "/admin/v1/sets")
    if as_json:
        print_json(reply)
        return
    rows = [item | {"retain": len(item["retain"]) or None, "policy": _plain(item["policy"])} for item in reply["data"]]
    print_table(rows, ("id", "label", "policy", "retain"), "there are no forget sets", texts=("label", "policy"))


@sets.command("add")
@click.argument("name")
@click.option("--label", default="", help="A name for the set that is safe to show.")
@click.option("--policy", "-p", multiple=True, help="A setting as name=value, for example on_match=refuse.")
@click.option("--retain", "-r", multiple=True, help="A text that must pass although it is near.")
@admin_options
@json_option
def add_set(admin: AdminClient, name: str, as_json: bool, policy: tuple[str, ...], **given: Any) -> None:
    """Create a forget set.

    \b
    lethe sets add authors -p on_match=instruct,refuse -p threshold=0.8
    """
    settings = dict(_setting(item) for item in policy)
    body = {"id": name, "label": given["label"], "policy": settings, "retain": list(given["retain"])}
    reply = admin.call("POST", f"/admin/v1/sets?{EVERYWHERE}", body)
    if as_json:
        print_json(reply)
    else:
        say(f"created '{name}', generation {reply['generation']}")


@sets.command("remove")
@click.argument("name")
@click.confirmation_option(prompt="Remove the set and all its entries?")
@admin_options
@json_option
def remove_set(admin: AdminClient, name: str, as_json: bool) -> None:
    """Remove a forget set with all its entries."""
    reply = admin.call("DELETE", f"/admin/v1/sets/{quote(name, safe='')}?{EVERYWHERE}")
    if as_json:
        print_json(reply)
    else:
        say(f"removed '{name}', generation {reply['generation']}")


def _setting(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition("=")
    if not equals:
        fail(f"'{item}' is not a setting: write name=value", USAGE)
    if name == "on_match":
        return name, value.split(",")
    if value in ("true", "false"):
        return name, value == "true"
    try:
        return name, int(value) if value.isdigit() else float(value)
    except ValueError:
        return name, value


def _plain(policy: dict[str, Any]) -> str:
    """Settings as they are given to 'lethe sets add'."""
    return " ".join(f"{name}={_written(value)}" for name, value in policy.items())


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
