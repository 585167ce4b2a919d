"""The admin port's calls for assistants. Every call needs an admin key."""

from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.admin.calls import admin_of, body_of, json_reply
from proxy.admin.models import ActivateBody, AssistantBody
from proxy.exchange import GUARDED
from proxy.server import Server


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.get("/admin/v1/assistants", list_assistants),
        web.post("/admin/v1/assistants", load_assistant),
        web.post("/admin/v1/assistants/{assistant}:activate", activate_assistant),
        web.delete("/admin/v1/assistants/{assistant}", unload_assistant),
    ]


async def list_assistants(request: web.Request) -> web.Response:
    """All assistants, what the engine has of them, and which sets use them."""
    server, _ = admin_of(request)
    rows = [_shown(server, row) for row in server.assistants.listing()]
    return json_reply({"data": rows, "problem": server.offsets.problem})


async def load_assistant(request: web.Request) -> web.Response:
    """Loads a version of an assistant and uses it from now on. Answers when it was proven; no stream is disturbed."""
    server, caller = admin_of(request)
    body = await body_of(request, AssistantBody)
    return json_reply(_shown(server, await server.assistants.load(Path(body.folder), caller.key_id)), status=201)


async def activate_assistant(request: web.Request) -> web.Response:
    """Uses another version that was loaded before, by default the one before this."""
    server, caller = admin_of(request)
    body = await body_of(request, ActivateBody)
    name = request.match_info["assistant"]
    return json_reply(_shown(server, await server.assistants.activate(name, body.version, caller.key_id)))


async def unload_assistant(request: web.Request) -> web.Response:
    """Takes an assistant out of the engine and forgets its versions; its folders stay."""
    server, caller = admin_of(request)
    name = request.match_info["assistant"]
    await server.assistants.unload(name, caller.key_id)
    return json_reply({"unloaded": name, "used_by": _used_by(server, name)})


def _shown(server: Server, row: dict[str, Any]) -> dict[str, Any]:
    return row | {"used_by": _used_by(server, row["name"])}


def _used_by(server: Server, name: str) -> list[str]:
    """The sets whose ladder subtracts an assistant."""
    chain = server.catalogue.policies.chain(server.catalogue.current, GUARDED)
    policies = [(link.guard.set_id, link.guard.policy) for link in chain.links]
    return sorted(
        set_id
        for set_id, policy in policies
        if any(rung.subtracts for rung in policy.ladder) and (policy.assistant or "").partition("@")[0] == name
    )
