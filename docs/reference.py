"""Writes reference.md from the code: routes, request fields, settings, commands, metrics, errors.

python docs/reference.py            writes docs/reference.md
python docs/reference.py --check    exits 1 when it is not up to date
"""

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
from aiohttp import web
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from guards.policy import Policy
from guards.prompt.fields import Field
from guards.prompt.routes import ROUTES
from guards.prompt.tables import TABLES
from proxy import client_api, errors
from proxy.admin import models as admin_models
from proxy.app import admin_routes
from proxy.cli.main import main as command_line
from proxy.config import Config
from proxy.metrics import Metrics

TARGET = Path(__file__).with_name("reference.md")


def reference() -> str:
    """The whole page."""
    parts = [
        "# Reference\n\nMade from the code by `python docs/reference.py`; do not edit.",
        "## Client port\n\n" + _routes(client_api.routes()),
        "### Routes of the engine\n\nWhat is in no row answers 404 like the closed ones.\n\n" + _engine_routes(),
        "## Admin port\n\nEvery call needs an admin key. `GET /admin/v1/openapi.json` describes them all.\n\n"
        + _routes(admin_routes()),
        "### Bodies\n\n" + "\n\n".join(_bodies()),
        "## Request fields\n\n*Armed*: the request is near the forget set, or the policy scans every answer. "
        "A field that is in no row is refused, or passed on with `surface: permissive`.\n\n" + "\n\n".join(_fields()),
        "## Settings\n\n" + _settings(Config, ""),
        "## Policy\n\n" + _policy(),
        "## Commands\n\n" + "\n\n".join(_commands(command_line, "lethe")),
        "## Metrics\n\n" + _metrics(),
        '## Errors\n\nAlways `{"error": {"message", "type", "param", "code"}}`.\n\n' + _errors(),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _first_line(item: Any) -> str:
    return (inspect.getdoc(item) or "").split("\n\n")[0].replace("\n", " ")


def _routes(routes: list[web.RouteDef]) -> str:
    return _table(("call", "what it does"), ((f"`{r.method} {r.path}`", _first_line(r.handler)) for r in routes))


def _bodies() -> Iterator[str]:
    for name, model in vars(admin_models).items():
        if (
            isinstance(model, type)
            and issubclass(model, BaseModel)
            and not name.startswith("_")
            and model is not BaseModel
        ):
            yield f"**{name}.** {_first_line(model)}\n\n{_settings(model, '')}"


def _fields() -> Iterator[str]:
    for route, table in TABLES.items():
        rows = ((f"`{row.name}`", row.treatment.value, row.reason) for row in sorted(table.values(), key=_name))
        yield f"### `{route}`\n\n" + _table(("field", "treatment", "why"), rows)


def _name(row: Field) -> str:
    return row.name


def _engine_routes() -> str:
    rows = ((f"`{path}`", way.value, reason) for path, (way, reason) in sorted(ROUTES.items()))
    return _table(("route of vLLM", "treatment", "why"), rows)


def _settings(model: type[BaseModel], prefix: str) -> str:
    return _table(("setting", "default", "meaning"), _setting_rows(model, prefix))


def _setting_rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _setting_rows(inner, f"{prefix}{name}.")
            continue
        if field.is_required():
            default = "required"
        elif field.default is PydanticUndefined:
            default = "see below" if name == "policy" else ""
        else:
            default = f"`{_plain(field.default)}`"
        choices = [str(a) for a in get_args(inner) if isinstance(a, str)]
        meaning = field.description or (" or ".join(choices) if choices else "")
        yield f"`{prefix}{name}`", default, meaning


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _policy() -> str:
    defaults = Policy()
    rows = ((f"`{f.name}`", f"`{_plain(getattr(defaults, f.name))}`") for f in dataclasses.fields(Policy))
    return f"{inspect.getdoc(Policy)}\n\n" + _table(("setting", "default"), rows)


def _commands(command: click.Command, name: str) -> Iterator[str]:
    with click.Context(command, info_name=name, max_content_width=100, terminal_width=100) as context:
        text = command.get_help(context)
    yield f"### `{name}`\n\n```text\n{text}\n```"
    if isinstance(command, click.Group):
        for sub_name in sorted(command.list_commands(context)):
            sub_command = command.get_command(context, sub_name)
            if sub_command is not None:
                yield from _commands(sub_command, f"{name} {sub_name}")


def _metrics() -> str:
    rows = ((f"`{m.name}`", m.type, m.documentation) for m in Metrics().registry.collect())
    return _table(("metric", "type", "meaning"), rows)


def _errors() -> str:
    def rows() -> Iterator[tuple[str, ...]]:
        for kind in vars(errors).values():
            if isinstance(kind, type) and issubclass(kind, errors.RequestError) and kind is not errors.RequestError:
                yield kind.__name__, str(kind.status), f"`{kind.type}`", f"`{kind.code}`" if kind.code else ""

    return _table(("error", "status", "type", "code"), rows())


def main() -> None:
    page = reference()
    if "--check" in sys.argv:
        if not TARGET.exists() or TARGET.read_text("utf-8") != page:
            sys.exit("docs/reference.md is not up to date: run `python docs/reference.py`")
        return
    TARGET.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
