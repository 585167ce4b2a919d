"""What the dialects share in reading and writing answers: the engine's JSON, its strings, and what is known of it.

What is not known of an answer is taken out before a client has it: nobody has looked at what it says.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from proxy.dialects.base import Channel, Json, Usage
from proxy.dialects.sse import UNKNOWN_SHAPE, BrokenStream
from proxy.errors import UpstreamFailed


def payload_of(data: bytes) -> Json:
    """The JSON of an event. Raises BrokenStream, or UpstreamFailed for an error that the engine reports."""
    try:
        return checked(orjson.loads(data))
    except orjson.JSONDecodeError:
        raise BrokenStream("an event of the engine is not JSON") from None


def checked(payload: Any) -> Json:
    """An object that reports no error. Raises as `payload_of`."""
    if not isinstance(payload, dict):
        raise BrokenStream(UNKNOWN_SHAPE)
    if payload.get("type") == "error" or payload.get("error"):
        raise UpstreamFailed("the engine reported an error in mid-stream")
    return payload


def string_leaves(value: Any, structural: frozenset[str], path: Channel) -> Iterator[tuple[Channel, Any, str | int]]:
    """Path, holder and key of every string below a JSON value, but for structural keys such as `role` and `id`.

    An element of a list is addressed by its own `index` where it has one: tool calls arrive in pieces under it.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if key in structural:
                continue
            if isinstance(item, str):
                yield (*path, key), value, key
            else:
                yield from string_leaves(item, structural, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            given = item.get("index") if isinstance(item, dict) else None
            index = given if isinstance(given, int) else place
            if isinstance(item, str):
                yield (*path, index), value, place
            else:
                yield from string_leaves(item, structural, (*path, index))


def nested(channel: Channel, text: str) -> Any:
    """A JSON value that holds one string at a path, as `string_leaves` names it."""
    if not channel:
        return text
    first, rest = channel[0], channel[1:]
    inner = nested(rest, text)
    if isinstance(first, int):
        return [{"index": first, **inner}] if isinstance(inner, dict) else [inner]
    return {first: inner}


def empty_unknown(holder: Json, known: frozenset[str]) -> bool:
    """Empties what is not known; returns whether there was any."""
    changed = False
    for name in holder.keys() - known:
        if holder[name] is not None:
            holder[name], changed = None, True
    return changed


def drop_unknown(holder: Json, *known: str) -> bool:
    """Removes what is not known; returns whether there was any."""
    unknown = [name for name in holder if name not in known]
    for name in unknown:
        del holder[name]
    return bool(unknown)


def recounted(holder: Json, completion: str, prompt_tokens: int | None) -> Usage | None:
    """The usage that an answer reports, but for the client's own prompt; None where there is nothing to correct.

    `completion` is the field that counts the answer's tokens.
    """
    reported = holder.get("usage")
    if prompt_tokens is None or not isinstance(reported, dict):
        return None
    said = reported.get(completion)
    return Usage(prompt_tokens, said if isinstance(said, int) else 0)


def words_of(text: str) -> Iterator[str]:
    """A text in pieces, as a model would say it."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or (text[place].isspace() and not text[place - 1].isspace()):
            yield text[start:place]
            start = place
