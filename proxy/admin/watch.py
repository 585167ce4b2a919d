"""What a watch found: metrics for alerts, and a rung higher for entries that leaked.

The last round of each set is a document in the ledger: all workers and replicas show it, whichever was told, and after
a restart too. An alert that nobody watches would otherwise be raised by those that were not told.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import replace

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from guards.policy import Rung
from indexes.entries import MAX_RAISED, Entry
from indexes.ledger.records import Missing
from proxy.admin.calls import admin_of, body_of, json_reply
from proxy.admin.models import MAX_BATCH, Name
from proxy.catalogue.catalogue import Catalogue
from proxy.metrics import Metrics

KIND = "watch"
"""Under which the last rounds stand in the ledger."""

_log = structlog.get_logger("lethe.watch")


class Probed(BaseModel):
    """How often one entry was probed, and how often its answer came out."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    entry: Name
    probes: int = Field(ge=0)
    leaks: int = Field(ge=0)


class WatchBody(BaseModel):
    """A round of probes against the guarded arm, or a part of one: parts of the same `round` are counted together."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    probed: tuple[Probed, ...] = Field(max_length=MAX_BATCH)
    round: str = Field("", max_length=64, description="any name of a round that is told in several calls")


def routes() -> list[web.RouteDef]:
    """The route of the admin port for watches."""
    return [web.post("/admin/v1/sets/{set}/watch", report_watch)]


async def report_watch(request: web.Request) -> web.Response:
    """Takes a round of probes: entries that leaked begin a rung higher from now on. Answers which did."""
    server, caller = admin_of(request)
    body = await body_of(request, WatchBody)
    set_id, metrics, catalogue = request.match_info["set"], server.metrics, server.catalogue
    ladder = _whole(catalogue.policies.of(set_id, catalogue.current).ladder)
    highest = min(len(ladder) - 1, MAX_RAISED)

    def higher(entry: Entry) -> Entry:
        return replace(entry, raised=max(entry.raised, min(entry.raised + 1, highest)))

    raised = []
    leaking = [one for one in body.probed if one.leaks]
    for one in leaking:
        try:
            entry = await catalogue.entry(set_id, one.entry)
            changed = await catalogue.changes.change(set_id, one.entry, higher, actor=caller.key_id)
        except Missing:
            continue  # removed since it was probed
        if changed.raised > entry.raised:
            metrics.watch_raised.inc()
        # The alert. An entry that leaks on the last rung needs a person: its texts or its threshold are at fault.
        rung = ladder[min(changed.raised, highest)]
        _log.warning("entry_leaked", set=set_id, entry=entry.id, probes=one.probes, leaks=one.leaks, rung=rung)
        raised.append({"entry": entry.id, "leaks": one.leaks, "raised": changed.raised > entry.raised, "rung": rung})
    metrics.watch_probes.inc(sum(one.probes for one in body.probed))
    metrics.watch_leaks.inc(sum(one.leaks for one in leaking))

    def change(there: dict[str, str]) -> dict[str, str]:
        before = json.loads(there.get(set_id, "{}"))
        earlier = before["leaking"] if body.round and before.get("round") == body.round else 0
        told = {"at": time.time(), "leaking": earlier + len(leaking), "round": body.round}
        kept = {name: last for name, last in there.items() if name in catalogue.current.sets}
        return kept | {set_id: json.dumps(told)}

    await catalogue.shared.change(KIND, change, actor=caller.key_id, action=f"watch.report {set_id}")
    return json_reply({"leaked": raised, "generation": catalogue.current.number})


def show_watches(catalogue: Catalogue, metrics: Metrics) -> None:
    """Shows the last round of each set now, and whenever any process was told of one."""
    shown: set[str] = set()

    def show() -> None:
        rounds: Mapping[str, str] = catalogue.shared.documents.get(KIND, {})
        for gone in shown - rounds.keys():
            metrics.watch_leaking.remove(gone)
            metrics.watch_at.remove(gone)
        for name, body in rounds.items():
            told = json.loads(body)
            metrics.watch_leaking.labels(name).set(told["leaking"])
            metrics.watch_at.labels(name).set(told["at"])
        shown.clear()
        shown.update(rounds)

    catalogue.shared.on_change(show)
    show()


def _whole(ladder: tuple[Rung, ...]) -> tuple[Rung, ...]:
    """A ladder up to the rung that ends every one. A set that only observes has none to begin with."""
    return ladder if Rung.REFUSE in ladder else (*ladder, Rung.REFUSE)
