"""What happens to a request before anything of it is measured: who asks, for which model and arm, with which fields."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from guards.prompt.fields import FieldRefused, check_fields
from proxy.dialects.base import Call, Json, Route
from proxy.dialects.requests import model_of
from proxy.errors import BadRequest, NotFound, TooLarge, UpstreamFailed
from proxy.exchange import GUARDED, RAW
from proxy.keys import Caller
from proxy.server import Server
from proxy.upstream import UpstreamClient

ARM_HEADER = "x-lethe-arm"

LONGEST_TOKEN = 64  # characters; tokenizers hold few that are longer, and no text is made of them

MAX_ID_LISTS = 64  # each is a request to the engine before anything else is done
MAX_IDS = 2**20  # more than any context holds; the engine says exactly how many are too many

_PROMPT_PATHS = ("messages", "prompt", "input", "system", "instructions", "tools")
_AS_IDS = {"/v1/completions": "prompt", "/v1/embeddings": "input"}
"""The field of each route that may hold token ids instead of text."""


async def admitted(
    server: Server, route: Route, caller: Caller, body: Json, wanted_arm: str | None, assigned: str = GUARDED
) -> tuple[Call, str, str | None, str]:
    """The request, the engine's name of the model, the arm that was named, and the arm. Raises RequestError.

    `assigned` is the arm where none is named. Whoever may not ask, or asks for what is refused, costs the engine
    nothing: it is called, to put token ids into words, when all else is known to be right.
    """
    model, chosen = _arm(model_of(body), wanted_arm, [RAW, GUARDED, *server.catalogue.policies.arms])
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
            check_fields(body, route.table, strict=server.config.surface == "strict")
        except FieldRefused as refused:
            raise BadRequest(str(refused), param=refused.field, code="unsupported_parameter") from None
    call = await read(server.upstream, route, body)
    _check_length(call, served[model].max_model_len)
    return call, model, chosen, arm


async def read(upstream: UpstreamClient, route: Route, body: Json) -> Call:
    """A request as its route reads it, token ids as the text that they stand for. Raises RequestError."""
    words = await in_words(upstream, route, body)
    call = route.parse(body | words)
    return replace(call, body=body, in_words=words) if words else call


async def in_words(upstream: UpstreamClient, route: Route, body: Json) -> Json:
    """The fields of a body that hold token ids, as the text that the engine's tokenizer makes of them.

    Ids that it makes nothing of cannot be checked. Raises BadRequest for those, or as `UpstreamClient.post`.
    """
    name = _AS_IDS.get(route.path, "")
    lists = _id_lists(body.get(name), name)
    if not lists:
        return {}
    return {name: list(await asyncio.gather(*(_detokenized(upstream, ids, name) for ids in lists)))}


def _id_lists(value: Any, name: str) -> list[list[int]]:
    """The lists of token ids in a field; empty where it holds anything else."""
    if not isinstance(value, list) or not value:
        return []
    lists = [value] if all(isinstance(item, int) for item in value) else value
    if not all(isinstance(ids, list) and ids and all(type(item) is int for item in ids) for ids in lists):
        return []
    if len(lists) > MAX_ID_LISTS:
        raise BadRequest(f"'{name}' holds at most {MAX_ID_LISTS} lists of token ids", param=name)
    if sum(map(len, lists)) > MAX_IDS or any(not 0 <= item < 2**31 for ids in lists for item in ids):
        raise BadRequest(f"'{name}' holds more token ids than a context, or none of this model", param=name)
    return lists


async def _detokenized(upstream: UpstreamClient, ids: list[int], name: str) -> str:
    answer = await upstream.ask("/detokenize", {"tokens": ids})
    text = answer.get("prompt") if isinstance(answer, dict) else None
    if not isinstance(text, str) or not text:
        raise BadRequest(f"'{name}': the engine's tokenizer makes no text of these token ids", param=name)
    return text


async def json_object(request: web.Request, max_mib: int) -> Json:
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


def authorization(request: web.Request) -> str | None:
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
