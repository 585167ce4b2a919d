"""API keys: list, make, revoke."""

from aiohttp import web

from proxy.admin.calls import admin_of, body_of, json_reply
from proxy.admin.models import (
    KeyBody,
)
from proxy.errors import BadRequest
from proxy.keys import new_key


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.get("/admin/v1/keys", list_keys),
        web.post("/admin/v1/keys", add_key),
        web.delete("/admin/v1/keys/{key}", remove_key),
    ]


async def list_keys(request: web.Request) -> web.Response:
    """All keys, without their secrets."""
    server, _ = admin_of(request)
    keys = await server.catalogue.stored_keys.all()
    shown = [{"id": k.id, "scopes": sorted(k.scopes), "label": k.label, "created_at": k.created_at} for k in keys]
    return json_reply({"data": shown})


async def add_key(request: web.Request) -> web.Response:
    """Makes a key. Its secret is in this reply and nowhere else."""
    server, _ = admin_of(request)
    body = await body_of(request, KeyBody)
    secret, stored = new_key(body.scopes, body.label)
    await server.catalogue.stored_keys.put(stored)
    return json_reply({"id": stored.id, "key": secret, "scopes": sorted(stored.scopes)}, status=201)


async def remove_key(request: web.Request) -> web.Response:
    """Revokes a key."""
    server, caller = admin_of(request)
    if request.match_info["key"] == caller.key_id:
        raise BadRequest("a key cannot revoke itself: use another admin key")
    await server.catalogue.stored_keys.drop(request.match_info["key"])
    return json_reply({"revoked": request.match_info["key"]})
