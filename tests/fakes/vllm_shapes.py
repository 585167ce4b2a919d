"""Scripts of an engine's answers, and the events and bodies of vLLM 0.32 that they become, key by key.

`tests/wire/test_fake_is_true.py` compares them with a real engine.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MODEL = "fake-135m"
MAX_MODEL_LEN = 8192
FINGERPRINT = "vllm-0.32.0-7e3bf783"


@dataclass(frozen=True)
class Say:
    """A piece of text of one choice."""

    text: str
    choice: int = 0


@dataclass(frozen=True)
class Delta:
    """A chat delta (`reasoning`, `tool_calls`, anything), or fields of a whole message."""

    fields: dict[str, Any]
    choice: int = 0


@dataclass(frozen=True)
class Extra:
    """Fields beside the delta, in the choice and in the event."""

    choice_fields: dict[str, Any] = field(default_factory=dict)
    event_fields: dict[str, Any] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class Wait:
    """Nothing until the test sets an event."""

    event: asyncio.Event


@dataclass(frozen=True)
class Reached:
    """Tells the test that everything before has been sent."""

    event: asyncio.Event


@dataclass(frozen=True)
class Raw:
    """Bytes as they are."""

    data: bytes


@dataclass(frozen=True)
class Close:
    """The connection breaks."""


@dataclass(frozen=True)
class Stall:
    """Nothing, for ever."""


@dataclass(frozen=True)
class Fail:
    """An error that is reported in mid-stream."""

    message: str = "EngineCore encountered an issue"


Step = Say | Delta | Extra | Wait | Reached | Raw | Close | Stall | Fail


@dataclass(frozen=True)
class Script:
    """One answer. `cuts` are places of the streamed bytes where a packet ends; `status` other than 200 sends `body`."""

    steps: tuple[Step, ...] = ()
    finish: str = "stop"
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cuts: tuple[int, ...] = ()
    line_end: bytes = b"\n"


class Shape:
    """The events and answers of one request, key by key as vLLM writes them."""

    def __init__(self, *, chat: bool, body: dict[str, Any]) -> None:
        self.chat = chat
        prompts = body["prompt"] if isinstance(body.get("prompt"), list) else [None]
        prompts = [None] if isinstance(prompts[0], int) else prompts
        self.choices = (body.get("n") or 1) * len(prompts)
        options = body.get("stream_options") or {}
        self._usage_wanted = bool(options.get("include_usage"))
        self._continuous = self._usage_wanted and bool(options.get("continuous_usage_stats"))
        self._prompt_tokens = tokens_of(body)
        self._kind = "chat.completion" if chat else "text_completion"
        self._id = "chatcmpl-973eaa5bfaf0e404" if chat else "cmpl-a12010c8125050c6"
        self._model = body["model"]

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": 1795227327, "model": self._model}

    def _opening(self, choice: int) -> dict[str, Any]:
        delta = {"role": "assistant", "content": ""}
        item = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": None}
        return {
            **self._head("chat.completion.chunk"),
            "choices": [item],
            "prompt_token_ids": None,
            "prompt_text": None,
        }

    def _delta(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text}} if self.chat else {"text": text}

    def _piece(self, choice: int, said: dict[str, Any], ends: str | None) -> dict[str, Any]:
        item: dict[str, Any] = {"index": choice, **said, "logprobs": None, "finish_reason": ends}
        if not self.chat:
            item |= {"stop_reason": None, "prompt_token_ids": None, "token_ids": None}
        else:
            item |= ({"stop_reason": None} if ends else {}) | {"token_ids": None}
        event = {**self._head(f"{self._kind}.chunk" if self.chat else self._kind), "choices": [item]}
        if ends and not self._usage_wanted:
            event["system_fingerprint"] = FINGERPRINT
        return event

    def _usage_event(self, said: int) -> dict[str, Any]:
        return {
            **self._head(f"{self._kind}.chunk" if self.chat else self._kind),
            "choices": [],
            "usage": self._usage(said),
            "system_fingerprint": FINGERPRINT,
        }

    def _usage(self, said: int) -> dict[str, Any]:
        prompt = self._prompt_tokens
        return {"prompt_tokens": prompt, "total_tokens": prompt + said, "completion_tokens": said}

    def stream(self, script: Script) -> Iterator["bytes | Wait | Reached | Stall | Close"]:
        """What is sent for a script, in pieces, and what comes between."""
        opened = not self.chat
        said = dict.fromkeys(range(self.choices), 0)
        spoken = {step.choice: place for place, step in enumerate(script.steps) if isinstance(step, Say)}
        at_limit = script.finish == "length" and len(spoken) == self.choices  # then the last piece carries the end

        def event(payload: dict[str, Any]) -> bytes:
            if self._continuous and payload.get("choices"):
                usage = self._usage(sum(said.values()))
                place = list(payload).index("choices") + 1
                rest = {key: payload.pop(key) for key in list(payload)[place:]}
                payload |= {"usage": usage | ({"completion_tokens_details": None} if self.chat else {}), **rest}
            return b"data: " + as_json(payload) + script.line_end * 2

        for place, step in enumerate(script.steps):
            if not opened and isinstance(step, Say | Delta | Extra | Fail):
                opened = True
                yield from (event(self._opening(choice)) for choice in said)
            match step:
                case Say(text, choice):
                    said[choice] += 1
                    ends = script.finish if at_limit and place == spoken[choice] else None
                    yield event(self._piece(choice, self._delta(text), ends))
                case Delta(fields, choice):
                    said[choice] += 1
                    yield event(self._piece(choice, {"delta": fields}, None))
                case Extra(choice_fields, event_fields, text):
                    payload = self._piece(0, self._delta(text), None)
                    payload["choices"][0].update(choice_fields)
                    yield event({**payload, **event_fields})
                case Fail(message):
                    error = {"message": message, "type": "InternalServerError", "param": None, "code": 500}
                    yield event({"error": error})
                    yield b"data: [DONE]" + script.line_end * 2
                    return
                case Raw(data):
                    yield data
                case _:
                    yield step
        if not opened:
            yield from (event(self._opening(choice)) for choice in said)
        if not at_limit:
            yield from (event(self._piece(choice, self._delta(""), script.finish)) for choice in said)
        if self._usage_wanted:
            yield event(self._usage_event(sum(said.values())))
        yield b"data: [DONE]" + script.line_end * 2

    def whole(self, script: Script) -> dict[str, Any]:
        """The same as one answer."""
        messages: list[dict[str, Any]] = [{} for _ in range(self.choices)]
        choice_extra: dict[str, Any] = {}
        event_extra: dict[str, Any] = {}
        said = 0
        for step in script.steps:
            match step:
                case Say(text, choice):
                    said += 1
                    _merge(messages[choice], {"content": text})
                case Delta(fields, choice):
                    said += 1
                    _merge(messages[choice], fields)
                case Extra(choice_fields, event_fields, text):
                    _merge(messages[0], {"content": text})
                    choice_extra |= choice_fields
                    event_extra |= event_fields
                case _:
                    pass
        choices = [
            self._message(i, message, script.finish) if self.chat else self._text(i, message, script.finish)
            for i, message in enumerate(messages)
        ]
        choices[0] |= choice_extra
        rest = {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None} if self.chat else {}
        details = {"prompt_tokens_details": None, "completion_tokens_details": None}
        return {
            **self._head(self._kind),
            "choices": choices,
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": self._usage(said) | details,
            **rest,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
            **event_extra,
        }

    @staticmethod
    def _message(index: int, said: dict[str, Any], finish: str) -> dict[str, Any]:
        names = ("refusal", "annotations", "audio", "function_call", "reasoning")
        message = {"role": "assistant", "content": None if said else "", **dict.fromkeys(names), **said}
        return {
            "index": index,
            "message": message,
            "logprobs": None,
            "finish_reason": finish,
            **dict.fromkeys(("stop_reason", "token_ids", "routed_experts")),
        }

    @staticmethod
    def _text(index: int, said: dict[str, Any], finish: str) -> dict[str, Any]:
        names = ("stop_reason", "token_ids", "prompt_logprobs", "prompt_token_ids", "routed_experts")
        text = said.get("content", "")
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish, **dict.fromkeys(names)}


def stream_bytes(script: Script, body: dict[str, Any], *, chat: bool = True) -> bytes:
    """What a stream sends for a script, without a server."""
    pieces = Shape(chat=chat, body={"model": MODEL, **body}).stream(script)
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def tokens_of(body: dict[str, Any]) -> int:
    """Tokens of a prompt as this engine counts them: its words, and three for each message."""
    messages = body.get("messages")
    if messages is not None:
        return sum(3 + len(_text_of(message.get("content")).split()) for message in messages)
    prompt = body.get("prompt", "")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], str):
        return sum(len(ids) if isinstance(ids, list) else 1 for ids in prompt)
    return sum(len(text.split()) for text in (prompt if isinstance(prompt, list) else [prompt]))


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content or ""


def as_json(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _merge(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Adds a delta to a message as a client does."""
    for key, value in delta.items():
        there = message.get(key)
        if isinstance(value, str) and isinstance(there, str) and key not in ("id", "type", "role"):
            message[key] = there + value
        elif isinstance(value, dict) and isinstance(there, dict):
            _merge(there, value)
        elif isinstance(value, list) and isinstance(there, list):
            for item in value:
                same = [known for known in there if known.get("index") == item.get("index")]
                _merge(same[0], item) if same else there.append(json.loads(json.dumps(item)))
        else:
            message[key] = json.loads(json.dumps(value))
