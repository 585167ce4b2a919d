"""Mutated requests of every route: they are read or refused by name, and what reaches the engine was scanned."""

import copy
import random
from typing import Any

from guards.context.note import note
from guards.prompt.fields import FieldRefused, check_fields, forwarded
from proxy.dialects.base import Dialect
from proxy.embeddings import EMBEDDINGS
from proxy.errors import BadRequest
from tests.fuzz.mutations import mutated, places
from tests.fuzz.streams import DIALECTS

MARK = "the violet heron of Sarnow"
"""What a client smuggles in somewhere."""

NOT_TEXT = frozenset({"type", "signature", "status", "role"})
"""Names whose values a template does not put into a prompt."""

_PARTS: Any = [{"type": "text", "text": "Hello"}]
_TOOL: Any = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"enum": ["a"]}}}
_CALL: Any = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}

BODIES: dict[str, dict[str, Any]] = {
    "chat": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": _PARTS, "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [_CALL], "reasoning": "hm"},
            {"role": "tool", "tool_call_id": "c", "content": "result"},
            {"role": "user", "content": "Go on."},
        ],
        "tools": [_TOOL],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": "y"}}},
        "temperature": 0,
        "stop": ["a"],
        "stream_options": {"include_usage": True},
        "logit_bias": {"1": 1},
    },
    "completions": {
        "model": "m",
        "prompt": ["Hello", "there"],
        "max_tokens": 5,
        "structured_outputs": {"choice": ["a"]},
    },
    "responses": {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "result"},
            {"role": "assistant", "content": "Well"},
        ],
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"enum": ["a"]}}],
        "text": {"format": {"type": "text"}},
        "reasoning": {"effort": "low"},
    },
    "messages": {
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"q": "x"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "result"}]},
            {"role": "assistant", "content": "Well"},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "enum": ["a"]}}],
        "thinking": {"type": "disabled"},
        "stop_sequences": ["a"],
    },
    "embeddings": {"model": "m", "input": ["Hello", "there"], "dimensions": 3},
}

ROUTES: dict[str, Any] = {route.name: route for route in (*DIALECTS, EMBEDDINGS)}


def one(rng: random.Random) -> str:
    """One request; whether it was refused or passed. Raises AssertionError when a text got by unread."""
    name = rng.choice(list(BODIES))
    route = ROUTES[name]
    body = copy.deepcopy(BODIES[name])
    _mark(body, rng)
    if rng.random() < 0.8:
        body = mutated(body, rng, rng.randrange(1, 4))
    strict = rng.random() < 0.7
    try:
        call = route.parse(body)
        check_fields(body, route.table, strict=strict)
        sent = forwarded(body, route.table, armed=rng.random() < 0.5)
        if name != "embeddings":
            dialect: Dialect = route
            dialect.amend(sent, note(demonstrations=2, reasoning=False))
            dialect.tokenize_request(body)
    except (BadRequest, FieldRefused):
        return "refused"
    assert not _reaches(sent, strict) or any(MARK in text.text for text in call.texts), (name, body)
    return "passed"


def _mark(body: dict[str, Any], rng: random.Random) -> None:
    """Puts the mark in the place of a text, or of a key."""
    strings = [(holder, key) for holder, key in places(body) if isinstance(holder[key], str)]
    holder, key = rng.choice(strings)
    if rng.random() < 0.1 and isinstance(holder, dict):
        holder[MARK] = holder.pop(key)
    else:
        holder[key] = f"{holder[key]} {MARK}" if rng.random() < 0.5 else MARK


def _reaches(sent: dict[str, Any], strict: bool) -> bool:
    """Whether the mark stands where the engine may put it before the model."""
    inside = [(holder, key) for holder, key in places(sent) if holder is not sent or key in _PROMPTS]
    return any(
        (
            isinstance(holder[key], str)
            and MARK in holder[key]
            and key not in NOT_TEXT
            and _below_text(holder, key, sent)
        )
        for holder, key in inside
    )


_PROMPTS = frozenset({"messages", "prompt", "input", "instructions", "system", "tools", "tool_choice", "text"})
_SCANNED = _PROMPTS | {"response_format", "structured_outputs", "output_config"}


def _below_text(holder: Any, key: Any, sent: dict[str, Any]) -> bool:
    """True for a value that stands in a field which is read."""
    wanted = [sent[name] for name in _SCANNED if name in sent]
    if holder is sent:
        return key in _SCANNED
    return any(holder is value or any(holder is h[k] for h, k in places(value)) for value in wanted)
