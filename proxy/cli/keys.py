"""`lethe keys`: who may call a running server."""

from urllib.parse import quote

import click

from proxy.cli.admin_client import AdminClient, admin_options
from proxy.cli.output import json_option, print_json, print_table, say


@click.group()
def keys() -> None:
    """List, make and revoke API keys."""


@keys.command("list")
@admin_options
@json_option
def list_keys(admin: AdminClient, as_json: bool) -> None:
    """List all keys, without their secrets."""
    reply = admin.call("GET", "/admin/v1/keys")
    if as_json:
        print_json(reply)
    else:
        rows = [
            key | {"scopes": ", ".join(key["scopes"]), "created_at": key["created_at"][:19].replace("T", " ") + " UTC"}
            for key in reply["data"]
        ]
        print_table(rows, ("id", "scopes", "label", "created_at"), "there are no keys")


@keys.command("create")
@click.option(
    "--scope", multiple=True, type=click.Choice(["client", "raw", "admin"]), required=True, help="May be repeated."
)
@click.option("--label", default="", help="Who uses the key.")
@admin_options
@json_option
def create_key(admin: AdminClient, scope: tuple[str, ...], label: str, as_json: bool) -> None:
    """Make a key and print its secret, once.

    \b
    lethe keys create --scope client --label "chat frontend"
    """
    reply = admin.call("POST", "/admin/v1/keys", {"scopes": list(scope), "label": label})
    if as_json:
        print_json(reply)
    else:
        say(f"{reply['id']}: {reply['key']}")


@keys.command("revoke")
@click.argument("key_id")
@admin_options
@json_option
def revoke_key(admin: AdminClient, key_id: str, as_json: bool) -> None:
    """Revoke a key."""
    reply = admin.call("DELETE", f"/admin/v1/keys/{quote(key_id, safe='')}")
    if as_json:
        print_json(reply)
    else:
        say(f"revoked {key_id}")
