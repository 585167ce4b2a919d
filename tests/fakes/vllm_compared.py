"""Compares the scripted vLLM with a real engine: the same requests to both, and the shapes of what comes back.

A shape is a body or an event with its values replaced by their types, keys in their order. Streams are compared as the
order of the kinds of their events, per choice, and as the shape of each kind: how many tokens a model says, and in
which order several choices speak, is its own affair.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.fakes.vllm_shapes import Say

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"

Shape = Any

ENDS_AT_ONCE = {"ignore_eos": False, "logit_bias": {"2": 100}}  # 2 is the small model's end of a turn


@dataclass(frozen=True)
class Case:
    """A request. `body` lacks the model."""

    name: str
    path: str
    body: dict[str, Any]

    @property
    def steps(self) -> tuple[Say, ...]:
        """What a scripted engine says to it, to be as long as a real answer."""
        texts = "" if "logit_bias" in self.body else "abc"
        return tuple(Say(text, choice) for choice in range(self.body.get("n", 1)) for text in texts)

    @property
    def finish(self) -> str:
        return "stop" if "logit_bias" in self.body else "length"


def _asked(path: str, **fields: Any) -> dict[str, Any]:
    question = {"messages": [{"role": "user", "content": "Say hi"}]} if path == CHAT else {"prompt": "Say hi"}
    return question | {"max_tokens": 6, "ignore_eos": True, "seed": 1} | fields


def _cases() -> list[Case]:
    cases = []
    for path in (CHAT, COMPLETIONS):
        kind = "chat" if path == CHAT else "completions"
        usage = {"include_usage": True}
        for name, fields in (
            ("whole", {}),
            ("whole, two choices", {"n": 2}),
            ("stream", {"stream": True}),
            ("stream, two choices", {"stream": True, "n": 2}),
            ("stream, usage", {"stream": True, "stream_options": usage}),
            ("stream, two choices, usage", {"stream": True, "n": 2, "stream_options": usage}),
            ("stream, usage all along", {"stream": True, "stream_options": usage | {"continuous_usage_stats": True}}),
            ("ends at once", ENDS_AT_ONCE),
            ("stream, ends at once", ENDS_AT_ONCE | {"stream": True}),
            ("unknown model", {"model": "nothing"}),
            ("wrong type", {"temperature": "hot"}),
            ("wrong value", {"temperature": -1}),
            ("greedy choices", {"temperature": 0, "n": 2}),
        ):
            cases.append(Case(f"{kind}: {name}", path, _asked(path, **fields)))
        long = {"messages": [{"role": "user", "content": "hi " * 9000}]} if path == CHAT else {"prompt": "hi " * 9000}
        cases.append(Case(f"{kind}: too long", path, long))
    cases += _typed_cases()
    cases.append(Case("completions: token ids", COMPLETIONS, {"prompt": [19556, 905], "max_tokens": 3}))
    cases.append(Case("completions: lists of token ids", COMPLETIONS, {"prompt": [[19556], [905]], "max_tokens": 3}))
    cases.append(Case("detokenize", "/detokenize", {"tokens": [19556, 905]}))
    cases.append(Case("tokenize: prompt", "/tokenize", {"prompt": "hi there", "add_special_tokens": False}))
    cases.append(Case("tokenize: messages", "/tokenize", {"messages": [{"role": "user", "content": "hi"}]}))
    cases.append(Case("unknown route", "/v1/nothing", {}))
    return cases


def _typed_cases() -> Iterator[Case]:
    asked: dict[str, dict[str, Any]] = {
        RESPONSES: {"input": "Say hi", "max_output_tokens": 6, "seed": 1, "ignore_eos": True},
        MESSAGES: {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 6, "temperature": 0},
    }
    parts: dict[str, dict[str, Any]] = {
        RESPONSES: {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Say hi"}]}]},
        MESSAGES: {"messages": [{"role": "user", "content": [{"type": "text", "text": "Say hi"}]}]},
    }
    long = "hi " * 9000
    for path, body in asked.items():
        system = {"instructions" if path == RESPONSES else "system": "Be brief."}
        too_long = {"input": long} if path == RESPONSES else {"messages": [{"role": "user", "content": long}]}
        for name, fields in (
            ("whole", {}),
            ("stream", {"stream": True}),
            ("parts and a system prompt", parts[path] | system),
            ("stream, parts and a system prompt", parts[path] | system | {"stream": True}),
            ("unknown model", {"model": "nothing"}),
            ("wrong type", {"temperature": "hot"}),
            ("wrong value", {"temperature": -1}),
            ("too long", too_long),
        ):
            yield Case(f"{path}: {name}", path, body | fields)
    ends = ENDS_AT_ONCE | {"input": "Say hi"}
    yield Case("responses: ends at once", RESPONSES, ends)
    yield Case("responses: stream, ends at once", RESPONSES, ends | {"stream": True})


CASES = _cases()


async def shape_of(http: aiohttp.ClientSession, url: str, model: str, case: Case) -> Shape:
    """Status, content type and shape of what an engine answers."""
    body = {"model": model, **case.body}
    async with http.post(url + case.path, json=body) as response:
        raw = await response.read()
        kind = response.headers["Content-Type"]
        return {
            "status": response.status,
            "type": kind,
            "body": _stream_shape(raw) if kind.startswith("text/event-stream") else _body_shape(raw),
        }


async def card_shape(http: aiohttp.ClientSession, url: str) -> Shape:
    """What the proxy relies on of /health and /v1/models."""
    async with http.get(f"{url}/health") as health, http.get(f"{url}/v1/models") as models:
        cards = (await models.json())["data"]
        needed = ("id", "object", "created", "owned_by", "max_model_len")
        return health.status, await health.read(), [{name: _types(card[name]) for name in needed} for card in cards]


def _body_shape(raw: bytes) -> Shape:
    body = json.loads(raw)
    if "error" in body and body.get("type") == "error":
        return {"anthropic error": {"keys": [*body, *body["error"]], "type": body["error"]["type"]}}
    if body.get("error"):  # its wording is the engine's own; what the proxy reads of it is not
        error = body["error"]
        return {"error": {"keys": list(error), "type": error["type"], "param": error["param"], "code": error["code"]}}
    return _types(body)


def _stream_shape(raw: bytes) -> Shape:
    """For each choice the kinds of its events in order, repeats once; the shape of each kind; and how it all ends."""
    events = raw.decode().split("\n\n")
    assert events.pop() == "", "the stream ends with a blank line"
    if events[0].startswith("event: "):
        return _typed_stream_shape(events)
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    *data, last = [event[6:] for event in events]
    orders: dict[Any, list[str]] = {}
    shapes: dict[str, Shape] = {}
    for payload in map(json.loads, data):
        kind, choice = _kind(payload)
        shape = _types(payload)
        assert shapes.setdefault(kind, shape) == shape, f"two shapes of {kind}"
        order = orders.setdefault(choice, [])
        if order[-1:] != [kind]:
            order.append(kind)
    return {"orders": orders, "shapes": shapes, "last": last, "usage last": _kind(json.loads(data[-1]))[0] == "usage"}


def _typed_stream_shape(events: list[str]) -> Shape:
    """The order of the kinds of events, repeats once, and the shape of each."""
    order: list[str] = []
    shapes: dict[str, Shape] = {}
    for event in events:
        first, second = event.split("\n")
        kind, payload = first.removeprefix("event: "), json.loads(second.removeprefix("data: "))
        assert payload["type"] == kind
        shape = _types(payload)
        assert shapes.setdefault(kind, shape) == shape, f"two shapes of {kind}"
        if order[-1:] != [kind]:
            order.append(kind)
    numbers = [json.loads(event.split("data: ", 1)[1]).get("sequence_number") for event in events]
    return {"order": order, "shapes": shapes, "numbered": numbers == list(range(len(events)))}


def _kind(payload: dict[str, Any]) -> tuple[str, int | None]:
    if not payload["choices"]:
        return "usage", None
    (choice,) = payload["choices"]
    if choice["finish_reason"]:
        return "finish", choice["index"]
    return ("opening" if "role" in choice.get("delta", {}) else "piece"), choice["index"]


def _types(value: Any) -> Shape:
    if isinstance(value, dict):
        return [(key, _types(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [_types(item) for item in value[:1] if not isinstance(item, int)] and [_types(item) for item in value]
    return type(value).__name__
