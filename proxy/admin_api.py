"""The admin port: forget sets and entries, dry runs, comparisons, keys, change log. Every call needs an admin key."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel

from indexes.entries import Entry, EntryError, check
from indexes.ledger.records import Conflict, Once
from proxy.admin_models import (
    MAX_BATCH,
    CheckBody,
    CompareBody,
    EntriesBody,
    EntryBody,
    EntryChange,
    KeyBody,
    ScoreBody,
    SetBody,
    SetChange,
    entry_json,
    set_json,
)
from proxy.catalogue import Added
from proxy.client_api import opened
from proxy.decide import Subject
from proxy.dialects.base import Dialect
from proxy.dialects.chat import Chat
from proxy.dialects.completions import Completions
from proxy.errors import BadRequest, Conflicting, NotFound, TooLarge
from proxy.exchange import GUARDED, RAW, finding_json
from proxy.experiments import api as experiments_api
from proxy.explain import explained
from proxy.keys import Caller, new_key
from proxy.relay import Relay
from proxy.score import scores_of
from proxy.server import SERVER, Server
from proxy.validation import parsed
from proxy.watch import routes as watch_routes

PAGE = 100  # entries per page where the caller does not say
LOCAL, APPLIED = "local", "applied"
WAIT_S, MAX_WAIT_S = 10, 60  # longer than a lease: a process that was cut off is waited for no longer than that
MAX_GENERATION = 2**63  # what the ledger can count
MAX_IDEMPOTENCY_KEY = 200  # characters
IMPORT_BATCH = 256  # lines per transaction: large enough for the embedder's batches, small enough to repeat

Model = TypeVar("Model", bound=BaseModel)
_DIALECTS: dict[str, Dialect] = {"chat": Chat(), "completions": Completions()}


def routes() -> list[web.RouteDef]:
    """All routes of the admin port."""
    one_set, entries = "/admin/v1/sets/{set}", "/admin/v1/sets/{set}/entries"
    return [
        web.post("/admin/v1/sets", add_set),
        web.get("/admin/v1/sets", list_sets),
        web.get(one_set, show_set),
        web.patch(one_set, change_set),
        web.delete(one_set, remove_set),
        web.post(entries, add_entries),
        web.post(f"{entries}:import", import_entries),
        web.get(entries, list_entries),
        web.get(f"{entries}/{{entry}}", show_entry),
        web.patch(f"{entries}/{{entry}}", change_entry),
        web.delete(f"{entries}/{{entry}}", remove_entry),
        web.post("/admin/v1/check", check_request),
        web.post("/admin/v1/compare", compare),
        web.post("/admin/v1/score", score),
        web.get("/admin/v1/keys", list_keys),
        web.post("/admin/v1/keys", add_key),
        web.delete("/admin/v1/keys/{key}", remove_key),
        web.get("/admin/v1/audit", audit),
        web.get("/admin/v1/generations", generations),
        *experiments_api.routes(),
        *watch_routes(),
    ]


# -- forget sets


async def add_set(request: web.Request) -> web.Response:
    """Creates a forget set."""
    server, caller = _admin(request)
    body, wait = await _body(request, SetBody), Wait.of(request)
    generation = await server.catalogue.put_set(body.record(), actor=caller.key_id, create=True)
    return await wait.reply(server, generation, set_json(body.record()) | {"generation": generation}, status=201)


async def list_sets(request: web.Request) -> web.Response:
    """All forget sets."""
    server, _ = _admin(request)
    return _json({"data": [set_json(s) for _, s in sorted(server.catalogue.current.sets.items())]})


async def show_set(request: web.Request) -> web.Response:
    """One forget set."""
    server, _ = _admin(request)
    return _json(set_json(_set(server, request)))


async def change_set(request: web.Request) -> web.Response:
    """Changes label, policy or retain examples of a set."""
    server, caller = _admin(request)
    body, wait = await _body(request, SetChange), Wait.of(request)
    changed = replace(_set(server, request), **body.model_dump(exclude_none=True))
    generation = await server.catalogue.put_set(changed, actor=caller.key_id, create=False)
    return await wait.reply(server, generation, set_json(changed) | {"generation": generation})


async def remove_set(request: web.Request) -> web.Response:
    """Removes a set with all its entries."""
    server, caller = _admin(request)
    wait = Wait.of(request)
    generation = await server.catalogue.remove_set(request.match_info["set"], actor=caller.key_id)
    return await wait.reply(server, generation, {"generation": generation})


# -- entries


async def add_entries(request: web.Request) -> web.Response:
    """Adds one entry, or several all or none. Answers when this process enforces them, with `wait=applied` when every
    worker and replica does. With `duplicates=skip` those that say what the set says already are left out.
    """
    server, caller = _admin(request)
    raw, wait = await _raw(request), Wait.of(request)
    several = isinstance(raw, dict) and "entries" in raw
    bodies = parsed(EntriesBody, raw).entries if several else (parsed(EntryBody, raw),)
    storage = server.catalogue.storage
    records = [body.record(request.match_info["set"], caller.key_id, storage) for body in bodies]
    if _skips_duplicates(request):
        added = await server.catalogue.add_missing(records, actor=caller.key_id)
    else:
        added = await server.catalogue.add(records, actor=caller.key_id, once=_once(request, raw))
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
    server, caller = _admin(request)
    key, set_id = _idempotency_key(request), _set(server, request).id
    added = 0
    batch: list[Entry] = []
    digest = hashlib.sha256()

    async def apply() -> None:
        nonlocal added
        sealing, told = server.catalogue.sealing, digest.hexdigest()
        once = Once(f"{key}:{added}", sealing.text(told) if sealing else told) if key else None
        try:
            await server.catalogue.add(batch, actor=caller.key_id, once=once)
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
    return _json({"added": added, "generation": server.catalogue.current.number}, status=201)


async def list_entries(request: web.Request) -> web.Response:
    """Entries of a set by id; `after` is the cursor, `limit` at most 1000."""
    server, _ = _admin(request)
    limit = _number(request, "limit", PAGE, range(1, MAX_BATCH + 1))
    found = await server.catalogue.entries(request.match_info["set"], request.query.get("after", ""), limit)
    return _json({"data": [entry_json(e) for e in found], "next": found[-1].id if len(found) == limit else None})


async def show_entry(request: web.Request) -> web.Response:
    """One entry."""
    server, _ = _admin(request)
    return _json(entry_json(await _entry(server, request)))


async def change_entry(request: web.Request) -> web.Response:
    """Changes state, threshold, label, reference or expiry of an entry."""
    server, caller = _admin(request)
    body, wait = await _body(request, EntryChange), Wait.of(request)
    entry = await _entry(server, request)
    changed = await server.catalogue.change(replace(entry, **body.changes()), actor=caller.key_id)
    return await wait.reply(server, changed.generation, entry_json(changed))


async def remove_entry(request: web.Request) -> web.Response:
    """Removes an entry."""
    server, caller = _admin(request)
    info, wait = request.match_info, Wait.of(request)
    generation = await server.catalogue.remove(info["set"], info["entry"], actor=caller.key_id)
    return await wait.reply(server, generation, {"generation": generation})


# -- looking into decisions


async def check_request(request: web.Request) -> web.Response:
    """What would happen to a text or a request, and why. Nothing is sent to the engine."""
    server, _ = _admin(request)
    body = await _body(request, CheckBody)
    if (body.text is None) == (body.request is None):
        raise BadRequest("give either 'text' or 'request'")
    if body.request is not None:
        texts = [text.text for text in _DIALECTS[body.dialect].parse(body.request).texts]
    else:
        texts = [body.text or ""]
    if body.arm != GUARDED and body.arm not in server.catalogue.arms:
        raise BadRequest(f"'arm' is one of {', '.join((GUARDED, *server.catalogue.arms))}", param="arm")
    return _json(await explained(server, Subject(texts), body.arm))


async def compare(request: web.Request) -> web.Response:
    """The same request to several arms: their answers and findings."""
    server, caller = _admin(request)
    body = await _body(request, CompareBody)
    if body.request.get("stream"):
        raise BadRequest("'compare' answers as a whole: leave 'stream' out", param="request.stream")
    reply: dict[str, Any] = {}
    for arm in body.arms:
        exchange = opened(server, _DIALECTS[body.dialect], caller, dict(body.request), arm)
        try:
            if arm != RAW:
                exchange.plan = await server.decider.decide(exchange.subject, exchange.generation, arm)
            response = await Relay(request, exchange, server).run()
        finally:
            exchange.close(server.metrics)
        answer = orjson.loads(response.body) if isinstance(response, web.Response) else None  # type: ignore[arg-type]
        reply[arm] = {
            "answer": answer,
            "outcome": exchange.outcome,
            "rung": exchange.plan.rung,
            "findings": [finding_json(finding) for finding in exchange.plan.findings],
        }
    return _json(reply)


async def score(request: web.Request) -> web.Response:
    """Log-probabilities of given answers as an arm has them, for evaluations. Clients have no such call."""
    server, caller = _admin(request)
    body = await _body(request, ScoreBody)
    exchange = opened(server, _DIALECTS[body.dialect], caller, dict(body.request), body.arm)
    if body.arm != RAW:
        exchange.plan = await server.decider.decide(exchange.subject, exchange.generation, body.arm)
    found = await scores_of(server, exchange, Relay(request, exchange, server), body.answers)
    return _json({"rung": exchange.plan.rung, "answers": [one.as_json() for one in found]})


async def audit(request: web.Request) -> web.Response:
    """What changed, when, by whom; `after` is a generation."""
    server, _ = _admin(request)
    after = _number(request, "after", 0, range(MAX_GENERATION))
    changes = await server.catalogue.changes(after, MAX_BATCH)
    names = ("generation", "at", "actor", "action", "set_id", "entry_id")
    return _json({"data": [{name: getattr(change, name) for name in names} for change in changes]})


async def generations(request: web.Request) -> web.Response:
    """Which generation is served, and what; and which one by each worker and replica on the same ledger."""
    server, _ = _admin(request)
    current = server.catalogue.current
    members = await server.following.members() if server.following else []
    me = server.following.id if server.following else None
    shown = [
        {"id": m.id, "generation": m.generation, "seen_s": round(m.seen_s, 3), "self": m.id == me} for m in members
    ]
    return _json(
        {
            "generation": current.number,
            "members": shown or [{"id": "this", "generation": current.number, "seen_s": 0.0, "self": True}],
            "entries": current.entry_count,
            "sets": len(current.sets),
            "models": list(server.upstream.view.models),
        }
    )


# -- keys


async def list_keys(request: web.Request) -> web.Response:
    """All keys, without their secrets."""
    server, _ = _admin(request)
    keys = await server.catalogue.stored_keys()
    shown = [{"id": k.id, "scopes": sorted(k.scopes), "label": k.label, "created_at": k.created_at} for k in keys]
    return _json({"data": shown})


async def add_key(request: web.Request) -> web.Response:
    """Makes a key. Its secret is in this reply and nowhere else."""
    server, _ = _admin(request)
    body = await _body(request, KeyBody)
    secret, stored = new_key(body.scopes, body.label)
    await server.catalogue.put_key(stored)
    return _json({"id": stored.id, "key": secret, "scopes": sorted(stored.scopes)}, status=201)


async def remove_key(request: web.Request) -> web.Response:
    """Revokes a key."""
    server, caller = _admin(request)
    if request.match_info["key"] == caller.key_id:
        raise BadRequest("a key cannot revoke itself: use another admin key")
    await server.catalogue.drop_key(request.match_info["key"])
    return _json({"revoked": request.match_info["key"]})


# -- shared


def _admin(request: web.Request) -> tuple[Server, Caller]:
    server = request.app[SERVER]
    return server, server.catalogue.keys.admin(request.headers.get("Authorization"))


@dataclass(frozen=True)
class Wait:
    """How long a change is waited for, until all enforce it. Read before the change is made."""

    timeout_s: int | None

    @classmethod
    def of(cls, request: web.Request) -> "Wait":
        """What the query asks for. Raises BadRequest."""
        wanted = request.query.get("wait", LOCAL)
        if wanted not in (LOCAL, APPLIED):
            raise BadRequest(f"'wait' is {LOCAL} or {APPLIED}", param="wait")
        timeout_s = _number(request, "timeout_s", WAIT_S, range(1, MAX_WAIT_S + 1))
        return cls(timeout_s if wanted == APPLIED else None)

    async def reply(self, server: Server, generation: int, body: dict[str, Any], status: int = 200) -> web.Response:
        """The reply to a change that was made. 202: it is durable, and enforced here but not everywhere yet."""
        if self.timeout_s is None:
            return _json(body, status)
        if server.following is None:
            return _json(body | {"applied": True, "members": 1, "behind": []}, status)
        reach = await server.following.reach(generation, self.timeout_s)
        applied = {"applied": not reach.behind, "members": reach.members, "behind": list(reach.behind)}
        return _json(body | applied, 202 if reach.behind else status)


def _set(server: Server, request: web.Request) -> Any:
    name = request.match_info["set"]
    found = server.catalogue.current.sets.get(name)
    if found is None:
        raise NotFound(f"there is no set '{name}'")
    return found


async def _entry(server: Server, request: web.Request) -> Entry:
    return await server.catalogue.entry(request.match_info["set"], request.match_info["entry"])


async def _raw(request: web.Request) -> Any:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error.msg} (line {error.lineno})") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge("the request is larger than limits.max_body_mib; use entries:import") from None


async def _body(request: web.Request, model: type[Model]) -> Model:
    return parsed(model, await _raw(request))


def _number(request: web.Request, name: str, default: int, allowed: range) -> int:
    """A number of the query. Raises BadRequest."""
    given = request.query.get(name, str(default))
    try:
        number = int(given)
    except ValueError:
        number = -1
    if number not in allowed:
        raise BadRequest(f"'{name}' is a number from {allowed.start} to {allowed.stop - 1}", param=name)
    return number


def _idempotency_key(request: web.Request) -> str | None:
    """Raises BadRequest for one that could not be stored."""
    key = request.headers.get("Idempotency-Key")
    if key and not (key.isascii() and len(key) <= MAX_IDEMPOTENCY_KEY):
        raise BadRequest(f"'Idempotency-Key' is ASCII text of at most {MAX_IDEMPOTENCY_KEY} characters")
    return key or None


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


def _once(request: web.Request, raw: Any) -> Once | None:
    key = _idempotency_key(request)
    if not key:
        return None
    digest = hashlib.sha256(orjson.dumps([request.path, raw], option=orjson.OPT_SORT_KEYS)).hexdigest()
    sealing = request.app[SERVER].catalogue.sealing  # a plain digest would confirm whoever guesses what is sealed
    return Once(key, sealing.text(digest) if sealing else digest)


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


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
