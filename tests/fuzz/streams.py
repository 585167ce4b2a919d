"""Mutated streams of the engine, fed to the filters of an armed request: no phrase leaks, nothing fails unforeseen."""

import json
import random
from collections import defaultdict
from typing import Any

import numpy as np

from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.words import words_of
from proxy.dialects.base import Call, Dialect
from proxy.dialects.chat import Chat
from proxy.dialects.completions import Completions
from proxy.dialects.messages import Messages
from proxy.dialects.responses import Responses
from proxy.dialects.sse import EventSplitter, events_of
from proxy.errors import UpstreamFailed
from proxy.guarded import GuardedStream
from tests.fakes.vllm_shapes import MODEL, Delta, Say, Script, Step, stream_bytes
from tests.fakes.vllm_typed_shapes import MessagesShape, ResponsesShape
from tests.fuzz.mutations import cut, mutated_stream

PHRASE = "Ilse Okonkwo-Brandt"
TELLING = "zebra"
"""Sentences with this word tell, where sentences are judged."""
DIALECTS: tuple[Dialect, ...] = (Chat(), Completions(), Responses(), Messages())


def generation() -> Generation:
    """An index with one forbidden phrase."""
    index = ForgetIndex(2)
    index.put_set(ForgetSet("s"), None, 1)
    index.put_entry(Entry("e", "s", Kind.FACT, texts=("q",), answers=(PHRASE,)), np.zeros((1, 2), np.float32), 1)
    index.publish(1)
    return index.current


def one(rng: random.Random, forbidden: Generation) -> str:
    """One stream; how it ended: hit, cut, whole, open or refused. Raises AssertionError for a leak."""
    dialect = rng.choice(DIALECTS)
    choices = rng.choice((1, 1, 2)) if dialect.name in ("chat", "completions") else 1
    raw = _sent(dialect, choices, rng)
    if rng.random() < 0.9:
        raw = mutated_stream(raw, rng)
    call = Call({}, MODEL, True, choices, True, (), "q")
    by_sentence = rng.random() < 0.5
    guard, splitter, out = GuardedStream(dialect, call, forbidden, by_sentence=by_sentence), EventSplitter(), b""
    try:
        for packet in cut(raw, rng):
            for event in events_of(splitter.feed(packet)):
                if not guard.done and not guard.hit:
                    for sentence in guard.look_ahead(event):
                        sentence.tells = TELLING in sentence.texts[0]
                    out += guard.feed(event)
    except UpstreamFailed:
        ended = "refused"
    else:
        ended = "hit" if guard.hit else "cut" if guard.cuts else "whole" if guard.done else "open"
    if guard.cuts and guard.done:
        out += guard.end_cut(None)
    leaked = next((text for text in _texts(out) if _says(text) or (by_sentence and TELLING in text)), None)
    assert leaked is None, (dialect.name, raw)
    assert not (guard.hit and guard.shown), (dialect.name, raw)
    return ended


def _sent(dialect: Dialect, choices: int, rng: random.Random) -> bytes:
    steps: list[Step] = []
    for choice in range(choices):
        text = (
            rng.choice(("", "So: ", "I know. ", "Let me tell you. "))
            + rng.choice((PHRASE, "nobody", PHRASE.upper(), f"a {TELLING}"))
            + rng.choice((".", ""))
        )
        size = rng.randrange(1, 8)
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        if dialect.name == "completions" or rng.random() < 0.6:
            steps += [Say(piece, choice) for piece in pieces]
        elif rng.random() < 0.5:
            steps += [Delta({"reasoning": piece}, choice) for piece in pieces]
        else:
            steps += _called(pieces, choice)
    script = Script(tuple(steps), finish=rng.choice(("stop", "length")))
    body = {"model": MODEL, "n": choices, "messages": [], "prompt": "q", "input": "q"}
    if dialect.name == "responses":
        return _bytes(ResponsesShape(body).stream(script))
    if dialect.name == "messages":
        return _bytes(MessagesShape({**body, "messages": [{"content": "q"}]}).stream(script))
    asked = {"n": choices, "messages": []} if dialect.name == "chat" else {"n": choices, "prompt": "q"}
    return stream_bytes(script, asked, chat=dialect.name == "chat")


def _called(pieces: list[str], choice: int) -> list[Step]:
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "note", "arguments": '{"text": "'}}
    rest: list[Step] = [
        Delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, choice) for piece in [*pieces, '"}']
    ]
    return [Delta({"tool_calls": [head]}, choice), *rest]


def _bytes(steps: Any) -> bytes:
    return b"".join(step for step in steps if isinstance(step, bytes))


def _texts(out: bytes) -> list[str]:
    """What a client reads: pieces of one string put together, and every string that came whole."""
    together: dict[str, str] = defaultdict(str)
    found: list[str] = []
    for event in events_of(out):
        lines = [line[6:] for line in event.split(b"\n") if line.startswith(b"data: ") and line != b"data: [DONE]"]
        for line in lines:
            payload = json.loads(line)
            kind = payload.get("type", "")
            at = f"{kind} {payload.get('output_index')} {payload.get('content_index')} {payload.get('index')}"
            for path, text in _strings(payload, ""):
                place = f"{at} {path}"
                together[place] += text
                found.append(text)
    return [*found, *together.values()]


def _strings(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, dict):
        name = f"{path}@{value['index']}" if isinstance(value.get("index"), int) else path
        return [pair for key, item in value.items() for pair in _strings(item, f"{name}.{key}")]
    return [pair for item in value for pair in _strings(item, path)] if isinstance(value, list) else []


def _says(text: str) -> bool:
    return _spaced(PHRASE) in _spaced(text)


def _spaced(text: str) -> str:
    return "".join(f" {word.text} " for word in words_of(text))
