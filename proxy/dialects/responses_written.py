"""What a client was shown of an answer of `/v1/responses`: its items as they stand, and the number of the next event.

An answer that is cut is ended with what was shown of it, in the events that the client expects.
"""

from typing import Any

import orjson

from proxy.dialects.base import Event, Json, Usage
from proxy.dialects.responses_events import DELTAS, ITEMS, PARTS, STEMS, WHOLE, usage_json
from proxy.dialects.sse import typed_event


class Written:
    """Told of everything that leaves, in its order."""

    def __init__(self) -> None:
        self._number = 0
        self._response: Json = {}
        self._items: dict[int, Json] = {}
        self._done: set[int] = set()

    def has(self, index: int) -> bool:
        """True for an item that was begun."""
        return index in self._items

    def seen(self, event: Event) -> None:
        """An event left as it came, number and all."""
        number = event.payload.get("sequence_number")
        self._number = number + 1 if isinstance(number, int) else self._number
        self._note(event)

    def event(self, event: Event) -> bytes:
        """An event of the engine as it leaves now: numbered anew where others were held or dropped."""
        self._note(event)
        if event.changed or event.payload.get("sequence_number") != self._number:
            return self._numbered(event.payload)
        self._number += 1
        return event.raw + b"\n\n"

    def piece(self, place: Json, text: str) -> bytes:
        """An event with one more piece of a text; `place` is what else it says."""
        payload = {**place, "delta": text}
        self._append(payload, text)
        return self._numbered(payload)

    def cut(self) -> bytes:
        """The events that end all items which are not complete."""
        return b"".join(self._closed(index) for index in sorted(set(self._items) - self._done))

    def end_cut(self, usage: Usage | None) -> bytes:
        """The event that ends an answer which was cut."""
        response = {
            **self._response,
            "status": "incomplete",
            "incomplete_details": {"reason": "content_filter"},
            "output": [self._items[index] for index in sorted(self._items)],
            "usage": usage_json(usage) if usage else None,
        }
        return self._numbered({"type": "response.incomplete", "response": response})

    # -- inside

    def _numbered(self, payload: Json) -> bytes:
        out = typed_event({**payload, "sequence_number": self._number})
        self._number += 1
        return out

    def _note(self, event: Event) -> None:
        payload = event.payload
        kind = payload["type"]
        if kind in WHOLE:
            self._response = payload["response"]
        elif kind in ITEMS:
            index = payload["output_index"]
            self._items[index] = _copied(payload["item"])
            if kind.endswith(".done"):
                self._done.add(index)
        elif kind in PARTS:
            self._put_part(payload)
        for leaf in event.leaves:
            if not leaf.whole:
                self._append(payload, leaf.text)

    def _put_part(self, payload: Json) -> None:
        item = self._items.get(payload["output_index"])
        name = "summary" if "summary" in payload["type"] else "content"
        index = payload.get("content_index", payload.get("summary_index"))
        if item is None or not isinstance(index, int):
            return
        parts = item.get(name) or []
        item[name] = [*parts[:index], _copied(payload["part"]), *parts[index + 1 :]]

    def _append(self, payload: Json, text: str) -> None:
        """Adds a piece that left to the item it belongs to."""
        item = self._items.get(payload["output_index"])
        if item is None:
            return
        field = DELTAS[payload["type"].rpartition(".")[0]]
        holder: Any = item
        parts = item.get("summary" if "summary" in payload["type"] else "content")
        index = payload.get("content_index", payload.get("summary_index"))
        if isinstance(index, int) and isinstance(parts, list) and index < len(parts):
            holder = parts[index]
        said = holder.get(field)
        holder[field] = (said if isinstance(said, str) else "") + text

    def _closed(self, index: int) -> bytes:
        """The events that end an item which is not complete."""
        item = self._items[index]
        self._done.add(index)
        out = b""
        for place, part in enumerate(item.get("content") or ()):
            stem = STEMS.get(str(part.get("type")))
            at = {"item_id": item.get("id"), "output_index": index, "content_index": place}
            if stem:
                whole = {"type": f"{stem}.done", **at, "text": part.get("text", "")}
                out += self._numbered(whole | ({"logprobs": []} if stem == "response.output_text" else {}))
            out += self._numbered({"type": "response.content_part.done", **at, "part": part})
        item["status"] = "incomplete"
        return out + self._numbered({"type": "response.output_item.done", "output_index": index, "item": item})


def _copied(value: Json) -> Json:
    copied: Json = orjson.loads(orjson.dumps(value))
    return copied
