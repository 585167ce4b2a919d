"""Forget entries: add, import, list, change, remove."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from indexes.entries import Entry, EntryError, check
from indexes.ledger.records import Conflict, Once
from proxy.admin.calls import (
    Wait,
    admin_of,
    body_of,
    entry_of,
    idempotency_key,
    json_of,
    json_reply,
    number_of,
    once_of,
    set_of,
)
from proxy.admin.models import (
    MAX_BATCH,
    EntriesBody,
    EntryBody,
    EntryChange,
    entry_json,
)
from proxy.catalogue.changes import Added
from proxy.errors import BadRequest, Conflicting, TooLarge
from proxy.server import SERVER
from proxy.validation import parsed

PAGE = 100  # entries per page where the caller does not say
IMPORT_BATCH = 256  # lines per transaction: large enough for the embedder's batches, small enough to repeat


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    entries = "/admin/v1/sets/{set}/entries"
    return [
        web.post(entries, add_entries),
        web.post(f"{entries}:import", import_entries),
        web.get(entries, list_entries),
        web.get(f"{entries}/{{entry}}", show_entry),
        web.patch(f"{entries}/{{entry}}", change_entry),
        web.delete(f"{entries}/{{entry}}", remove_entry),
    ]


async def add_entries(request: web.Request) -> web.Response:
    """Adds one entry, or several all or none. Answers when this process enforces them, with `wait=applied` when every
    worker and replica does. With `duplicates=skip` those that say what the set says already are left out.
    """
    server, caller = admin_of(request)
    raw, wait = await json_of(request), Wait.of(request)
    several = isinstance(raw, dict) and "entries" in raw
    bodies = parsed(EntriesBody, raw).entries if several else (parsed(EntryBody, raw),)
    storage = server.catalogue.storage
    records = [body.record(request.match_info["set"], caller.key_id, storage) for body in bodies]
    if _skips_duplicates(request):
        added = await server.catalogue.changes.add_missing(records, actor=caller.key_id)
    else:
        added = await server.catalogue.changes.add(records, actor=caller.key_id, once=once_of(request, raw))
    named: dict[str, Any] = {"ids": added.ids} if several else {"id": added.ids[0]}
    if _skips_duplicates(request):
        named["duplicates"] = _left_out(added)
    response = await wait.reply(server, added.generation, {"generation": added.generation, **named}, status=201)
    response.headers["Server-Timing"] = f"embed;dur={added.embed_s * 1e3:.3f}, apply;dur={added.apply_s * 1e3:.3f}"
    return response


async def import_entries(request: web.Request) -> web.Response:
    """Adds entries from JSON lines, in batches that are applied whole. Stops at the first bad line and says which.

    With an `Idempotency-Key`, sending the same lines again goes on behind the batches that were applied.
    """
    server, caller = admin_of(request)
    key, set_id = idempotency_key(request), set_of(server, request).id
    added = 0
    batch: list[Entry] = []
    digest = hashlib.sha256()

    async def apply() -> None:
        nonlocal added
        sealing, told = server.catalogue.sealing, digest.hexdigest()
        once = Once(f"{key}:{added}", sealing.text(told) if sealing else told) if key else None
        try:
            await server.catalogue.changes.add(batch, actor=caller.key_id, once=once)
        except Conflict as error:
            raise Conflicting(f"{error}; {added} entries up to line {applied} are in force, the rest is not") from None
        added += len(batch)
        batch.clear()

    number = applied = 0
    async for line in _lines(request):
        number += 1
        if not line.strip():
            continue
        try:
            entry = parsed(EntryBody, orjson.loads(line)).record(set_id, caller.key_id, server.catalogue.storage)
            check(entry)
        except (orjson.JSONDecodeError, BadRequest, EntryError) as error:
            reason = "not valid JSON" if isinstance(error, orjson.JSONDecodeError) else str(error)
            raise BadRequest(
                f"line {number}: {reason}; {added} entries before it are in force, the rest was not read",
                param=f"line {number}",
            ) from None
        batch.append(entry)
        digest.update(line)
        if len(batch) == IMPORT_BATCH:
            await apply()
            applied = number
    if batch:
        await apply()
    return json_reply({"added": added, "generation": server.catalogue.current.number}, status=201)


async def list_entries(request: web.Request) -> web.Response:
    """Entries of a set by id; `after` is the cursor, `limit` at most 1000."""
    server, _ = admin_of(request)
    limit = number_of(request, "limit", PAGE, range(1, MAX_BATCH + 1))
    found = await server.catalogue.entries(request.match_info["set"], request.query.get("after", ""), limit)
    return json_reply({"data": [entry_json(e) for e in found], "next": found[-1].id if len(found) == limit else None})


async def show_entry(request: web.Request) -> web.Response:
    """One entry."""
    server, _ = admin_of(request)
    return json_reply(entry_json(await entry_of(server, request)))


async def change_entry(request: web.Request) -> web.Response:
    """Changes state, threshold, label, reference or expiry of an entry."""
    server, caller = admin_of(request)
    body, wait = await body_of(request, EntryChange), Wait.of(request)
    info = request.match_info
    changed = await server.catalogue.changes.change(
        info["set"], info["entry"], lambda entry: replace(entry, **body.changes()), actor=caller.key_id
    )
    return await wait.reply(server, changed.generation, entry_json(changed))


async def remove_entry(request: web.Request) -> web.Response:
    """Removes an entry."""
    server, caller = admin_of(request)
    info, wait = request.match_info, Wait.of(request)
    generation = await server.catalogue.changes.remove(info["set"], info["entry"], actor=caller.key_id)
    return await wait.reply(server, generation, {"generation": generation})


def _skips_duplicates(request: web.Request) -> bool:
    """Raises BadRequest."""
    wanted = request.query.get("duplicates", "add")
    if wanted not in ("add", "skip"):
        raise BadRequest("'duplicates' is add or skip", param="duplicates")
    return wanted == "skip"


def _left_out(added: Added) -> list[int]:
    """Which of the entries, by place, stand for one that was there, or that came before."""
    fresh = set(added.new)
    left = []
    for place, entry_id in enumerate(added.ids):
        if entry_id in fresh:
            fresh.remove(entry_id)
        else:
            left.append(place)
    return left


async def _lines(request: web.Request) -> AsyncIterator[bytes]:
    """Lines of a body that is not held in memory. Raises TooLarge for a line without end."""
    limit = request.app[SERVER].config.limits.max_body_mib * 1024**2
    rest = b""
    async for chunk in request.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > limit:
            raise TooLarge("a line is larger than limits.max_body_mib")
        for line in lines:
            yield line
    if rest:
        yield rest
