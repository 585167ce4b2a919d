"""What a watch found: metrics for alerts, and a rung higher for entries that leaked."""

import time
from dataclasses import replace

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from guards.policy import Rung
from indexes.entries import MAX_RAISED
from indexes.ledger.records import Missing
from proxy.admin.models import MAX_BATCH, Name
from proxy.errors import BadRequest
from proxy.server import SERVER
from proxy.validation import parsed

_log = structlog.get_logger("lethe.watch")


class Probed(BaseModel):
    """How often one entry was probed, and how often its answer came out."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    entry: Name
    probes: int = Field(ge=0)
    leaks: int = Field(ge=0)


class WatchBody(BaseModel):
    """One round of probes against the guarded arm."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    probed: tuple[Probed, ...] = Field(max_length=MAX_BATCH)


def routes() -> list[web.RouteDef]:
    """The route of the admin port for watches."""
    return [web.post("/admin/v1/sets/{set}/watch", report_watch)]


async def report_watch(request: web.Request) -> web.Response:
    """Takes a round of probes: entries that leaked begin a rung higher from now on. Answers which did."""
    server = request.app[SERVER]
    caller = server.catalogue.keys.admin(request.headers.get("Authorization"))
    try:
        body = parsed(WatchBody, orjson.loads(await request.read()))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error.msg} (line {error.lineno})") from None
    set_id, metrics = request.match_info["set"], server.metrics
    ladder = _ladder(server.catalogue.policies.of(set_id, server.catalogue.current).on_match)
    raised = []
    leaking = [one for one in body.probed if one.leaks]
    for one in leaking:
        try:
            entry = await server.catalogue.entry(set_id, one.entry)
        except Missing:
            continue  # removed since it was probed
        highest = min(len(ladder) - 1, MAX_RAISED)
        to = min(entry.raised + 1, highest)
        if to > entry.raised:
            await server.catalogue.changes.change(replace(entry, raised=to), actor=caller.key_id)
            metrics.watch_raised.inc()
        # The alert. An entry that leaks on the last rung needs a person: its texts or its threshold are at fault.
        rung = ladder[max(to, entry.raised)]
        _log.warning("entry_leaked", set=set_id, entry=entry.id, probes=one.probes, leaks=one.leaks, rung=rung)
        raised.append({"entry": entry.id, "leaks": one.leaks, "raised": to > entry.raised, "rung": rung})
    metrics.watch_probes.inc(sum(one.probes for one in body.probed))
    metrics.watch_leaks.inc(sum(one.leaks for one in leaking))
    metrics.watch_leaking.set(len(leaking))
    metrics.watch_at.set(time.time())
    reply = {"leaked": raised, "generation": server.catalogue.current.number}
    return web.Response(body=orjson.dumps(reply), content_type="application/json")


def _ladder(on_match: tuple[Rung, ...]) -> list[Rung]:
    """The rungs that act, up to the one that ends every ladder. A set that only observes has none to begin with."""
    acting: list[Rung] = [rung for rung in on_match if rung is not Rung.OBSERVE]
    return acting if acting and acting[-1] is Rung.REFUSE else [*acting, Rung.REFUSE]
