"""The client port: `/v1/*` in OpenAI's shapes, health and metrics. What is not named here is a 404."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from proxy.admission import ARM_HEADER, admitted, authorization, json_object
from proxy.decide import Subject
from proxy.dialects.base import Call, Dialect, Json
from proxy.dialects.chat import Chat
from proxy.dialects.completions import Completions
from proxy.dialects.messages import Messages
from proxy.dialects.requests import JOINED, turns_of
from proxy.dialects.responses import Responses
from proxy.embeddings import EMBEDDINGS, serve_embeddings
from proxy.errors import ClientLeft, NotFound
from proxy.exchange import FINDINGS_HEADER, GUARDED, RAW, Exchange
from proxy.keys import Caller
from proxy.relay import Relay
from proxy.server import ERROR_SHAPE, SERVER, Server
from proxy.workers.pages import metrics_page

DIALECTS: tuple[Dialect, ...] = (Chat(), Completions(), Responses(), Messages())


def routes() -> list[web.RouteDef]:
    """All routes of the client port."""
    return [
        *(web.post(dialect.path, _serve(dialect)) for dialect in DIALECTS),
        web.post(EMBEDDINGS.path, serve_embeddings),
        web.get("/v1/models", _models),
        web.get("/v1/models/{model:.+}", _model),
        web.get("/livez", _livez),
        web.get("/health", _readyz),
        web.get("/readyz", _readyz),
        web.get("/version", _version),
        web.get("/metrics", _metrics),
    ]


def _serve(dialect: Dialect) -> Any:
    async def serve(request: web.Request) -> web.StreamResponse:
        server = request.app[SERVER]
        request[ERROR_SHAPE] = dialect.error
        caller = server.catalogue.keys.caller(authorization(request))
        with server.rates.asking(caller) as asking:
            body = await json_object(request, server.config.limits.max_body_mib)
            assigned = server.experiments.arm_for(caller, body, request.headers)
            exchange = await opened(server, dialect, caller, body, request.headers.get(ARM_HEADER), assigned)
            exchange.show_findings = FINDINGS_HEADER in request.headers and "admin" in caller.scopes
            exchange.allowance = asking.headers
            try:
                return await _answer(request, exchange)
            finally:
                asking.tokens = exchange.tokens

    serve.__doc__ = f"{(type(dialect).__doc__ or '').rstrip('.')}: guarded."
    return serve


async def _answer(request: web.Request, exchange: Exchange) -> web.StreamResponse:
    server = request.app[SERVER]
    server.metrics.in_flight.inc()
    try:
        if exchange.arm != RAW:
            exchange.plan = await server.decider.decide(exchange.subject, exchange.generation, exchange.arm)
        if server.shadow.takes(exchange):
            exchange.kept = bytearray()
        response = await Relay(request, exchange, server).run()
        if exchange.kept is not None:
            if isinstance(response, web.Response) and isinstance(response.body, bytes):
                exchange.kept += response.body
            server.shadow.compare(exchange)
    except (asyncio.CancelledError, ClientLeft):
        exchange.outcome = "left"
        raise
    finally:
        server.metrics.in_flight.dec()
        exchange.close(server.metrics)
        server.experiments.saw(exchange, request.headers)
    return response


async def opened(
    server: Server, dialect: Dialect, caller: Caller, body: Json, wanted_arm: str | None, assigned: str = GUARDED
) -> Exchange:
    """Reads a request as far as it can be read without measuring anything. Raises RequestError.

    `assigned` is the arm of a request that names none.
    """
    call, model, chosen, arm = await admitted(server, dialect, caller, body, wanted_arm, assigned)
    return Exchange(
        caller=caller,
        dialect=dialect,
        call=call,
        arm=arm,
        arm_chosen=chosen is not None,
        model=model,
        generation=server.catalogue.current,
        subject=subject_of(call),
    )


def subject_of(call: Call) -> Subject:
    """What of a request is compared with the forget set."""
    seams = sum(text.path.startswith(JOINED) for text in call.texts)
    return Subject([text.text for text in call.texts], turns=turns_of(call.texts), seams=seams)


async def _models(request: web.Request) -> web.Response:
    """The models that a key may ask for, with the names of further arms."""
    server = request.app[SERVER]
    caller = server.catalogue.keys.caller(authorization(request))
    return web.json_response({"object": "list", "data": _cards(server, caller)})


async def _model(request: web.Request) -> web.Response:
    """One of them."""
    server = request.app[SERVER]
    caller = server.catalogue.keys.caller(authorization(request))
    wanted = request.match_info["model"]
    for card in _cards(server, caller):
        if card["id"] == wanted:
            return web.json_response(card)
    raise NotFound(f"the model '{wanted}' does not exist", param="model", code="model_not_found")


def _cards(server: Server, caller: Caller) -> list[Mapping[str, Any]]:
    others = (RAW, *server.catalogue.policies.arms) if caller.may(RAW) else ()
    suffixes = ["", *(f":{arm}" for arm in others)]
    return [
        {
            "id": model.name + suffix,
            "object": "model",
            "created": server.started_at,
            "owned_by": "lethe",
            "max_model_len": model.max_model_len,
        }
        for model in server.upstream.view.models.values()
        for suffix in suffixes
    ]


async def _livez(_: web.Request) -> web.Response:
    """200 while the process lives."""
    return web.json_response({"status": "alive"})


async def _readyz(request: web.Request) -> web.Response:
    """200 when requests can be answered, else 503 with the reason."""
    server = request.app[SERVER]
    problem = server.problem()
    body = {"status": "not ready" if problem else "ready", "generation": server.catalogue.current.number}
    return web.json_response(body | ({"reason": problem} if problem else {}), status=503 if problem else 200)


async def _version(request: web.Request) -> web.Response:
    """The version of Lethe."""
    return web.json_response({"version": request.app[SERVER].version, "time": int(time.time())})


async def _metrics(request: web.Request) -> web.Response:
    """For Prometheus; of all workers, whichever is asked."""
    page = await metrics_page(request.app[SERVER].metrics.registry, request.app[SERVER].worker)
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})
