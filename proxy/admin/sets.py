"""Forget sets: create, list, change, remove."""

from dataclasses import replace

from aiohttp import web

from proxy.admin.calls import Wait, admin_of, body_of, json_reply, set_of
from proxy.admin.models import (
    SetBody,
    SetChange,
    set_json,
)


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    one_set = "/admin/v1/sets/{set}"
    return [
        web.post("/admin/v1/sets", add_set),
        web.get("/admin/v1/sets", list_sets),
        web.get(one_set, show_set),
        web.patch(one_set, change_set),
        web.delete(one_set, remove_set),
    ]


async def add_set(request: web.Request) -> web.Response:
    """Creates a forget set."""
    server, caller = admin_of(request)
    body, wait = await body_of(request, SetBody), Wait.of(request)
    generation = await server.catalogue.changes.add_set(body.record(), actor=caller.key_id)
    return await wait.reply(server, generation, set_json(body.record()) | {"generation": generation}, status=201)


async def list_sets(request: web.Request) -> web.Response:
    """All forget sets."""
    server, _ = admin_of(request)
    return json_reply({"data": [set_json(s) for _, s in sorted(server.catalogue.current.sets.items())]})


async def show_set(request: web.Request) -> web.Response:
    """One forget set."""
    server, _ = admin_of(request)
    return json_reply(set_json(set_of(server, request)))


async def change_set(request: web.Request) -> web.Response:
    """Changes label, policy or retain examples of a set."""
    server, caller = admin_of(request)
    body, wait = await body_of(request, SetChange), Wait.of(request)
    changed, generation = await server.catalogue.changes.change_set(
        request.match_info["set"],
        lambda forget_set: replace(forget_set, **body.model_dump(exclude_none=True)),
        actor=caller.key_id,
    )
    return await wait.reply(server, generation, set_json(changed) | {"generation": generation})


async def remove_set(request: web.Request) -> web.Response:
    """Removes a set with all its entries."""
    server, caller = admin_of(request)
    wait = Wait.of(request)
    generation = await server.catalogue.changes.remove_set(request.match_info["set"], actor=caller.key_id)
    return await wait.reply(server, generation, {"generation": generation})
