"""What changed, and what is served."""

from aiohttp import web

from proxy.admin.calls import admin_of, json_reply, number_of
from proxy.admin.models import (
    MAX_BATCH,
)

MAX_GENERATION = 2**63  # what the ledger can count


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.get("/admin/v1/audit", audit),
        web.get("/admin/v1/generations", generations),
    ]


async def audit(request: web.Request) -> web.Response:
    """What changed, when, by whom; `after` is a generation."""
    server, _ = admin_of(request)
    after = number_of(request, "after", 0, range(MAX_GENERATION))
    changes = await server.catalogue.log(after, MAX_BATCH)
    names = ("generation", "at", "actor", "action", "set_id", "entry_id")
    return json_reply({"data": [{name: getattr(change, name) for name in names} for change in changes]})


async def generations(request: web.Request) -> web.Response:
    """Which generation is served, and what; and which one by each worker and replica on the same ledger."""
    server, _ = admin_of(request)
    current = server.catalogue.current
    members = await server.following.members() if server.following else []
    me = server.following.id if server.following else None
    shown = [
        {"id": m.id, "generation": m.generation, "seen_s": round(m.seen_s, 3), "self": m.id == me} for m in members
    ]
    return json_reply(
        {
            "generation": current.number,
            "members": shown or [{"id": "this", "generation": current.number, "seen_s": 0.0, "self": True}],
            "entries": current.entry_count,
            "sets": len(current.sets),
            "models": list(server.upstream.view.models),
        }
    )
