"""Every string of a reply that a client can read, streamed or not, in any dialect: joined where it came in pieces."""

from collections.abc import Iterator
from typing import Any

import orjson

# What names parts of a reply rather than being read.
_STRUCTURAL = frozenset(("id", "object", "model", "role", "type", "finish_reason", "stop_reason", "created", "status"))
_STRUCTURAL |= {"item_id", "system_fingerprint", "service_tier", "call_id"}

Path = tuple[str | int, ...]


def strings_of(raw: bytes) -> list[str]:
    """The texts of a reply; of one that is neither JSON nor a stream of events, the whole."""
    joined: dict[Path, str] = {}
    for payload in _payloads(raw):
        for path, text in _leaves(payload, ()):
            joined[path] = joined.get(path, "") + text
    return [text for text in joined.values() if text.strip()]


def _payloads(raw: bytes) -> Iterator[Any]:
    if raw.lstrip().startswith((b"data:", b"event:", b":")):
        lines = [line[5:].strip() for line in raw.splitlines() if line.startswith(b"data:")]
    else:
        lines = [raw]
    for line in lines:
        if line == b"[DONE]":
            continue
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            yield line.decode("utf-8", "replace")


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _STRUCTURAL:
                yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            given = item.get("index") if isinstance(item, dict) else None
            # Positions of log-probabilities are joined: together their tokens spell a text.
            spelling = path[-2:] == ("logprobs", "content") or path[-1:] in (("tokens",), ("prompt_logprobs",))
            yield from _leaves(item, path if spelling else (*path, given if isinstance(given, int) else place))
