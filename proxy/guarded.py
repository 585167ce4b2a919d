"""A guarded stream: events of the engine in, events for the client out, every string through the output filters.

No I/O. Invariants
1. Nothing leaves before the first text that may leave: until then a hit can still be answered otherwise (`hit`).
2. An event that needs no change leaves as the bytes that came.
3. Fields of events and choices that are not known do not leave; neither do log-probabilities, which spell the text.
4. A choice that is cut ends with a valid event of its dialect and says nothing more; the other choices go on.
"""

import re
from collections.abc import Iterator

import orjson

from guards.stream.json_text import JsonTextFilter
from guards.stream.phrase import Cut, PhraseFilter, Step
from indexes.generation import Generation
from proxy.dialects.base import Dialect, Json, Leaf
from proxy.dialects.sse import DONE, DONE_EVENT, KEEP_ALIVE, BrokenStream, data_of, event_bytes
from proxy.errors import UpstreamFailed

CUT_REASON = "content_filter"

EVENT_FIELDS = frozenset(("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"))

Channel = tuple[str | int, ...]
Filter = PhraseFilter | JsonTextFilter


class GuardedStream:
    """The filters of one answer: one for each string of each choice that a client can read."""

    def __init__(self, dialect: Dialect, choices: int, generation: Generation) -> None:
        self._dialect = dialect
        self._generation = generation
        self._filters: dict[int, dict[Channel, Filter]] = {}
        self._open = set(range(choices))
        self._held: list[bytes] = []
        self._showing = False
        self.head: Json = {}
        """Id, time and model of the answer under way."""
        self.tokens = 0
        """Events with text so far: the engine sends one for each token."""
        self.cuts = 0
        """Choices that were cut."""
        self.shown = False
        """True once the client has been given anything of this answer."""
        self.hit = False
        """Something forbidden came before anything was shown: give up this answer and take the next rung."""
        self.done = False
        """The answer is complete; what the engine still sends is not for the client."""

    def feed(self, event: bytes, usage: Json | None = None) -> bytes:
        """Takes one event of the engine; returns what may leave. `usage` replaces the usage that the engine reports.

        Raises BrokenStream for what is no event of this dialect, UpstreamFailed for an error that the engine reports.
        """
        data = data_of(event)
        if data is None:
            return self._leave(KEEP_ALIVE)
        if data == DONE:
            return self._end()
        payload = self._read(data)
        before: list[bytes] = []
        changed = event != b"data: " + data  # comments and other fields beside the data stay here
        changed |= _keep_only(EVENT_FIELDS, payload)
        # What the engine still sends for a choice that was cut is dropped.
        kept = [choice for choice in payload["choices"] if choice.get("index", 0) in self._open]
        if len(kept) != len(payload["choices"]):
            if not kept:
                return b""
            payload["choices"], changed = kept, True
        for choice in kept:
            changed |= _keep_only(self._dialect.choice_fields, choice)
            changed |= self._filter_choice(choice, before)
            if self.hit:
                return b""
        if payload.get("usage") and usage:
            payload["usage"], changed = usage, True
        if self.cuts and not self._open:
            self.done = True
        return self._leave(b"".join(before) + (event_bytes(payload) if changed else event + b"\n\n"))

    def renew(self, generation: Generation) -> bytes:
        """Moves to a newer generation; what it adds also holds for text that is held now."""
        self._generation = generation
        out: list[bytes] = []
        for choice in sorted(self._open):
            for channel, one in self._filters.get(choice, {}).items():
                step = one.renew(generation.phrases, generation.forbidden)
                if isinstance(step, Cut) and not self._may_cut(choice):
                    return b""
                if step.text:
                    self._showing = True
                    out.append(event_bytes(self._dialect.delta(self.head, choice, channel, step.text)))
                if isinstance(step, Cut):
                    out.append(self._finish_event(choice))
                    break
        self.done = bool(self.cuts) and not self._open
        return self._leave(b"".join(out))

    def cut_all(self) -> bytes:
        """Ends every open choice. Where all have ended, nothing is left to cut but the end of the stream."""
        out = b"".join(self._finish_event(choice) for choice in sorted(self._open) if self._may_cut(choice, force=True))
        self.done = bool(self.cuts)
        return self._leave(out)

    def was_shown(self, event: bytes) -> None:
        """Tells of an event that left before this guard was there."""
        self.shown = self._showing = True
        data = data_of(event)
        if data is None or data == DONE:
            return
        for choice in self._read(data)["choices"]:
            for leaf in self._dialect.leaves(choice):
                self._filter(leaf).shown_before(leaf.text)
            if choice.get("finish_reason"):
                self._open.discard(choice.get("index", 0))

    # -- inside

    def _read(self, data: bytes) -> Json:
        payload = _payload(data)
        self.head = {name: payload[name] for name in ("id", "created", "model") if name in payload}
        return payload

    def _filter_choice(self, choice: Json, before: list[bytes]) -> bool:
        """Filters the strings of one choice in place; returns whether anything changed."""
        leaves = list(self._dialect.leaves(choice))
        self.tokens += any(leaf.text for leaf in leaves)
        changed = False
        for place, leaf in enumerate(leaves):
            step = self._filter(leaf).on_delta(leaf.text)
            changed |= self._apply(leaf, step)
            if isinstance(step, Cut):
                return self._cut(choice, leaves[place + 1 :])
        if choice.get("finish_reason"):
            changed |= self._close(choice, leaves, before)
        return changed

    def _close(self, choice: Json, leaves: list[Leaf], before: list[bytes]) -> bool:
        """The engine ends a choice: what is held is judged and leaves with or before this event."""
        index = choice.get("index", 0)
        changed = False
        last = {leaf.channel: leaf for leaf in leaves}
        for channel, one in self._filters.get(index, {}).items():
            step = one.on_finish()
            if step.text and channel in last:
                last[channel].text += step.text
                changed = True
            elif step.text:
                before.append(event_bytes(self._dialect.delta(self.head, index, channel, step.text)))
            if isinstance(step, Cut):
                return self._cut(choice, [])
        self._open.discard(index)
        self._showing = True  # also an empty answer is an answer
        return changed

    def _apply(self, leaf: Leaf, step: Step) -> bool:
        self._showing |= bool(step.text)
        if step.text == leaf.text:
            return False
        leaf.text = step.text
        return True

    def _cut(self, choice: Json, unread: list[Leaf]) -> bool:
        for leaf in unread:
            leaf.text = ""
        if self._may_cut(choice.get("index", 0)):
            choice["finish_reason"] = CUT_REASON
        return True

    def _may_cut(self, choice: int, *, force: bool = False) -> bool:
        """Closes a choice; before anything was shown, asks for the next rung instead."""
        if not self.shown and not force:
            self.hit = True
            return False
        self._open.discard(choice)
        self.cuts += 1
        return True

    def _finish_event(self, choice: int) -> bytes:
        return event_bytes(self._dialect.finish(self.head, choice, CUT_REASON))

    def _filter(self, leaf: Leaf) -> Filter:
        channels = self._filters.setdefault(leaf.choice, {})
        found = channels.get(leaf.channel)
        if found is None:
            found = PhraseFilter(self._generation.phrases, self._generation.forbidden)
            if self._dialect.is_json(leaf.channel):
                found = JsonTextFilter(found)
            channels[leaf.channel] = found
        return found

    def _end(self) -> bytes:
        if self._open:
            raise BrokenStream("the engine ended the stream before it ended the answer")
        self.done = True
        return self._leave(DONE_EVENT)

    def _leave(self, out: bytes) -> bytes:
        """What leaves now. Before the first text everything waits, so that a hit leaves no trace of this answer."""
        self._held.append(out)
        if not self._showing and not self.done:
            return b""
        out = b"".join(self._held)
        self._held = []
        self.shown |= bool(out)
        return out


def checked_answer(dialect: Dialect, payload: Json, generation: Generation, usage: Json | None) -> bytes | None:
    """A whole answer through the filters; None when it must not be shown. Raises BrokenStream.

    One path for both: a whole answer is a stream of one event.
    """
    event = event_bytes(payload)[:-2]
    choices = _payload(event.removeprefix(b"data: "))["choices"]
    if sorted(choice.get("index", 0) for choice in choices) != list(range(len(choices))):
        raise BrokenStream("the choices of the engine's answer are not numbered")
    if not all(choice.get("finish_reason") for choice in choices):
        raise BrokenStream("the engine's answer is not finished")
    guard = GuardedStream(dialect, len(choices), generation)
    out = guard.feed(event, usage)
    return None if guard.hit or guard.cuts else data_of(out)


def _keep_only(known: frozenset[str], holder: Json) -> bool:
    """Empties what is not known; returns whether there was any."""
    unknown = [name for name, value in holder.items() if value is not None and name not in known]
    for name in unknown:
        holder[name] = None
    return bool(unknown)


def _payload(data: bytes) -> Json:
    try:
        payload: Json = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BrokenStream("an event of the engine is not JSON") from None
    if isinstance(payload, dict) and payload.get("error"):
        raise UpstreamFailed("the engine reported an error in mid-stream")
    choices = payload.get("choices") if isinstance(payload, dict) else None
    if not isinstance(choices, list) or not all(
        isinstance(choice, dict) and isinstance(choice.get("index", 0), int) for choice in choices
    ):
        raise BrokenStream("an event of the engine has an unknown shape")
    return payload


def usage_event(dialect: Dialect, head: Json, usage: Json) -> bytes:
    """The event that reports usage at the end of a stream."""
    shape = dialect.delta(head, 0, (), "")
    return event_bytes({**shape, "choices": [], "usage": usage})


def answer_events(dialect: Dialect, head: Json, texts: list[str]) -> Iterator[bytes]:
    """An answer of our own as a stream, word by word as a model's would come."""
    for choice, text in enumerate(texts):
        opening = dialect.opening(head, choice)
        if opening:
            yield event_bytes(opening)
        for piece in re.findall(r"\s*\S+", text):
            yield event_bytes(dialect.delta(head, choice, (), piece))
        yield event_bytes(dialect.finish(head, choice, "stop"))
