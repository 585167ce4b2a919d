"""The client port: `/v1/*` in OpenAI's shapes, health and metrics. What is not named here is a 404."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from guards.prompt.fields import FieldRefused, check_fields
from proxy.decide import Subject
from proxy.dialects.base import Call, Dialect, Json
from proxy.dialects.chat import Chat
from proxy.dialects.completions import Completions
from proxy.dialects.messages import Messages
from proxy.dialects.responses import Responses
from proxy.errors import BadRequest, ClientLeft, Forbidden, NotFound, TooLarge, UpstreamFailed
from proxy.exchange import FINDINGS_HEADER, GUARDED, RAW, Exchange
from proxy.keys import Caller
from proxy.relay import Relay
from proxy.server import ERROR_SHAPE, SERVER, Server

ARM_HEADER = "x-lethe-arm"

_PROMPT_PATHS = ("messages", "prompt", "input", "system", "instructions", "tools")

LONGEST_TOKEN = 64  # characters; tokenizers hold few that are longer, and no text is made of them


DIALECTS: tuple[Dialect, ...] = (Chat(), Completions(), Responses(), Messages())


def routes() -> list[web.RouteDef]:
    """All routes of the client port."""
    return [
        *(web.post(dialect.path, _serve(dialect)) for dialect in DIALECTS),
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
        caller = server.catalogue.keys.caller(_authorization(request))
        body = await _json_object(request, server.config.limits.max_body_mib)
        assigned = server.experiments.arm_for(caller, body, request.headers)
        exchange = opened(server, dialect, caller, body, request.headers.get(ARM_HEADER), assigned)
        exchange.show_findings = FINDINGS_HEADER in request.headers and "admin" in caller.scopes
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

    return serve


def opened(
    server: Server, dialect: Dialect, caller: Caller, body: Json, wanted_arm: str | None, assigned: str = GUARDED
) -> Exchange:
    """Reads a request as far as it can be read without measuring anything. Raises RequestError.

    `assigned` is the arm of a request that names none.
    """
    call = dialect.parse(body)
    model, chosen = _arm(call.model, wanted_arm, [RAW, GUARDED, *server.catalogue.arms])
    arm = chosen or assigned
    caller.require("client" if chosen in (None, GUARDED) else RAW)
    served = server.upstream.view.models
    if model not in served:
        if not served:
            raise UpstreamFailed(f"no model is served: {server.upstream.view.problem}", retry_after_s=2)
        raise NotFound(
            f"the model '{model}' does not exist; available: {', '.join(served)}", param="model", code="model_not_found"
        )
    if arm != RAW:
        try:
            check_fields(body, dialect.table, strict=server.config.surface == "strict")
        except FieldRefused as refused:
            raise BadRequest(str(refused), param=refused.field, code="unsupported_parameter") from None
    _check_length(call, served[model].max_model_len)
    return Exchange(
        caller=caller,
        dialect=dialect,
        call=call,
        arm=arm,
        arm_chosen=chosen is not None,
        model=model,
        generation=server.catalogue.current,
        subject=Subject([text.text for text in call.texts]),
    )


async def _json_object(request: web.Request, max_mib: int) -> Json:
    """The body of a request as a JSON object. Raises BadRequest or TooLarge."""
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"the request is larger than {max_mib} MiB (limits.max_body_mib)") from None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"the body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _authorization(request: web.Request) -> str | None:
    """The key of a request: a bearer token, or in the header that Anthropic's clients send."""
    key = request.headers.get("x-api-key")
    return request.headers.get("Authorization") or (f"Bearer {key}" if key else None)


def _arm(model: str, header: str | None, arms: list[str]) -> tuple[str, str | None]:
    """The engine's model name and the arm, if one is named. The suffix of the name and the header must not disagree."""
    name, _, suffix = model.rpartition(":")
    named = suffix if name and suffix in arms and suffix != GUARDED else None
    if header is not None and header not in arms:
        raise BadRequest(f"'{ARM_HEADER}' is one of {', '.join(arms)}", param=ARM_HEADER)
    if named and header not in (None, named):
        raise BadRequest(f"the model name asks for the {named} arm, '{ARM_HEADER}' for another", param=ARM_HEADER)
    return name if named else model, named or header


def _check_length(call: Call, max_model_len: int | None) -> None:
    """Turns away a prompt that cannot fit before any of it is embedded: a word is a token or more."""
    texts = [text.text for text in call.texts if text.path.startswith(_PROMPT_PATHS)]
    prompts = sum(text.path.startswith("prompt") for text in call.texts) or 1
    words = sum(max(len(text.split()), len(text) // LONGEST_TOKEN) for text in texts)
    if max_model_len is not None and words > max_model_len * prompts:
        raise BadRequest(
            f"this model's maximum context length is {max_model_len} tokens; the prompt has at least {words}",
            param=next(name for name in ("prompt", "messages", "input") if name in call.body),
            code="context_length_exceeded",
        )


async def _models(request: web.Request) -> web.Response:
    server = request.app[SERVER]
    caller = server.catalogue.keys.caller(_authorization(request))
    return web.json_response({"object": "list", "data": _cards(server, caller)})


async def _model(request: web.Request) -> web.Response:
    server = request.app[SERVER]
    caller = server.catalogue.keys.caller(_authorization(request))
    wanted = request.match_info["model"]
    for card in _cards(server, caller):
        if card["id"] == wanted:
            return web.json_response(card)
    raise NotFound(f"the model '{wanted}' does not exist", param="model", code="model_not_found")


def _cards(server: Server, caller: Caller) -> list[Mapping[str, Any]]:
    try:
        caller.require(RAW)
        suffixes = ["", *(f":{arm}" for arm in (RAW, *server.catalogue.arms))]
    except Forbidden:
        suffixes = [""]
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
    return web.json_response({"status": "alive"})


async def _readyz(request: web.Request) -> web.Response:
    server = request.app[SERVER]
    problem = server.problem()
    body = {"status": "not ready" if problem else "ready", "generation": server.catalogue.current.number}
    return web.json_response(body | ({"reason": problem} if problem else {}), status=503 if problem else 200)


async def _version(request: web.Request) -> web.Response:
    return web.json_response({"version": request.app[SERVER].version, "time": int(time.time())})


async def _metrics(request: web.Request) -> web.Response:
    page = generate_latest(request.app[SERVER].metrics.registry)
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})
