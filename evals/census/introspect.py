"""Lists the routes and request fields of the vLLM of this environment as JSON. Runs in the engine's Python.

Routes are read from the source, not from a started server: most are behind a flag, and a flag must not hide one.
Fields are read from the request models, with those of nested models and the kinds (`type`) of their variants.
"""

import ast
import dataclasses
import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel

METHODS = {"get", "post", "put", "patch", "delete", "head", "options", "websocket", "api_route"}

MODELS = {
    "/v1/chat/completions": "vllm.entrypoints.openai.chat_completion.protocol:ChatCompletionRequest",
    "/v1/completions": "vllm.entrypoints.openai.completion.protocol:CompletionRequest",
    "/v1/responses": "vllm.entrypoints.openai.responses.protocol:ResponsesRequest",
    "/v1/messages": "vllm.entrypoints.anthropic.protocol:AnthropicMessagesRequest",
    "/v1/embeddings": "vllm.entrypoints.pooling.embed.protocol:EmbeddingRequest",
}
"""The request model of each route that the proxy passes on."""

DEEPEST = 6  # levels of nesting; deeper ones are JSON schemas, whose strings are read whatever they are called


def routes(package: Path) -> Iterator[tuple[str, str]]:
    """Method and path of every route that the source of a package declares."""
    for file in sorted(package.rglob("*.py")):
        source = file.read_text("utf-8")
        if "router." not in source and "app." not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
                owner = node.func.value
                name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
                path = node.args[0] if node.args else None
                if name.endswith(("router", "app")) and isinstance(path, ast.Constant) and isinstance(path.value, str):
                    yield node.func.attr.upper(), path.value


class Fields:
    """The fields of one request model: paths of nested ones, and the kinds of variants by path."""

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}
        """Path of each field, and whether it holds `text`, an `object` or a `value` without text."""
        self.kinds: dict[str, set[str]] = {}

    def read(self, annotation: Any, path: str, depth: int = 0) -> None:
        """Adds what lies below a type."""
        annotation = _plain(annotation)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in (Union, types.UnionType):
            for one in arguments:
                self.read(one, path, depth)
        elif origin is Literal or annotation in (bool, int, float, type(None)):
            self._note(path, "value")
        elif isinstance(annotation, type) and issubclass(annotation, str | bytes):
            self._note(path, "text")
        elif origin in (list, set, tuple, frozenset) or _is_sequence(origin):
            for one in arguments:
                if one is not Ellipsis:
                    self.read(one, f"{path}[]", depth)
        elif (hints := _hints(annotation)) is not None:
            self._note(path, "object")
            if depth < DEEPEST:
                for name, hint in hints.items():
                    if name == "type" and get_origin(_plain(hint)) is Literal:
                        self.kinds.setdefault(path, set()).update(map(str, get_args(_plain(hint))))
                    self.read(hint, f"{path}.{name}" if path else name, depth + 1)
        else:  # free JSON
            self._note(path, "object")

    def _note(self, path: str, what: str) -> None:
        order = ("value", "text", "object")
        path = path.removesuffix("[]")
        if path:
            self.paths[path] = max(self.paths.get(path, "value"), what, key=order.index)


def _plain(annotation: Any) -> Any:
    """A type without its wrappers."""
    while True:
        if type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        elif get_origin(annotation) is Annotated or getattr(get_origin(annotation), "__name__", "") in (
            "Required",
            "NotRequired",
            "ReadOnly",
        ):
            annotation = get_args(annotation)[0]
        else:
            return annotation


def _is_sequence(origin: Any) -> bool:
    return isinstance(origin, type) and origin.__module__ == "collections.abc" and origin.__name__ != "Mapping"


def _hints(annotation: Any) -> dict[str, Any] | None:
    """Fields of a model, a typed dictionary or a dataclass; None for anything else."""
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, BaseModel):
        return {(field.alias or name): field.annotation for name, field in annotation.model_fields.items()}
    if is_typeddict(annotation) or hasattr(annotation, "__total__"):
        return get_type_hints(annotation, include_extras=True)
    if dataclasses.is_dataclass(annotation):
        return {name: hint for name, hint in get_type_hints(annotation).items() if not name.startswith("_")}
    return None


def _model(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def main() -> None:
    package = importlib.util.find_spec("vllm")
    if package is None or package.origin is None:
        sys.exit("this Python has no vLLM")
    from vllm import __version__ as version  # noqa: PLC0415 - its import prints, and takes seconds

    found: dict[str, Any] = {"vllm": version, "routes": [], "fields": {}, "kinds": {}}
    found["routes"] = sorted(
        {f"{method} {path}" for method, path in routes(Path(package.origin).parent / "entrypoints")}
    )
    for route, where in MODELS.items():
        fields = Fields()
        fields.read(_model(where), "")
        found["fields"][route] = dict(sorted(fields.paths.items()))
        found["kinds"][route] = {path: sorted(kinds) for path, kinds in sorted(fields.kinds.items())}
    print("CENSUS " + json.dumps(found))


if __name__ == "__main__":
    main()
