"""Looking into decisions: what would happen to a text, arms side by side, probabilities."""

from typing import Any

import orjson
from aiohttp import web

from proxy.admin.calls import admin_of, body_of, json_reply
from proxy.admin.explain import explained
from proxy.admin.models import (
    CheckBody,
    CompareBody,
    ScoreBody,
)
from proxy.admin.score import scores_of
from proxy.admission import read
from proxy.asking import EngineRequest
from proxy.client_api import DIALECTS, opened, subject_of
from proxy.decide import Subject
from proxy.dialects.base import Dialect
from proxy.errors import BadRequest
from proxy.exchange import GUARDED, RAW, finding_json
from proxy.relay import Relay

_DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in DIALECTS}


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.post("/admin/v1/check", check_request),
        web.post("/admin/v1/compare", compare),
        web.post("/admin/v1/score", score),
    ]


async def check_request(request: web.Request) -> web.Response:
    """What would happen to a text or a request of any dialect, and why. The engine answers nothing of it."""
    server, _ = admin_of(request)
    body = await body_of(request, CheckBody)
    if (body.text is None) == (body.request is None):
        raise BadRequest("give either 'text' or 'request'")
    if body.arm != GUARDED and body.arm not in server.catalogue.policies.arms:
        raise BadRequest(f"'arm' is one of {', '.join((GUARDED, *server.catalogue.policies.arms))}", param="arm")
    subject = Subject([body.text or ""])
    if body.request is not None:
        subject = subject_of(await read(server.upstream, _DIALECTS[body.dialect], body.request))
    return json_reply(await explained(server, subject, body.arm))


async def compare(request: web.Request) -> web.Response:
    """The same request of any dialect to several arms: their answers and findings."""
    server, caller = admin_of(request)
    body = await body_of(request, CompareBody)
    if body.request.get("stream"):
        raise BadRequest("'compare' answers as a whole: leave 'stream' out", param="request.stream")
    reply: dict[str, Any] = {}
    for arm in body.arms:
        exchange = await opened(server, _DIALECTS[body.dialect], caller, dict(body.request), arm)
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
    return json_reply(reply)


async def score(request: web.Request) -> web.Response:
    """Log-probabilities of given answers as an arm has them, for evaluations. Clients have no such call."""
    server, caller = admin_of(request)
    body = await body_of(request, ScoreBody)
    exchange = await opened(server, _DIALECTS[body.dialect], caller, dict(body.request), body.arm)
    if body.arm != RAW:
        exchange.plan = await server.decider.decide(exchange.subject, exchange.generation, body.arm)
    found = await scores_of(server, exchange, EngineRequest(request.headers, exchange, server), body.answers)
    return json_reply({"rung": exchange.plan.rung, "answers": [one.as_json() for one in found]})
