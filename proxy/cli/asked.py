"""Requests of any dialect on the command line: given as a file or made of a question, and what an answer says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click
import orjson

from proxy.cli.output import USAGE, fail

DIALECTS = ("chat", "completions", "responses", "messages")

dialect_option = click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    default="chat",
    show_default=True,
    help="The route whose shape the request has.",
)
request_option = click.option(
    "--request",
    "request_file",
    type=click.File("r", encoding="utf-8"),
    help="A request as JSON, as a client would send it, instead of a text; '-' reads standard input.",
)


def given(text: str | None, request_file: TextIO | None, what: str) -> dict[str, Any] | None:
    """The request that was given; None where a text was. Ends the command where there is not exactly one of both."""
    if (text is None) == (request_file is None):
        fail(f"give either {what} or --request FILE", USAGE)
    if request_file is None:
        return None
    try:
        request = orjson.loads(request_file.read())
    except (orjson.JSONDecodeError, UnicodeDecodeError) as error:
        where = f" in line {error.lineno}" if isinstance(error, orjson.JSONDecodeError) else ""
        fail(f"{Path(request_file.name).name} is not valid JSON{where}", USAGE)
    if not isinstance(request, dict):
        fail(f"{Path(request_file.name).name} holds no request: it is no JSON object", USAGE)
    return request


def request_of(dialect: str, question: str, model: str, max_tokens: int) -> dict[str, Any]:
    """A request that asks one question."""
    said: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": question}], "max_tokens": max_tokens},
        "completions": {"prompt": question, "max_tokens": max_tokens},
        "responses": {"input": question, "max_output_tokens": max_tokens},
        "messages": {"messages": [{"role": "user", "content": question}], "max_tokens": max_tokens},
    }
    return {"model": model, "temperature": 0, **said[dialect]}


def text_of(dialect: str, answer: dict[str, Any]) -> str:
    """What an answer says, without its reasoning and calls of tools."""
    found: str = _SAID[dialect](answer)
    return found


def _parts(items: list[dict[str, Any]]) -> str:
    return "".join(part.get("text") or part.get("refusal") or "" for part in items)


_SAID: dict[str, Callable[[dict[str, Any]], str]] = {
    "chat": lambda answer: answer["choices"][0]["message"]["content"] or "",
    "completions": lambda answer: answer["choices"][0]["text"],
    "responses": lambda answer: "".join(
        _parts(item["content"]) for item in answer["output"] if item["type"] == "message"
    ),
    "messages": lambda answer: _parts([block for block in answer["content"] if block["type"] == "text"]),
}
