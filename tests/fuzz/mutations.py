"""Random changes to JSON values and to streams of events. Deterministic for a given random generator."""

import copy
import json
import random
from typing import Any

ODD: list[Any] = [None, True, False, 0, -1, 2**40, 1.5, "", "x", "\u0000", "\ud83d", [], {}, [[]], [None], {"": ""}]

Place = tuple[Any, Any]


def places(value: Any) -> list[Place]:
    """Holder and key of every value inside a JSON value."""
    found: list[Place] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found


def mutated(value: Any, rng: random.Random, times: int) -> Any:
    """A copy with some values replaced, removed, doubled, renamed or put elsewhere."""
    value = copy.deepcopy(value)
    for _ in range(times):
        inside = places(value)
        if not inside:
            return value
        holder, key = rng.choice(inside)
        match rng.randrange(6):
            case 0:
                holder[key] = copy.deepcopy(rng.choice(ODD))
            case 1:
                del holder[key]
            case 2 if isinstance(holder, list):
                holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
            case 3 if isinstance(holder, dict):
                holder[rng.choice((key.upper(), f"{key}_", key[:-1] or "q"))] = holder.pop(key)
            case 4:
                other, name = rng.choice(inside)
                if _holds(other, name):
                    holder[key] = copy.deepcopy(other[name])
            case _:
                holder[key] = {"nested": holder[key]} if rng.random() < 0.5 else [holder[key]]
    return value


def _holds(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else isinstance(key, int) and key < len(holder)


def mutated_stream(raw: bytes, rng: random.Random) -> bytes:
    """A stream with events dropped, doubled, swapped, changed inside, or bytes changed."""
    events = raw.split(b"\n\n")[:-1]
    for _ in range(rng.randrange(1, 4)):
        if not events:
            break
        place = rng.randrange(len(events))
        match rng.randrange(8):
            case 0:
                del events[place]
            case 1:
                events.insert(rng.randrange(len(events) + 1), events[place])
            case 2:
                other = rng.randrange(len(events))
                events[place], events[other] = events[other], events[place]
            case 3 | 4 | 5:
                events[place] = _inside(events[place], rng)
            case 6:
                at = rng.randrange(len(events[place]) + 1)
                events[place] = events[place][:at] + rng.randbytes(rng.randrange(1, 4)) + events[place][at:]
            case _:
                events.insert(place, rng.choice((b": comment", b"data:", b"event: x", b"retry: 1", b"data: null")))
    end = b"\r\n\r\n" if rng.random() < 0.1 else b"\n\n"
    return b"".join(event + end for event in events)


def _inside(event: bytes, rng: random.Random) -> bytes:
    head, mark, data = event.partition(b"data: ")
    try:
        payload = json.loads(data)
    except ValueError:
        return event
    return head + mark + json.dumps(mutated(payload, rng, rng.randrange(1, 3)), separators=(",", ":")).encode()


def cut(data: bytes, rng: random.Random) -> list[bytes]:
    """Data in packets that end anywhere."""
    ends = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
