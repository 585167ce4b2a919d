"""The admin API described as OpenAPI 3.1, made from its routes, their first lines and the models of their bodies."""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from proxy.admin.embedder import EmbedderBody
from proxy.admin.models import (
    ActivateBody,
    AssistantBody,
    CheckBody,
    CompareBody,
    EntriesBody,
    EntryBody,
    EntryChange,
    KeyBody,
    ReceiptBody,
    ScoreBody,
    SetBody,
    SetChange,
)
from proxy.admin.watch import WatchBody
from proxy.experiments.api import StopBody
from proxy.experiments.definition import Experiment
from proxy.server import SERVER

PATH = "/admin/v1/openapi.json"
_REFERENCE = "#/components/schemas/{model}"

BODIES: Mapping[str, tuple[type[BaseModel], ...]] = {
    "add_set": (SetBody,),
    "change_set": (SetChange,),
    "add_entries": (EntryBody, EntriesBody),
    "change_entry": (EntryChange,),
    "check_request": (CheckBody,),
    "compare": (CompareBody,),
    "score": (ScoreBody,),
    "make_receipt": (ReceiptBody,),
    "add_key": (KeyBody,),
    "use_embedder": (EmbedderBody,),
    "load_assistant": (AssistantBody,),
    "activate_assistant": (ActivateBody,),
    "start_experiment": (Experiment,),
    "stop_experiment": (StopBody,),
    "report_watch": (WatchBody,),
}
"""Bodies by the name of the handler; several where a call takes either."""

WITHOUT_BODY = frozenset({"import_entries"})
"""Calls that take something else than one JSON object: lines, or nothing."""


async def show_openapi(request: web.Request) -> web.Response:
    """This API as an OpenAPI document."""
    request.app[SERVER].catalogue.keys.admin(request.headers.get("Authorization"))
    routes = [
        web.RouteDef(route.method, route.resource.canonical, route.handler, {})
        for route in request.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    ]
    body = orjson.dumps(document(routes, request.app[SERVER].version))
    return web.Response(body=body, content_type="application/json")


def document(routes: Iterable[web.RouteDef], version: str) -> dict[str, Any]:
    """The document for some routes."""
    models = {model for bodies in BODIES.values() for model in bodies}
    named = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in named], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lethe admin API", "version": version},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")},
        }
    },
}


def _operation(route: web.RouteDef) -> dict[str, Any]:
    name = getattr(route.handler, "__name__", "")
    doc = inspect.getdoc(route.handler) or ""
    error = {"description": "what is wrong, in OpenAI's shape", "content": _json(_ref("Error"))}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": " ".join(doc.split("\n\n")[0].split()),
        "parameters": [
            {"name": parameter, "in": "path", "required": True, "schema": {"type": "string"}}
            for parameter in re.findall(r"{(\w+)}", route.path)
        ],
        "responses": {"2XX": {"description": "done", "content": _json({"type": "object"})}, "default": error},
    }
    if bodies := BODIES.get(name):
        shapes = [_ref(model.__name__) for model in bodies]
        schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        operation["requestBody"] = {"required": True, "content": _json(schema)}
    return operation


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(model: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model)}
