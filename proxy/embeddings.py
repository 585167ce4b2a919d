"""`/v1/embeddings`: the input is checked, the vectors are passed on.

A vector of a forgotten text is as good as the text to whoever searches with it, and logs of embeddings outlive answers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from aiohttp import web

from guards.prompt.fields import FieldRefused, forwarded
from guards.prompt.tables import EMBEDDINGS as TABLE
from proxy.admission import ARM_HEADER, admitted, authorization, json_object
from proxy.decide import Subject
from proxy.dialects.base import Call, Json, Text
from proxy.dialects.requests import model_of
from proxy.errors import BadRequest, ModelGone, NotFound, RequestError, UpstreamFailed
from proxy.exchange import RAW
from proxy.keys import Caller
from proxy.server import SERVER

MAX_INPUTS = 2048  # as OpenAI's own limit
MAX_ANSWER_BYTES = 256 * 1024**2  # 2048 vectors of 4096 numbers, written out

_log = structlog.get_logger("lethe.embeddings")


class Embeddings:
    """Implements `Route`."""

    name = "embeddings"
    path = "/v1/embeddings"
    table = TABLE

    def parse(self, body: Json) -> Call:
        """Reads a request. Raises BadRequest."""
        texts = tuple(_inputs(body.get("input")))
        return Call(body, model_of(body), False, 1, False, texts, "")

    def error(self, error: RequestError) -> bytes:
        """The body of a failed request."""
        return error.body()


EMBEDDINGS = Embeddings()


async def serve_embeddings(request: web.Request) -> web.Response:
    """Vectors of texts, unless one of them is near the forget set."""
    server = request.app[SERVER]
    caller = server.catalogue.keys.caller(authorization(request))
    with server.rates.asking(caller) as asking:
        reply = await _embedded(request, caller)
        reply.headers.update(asking.headers)
        return reply


async def _embedded(request: web.Request, caller: Caller) -> web.Response:
    server = request.app[SERVER]
    body = await json_object(request, server.config.limits.max_body_mib)
    call, model, _, arm = await admitted(server, EMBEDDINGS, caller, body, request.headers.get(ARM_HEADER))
    outcome, rung = "failed", "none"
    try:
        if arm != RAW:
            subject = Subject([text.text for text in call.texts])
            plan = await server.decider.decide(subject, server.catalogue.current, arm)
            if plan.armed:
                outcome, rung = "refused", plan.rung.value if plan.rung else "none"
                raise BadRequest(
                    "the input is near something that this server was told to forget: it is not embedded",
                    param="input",
                    code="content_filter",
                )
        raw = await _asked(request, body, model, raw_arm=arm == RAW)
        outcome = "answered"
        return web.Response(body=raw, content_type="application/json")
    finally:
        server.metrics.requests.labels(EMBEDDINGS.name, arm, rung, outcome).inc()
        _log.info("embeddings", key=caller.key_id, arm=arm, rung=rung, outcome=outcome, inputs=len(call.texts))


async def _asked(request: web.Request, body: Mapping[str, Any], model: str, *, raw_arm: bool) -> bytes:
    """The engine's answer as it came. Raises RequestError."""
    try:
        sent = forwarded(body, TABLE, armed=False, raw=raw_arm)
    except FieldRefused as refused:
        raise BadRequest(str(refused), param=refused.field, code="unsupported_parameter") from None
    upstream = request.app[SERVER].upstream
    try:
        async with upstream.post(EMBEDDINGS.path, {**sent, "model": model}, request.headers) as response:
            raw = b""
            while block := await response.content.readany():
                raw += block
                if len(raw) > MAX_ANSWER_BYTES:
                    raise UpstreamFailed("the engine's answer is larger than this server passes on")
            return raw
    except ModelGone:
        raise NotFound(
            f"the engine gives no embeddings with '{model}'", param="model", code="embeddings_not_served"
        ) from None


def _inputs(given: Any) -> Iterator[Text]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest("'input' is a text, a list of texts, or token ids", param="input")
    if len(texts) > MAX_INPUTS:
        raise BadRequest(f"'input' holds at most {MAX_INPUTS} texts", param="input")
    for place, text in enumerate(texts):
        yield Text("user", f"input[{place}]", text)
