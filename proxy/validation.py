"""What is wrong with settings or a request body, in words that name the cure."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from proxy.errors import BadRequest

_WORDS = {"string_too_short": "it is empty", "missing": "it is missing"}
"""Kinds of errors that pydantic names in words of its own."""

Model = TypeVar("Model", bound=BaseModel)


def parsed(model: type[Model], body: Any) -> Model:
    """A request body as a model. Raises BadRequest for the first thing that is wrong. Values are never repeated."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        path, message = next(problems(model, error))
        raise BadRequest(message, param=path or None) from None


def problems(model: type[BaseModel], error: ValidationError) -> Iterator[tuple[str, str]]:
    """Path and explanation of everything that pydantic found."""
    for item in error.errors(include_input=False, include_url=False):
        path = [str(part) for part in item["loc"]]
        name = ".".join(path)
        if item["type"] == "extra_forbidden":
            known = _known(model, path[:-1])
            near = get_close_matches(path[-1], known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known here: {', '.join(known)}" if known else ""
            yield name, f"unknown setting '{name}'{hint}"
        else:
            cause = (item.get("ctx") or {}).get("error")
            message = str(cause) if cause is not None else _WORDS.get(item["type"], item["msg"])
            yield name, f"'{name}': {message}" if name else message


def _known(model: Any, path: list[str]) -> list[str]:
    """Names of the fields of the model found at a path."""
    for part in path:
        if part.isdigit():
            continue
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return []
        annotation = field.annotation
        model = next((a for a in (annotation, *get_args(annotation)) if hasattr(a, "model_fields")), None)
    return list(getattr(model, "model_fields", {}))
