"""Forget sets and entries of a running server, as commands reach them."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from proxy.cli.admin_client import AdminClient
from proxy.cli.output import warnings

PAGE = 1000

set_option = click.option("--set", "set_id", default="default", show_default=True, help="The forget set.")


def entries_of(admin: AdminClient, set_id: str) -> Iterator[dict[str, Any]]:
    """All entries of a set, page by page."""
    after = ""
    while after is not None:
        page = admin.call("GET", f"{entries_path(set_id)}?limit={PAGE}&after={quote(after, safe='')}")
        yield from page["data"]
        after = page["next"]


def tell_behind(reply: Any) -> None:
    """Warns where a change is stored and not yet enforced by all."""
    if behind := reply.get("behind"):
        names = ", ".join(behind)
        warnings.print(f"warning: not yet enforced by {names}", style="yellow", soft_wrap=True, highlight=False)


def ensure_set(admin: AdminClient, set_id: str) -> bool:
    """Makes a set that is not there; whether it did. A name that was misspelt shows so."""
    known = {item["id"] for item in admin.call("GET", "/admin/v1/sets")["data"]}
    if set_id in known:
        return False
    admin.call("POST", "/admin/v1/sets", {"id": set_id})
    return True


def entries_path(set_id: str) -> str:
    return f"/admin/v1/sets/{quote(set_id, safe='')}/entries"
