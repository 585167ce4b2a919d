"""Mutated streams of the engine, fed to the filters of an armed request: no phrase leaks, nothing fails unforeseen.

Some of them meet a newer generation on their way, with one more phrase and one more word that tells.
"""

import json
import random
import re
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from guards.stream.abstention import abstains
from guards.stream.telling import Secret
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.secret import key_of
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
LATER = "Tamsin Orrery-Vale"
"""Comes to be forbidden in mid-stream, of some streams."""
TELLING = "zebra"
"""Sentences with this word tell, where sentences are judged."""
ABSTAINS = "I don't know that. "
"""Begins some answers. Of some requests, nothing of an answer may leave before it."""
SECRET = "quagga"
"""Tells what a matched entry holds, of some requests; of others from where `LATER` is forbidden."""
DIALECTS: tuple[Dialect, ...] = (Chat(), Completions(), Responses(), Messages())


class Forbidden(NamedTuple):
    """Two generations of an index: one forbids `PHRASE`, the next one `LATER` too."""

    first: Generation
    then: Generation


def generations() -> Forbidden:
    """An index as it grows."""
    index = ForgetIndex(2)
    index.put_set(ForgetSet("s"), None, 1)
    found = []
    for number, phrase in enumerate((PHRASE, LATER), 1):
        entry = Entry(f"e{number}", "s", Kind.FACT, texts=("q",), answers=(phrase,))
        index.put_entry(entry, np.zeros((1, 2), np.float32), number)
        found.append(index.publish(number))
    return Forbidden(*found)


def one(rng: random.Random, forbidden: Forbidden) -> str:
    """One stream; how it ended: hit, cut, whole, open or refused. Raises AssertionError for a leak."""
    dialect = rng.choice(DIALECTS)
    choices = rng.choice((1, 1, 2)) if dialect.name in ("chat", "completions") else 1
    raw = _sent(dialect, choices, rng)
    if rng.random() < 0.9:
        raw = mutated_stream(raw, rng)
    call = Call({}, MODEL, True, choices, True, (), "q")
    by_sentence = rng.random() < 0.5
    must_abstain = by_sentence and rng.random() < 0.5
    later = [Secret(frozenset({key_of(SECRET)}), 1)]
    secrets = rng.choice((None, [], later))
    guard = GuardedStream(dialect, call, forbidden.first, secrets, by_sentence=by_sentence)
    splitter, out, before = EventSplitter(), b"", b""
    events, renewed = 0, rng.randrange(40) if rng.random() < 0.5 else -1
    try:
        for packet in cut(raw, rng):
            for event in events_of(splitter.feed(packet)):
                if guard.done or guard.hit:
                    continue
                for sentence in guard.look_ahead(event):
                    sentence.tells = TELLING in sentence.texts[0] or (must_abstain and sentence.asserts)
                if events == renewed:
                    before = out
                    out += guard.renew(forbidden.then, None if secrets is None else later)
                if not guard.done and not guard.hit:
                    out += guard.feed(event)
                events += 1
    except UpstreamFailed:
        ended = "refused"
    else:
        ended = "hit" if guard.hit else "cut" if guard.cuts else "whole" if guard.done else "open"
    if guard.cuts and guard.done:
        out += guard.end_cut(None)
    texts = _texts(out)
    held = [PHRASE, *([TELLING] if by_sentence else []), *([SECRET] if secrets else [])]
    assert not any(_says(text, one) for text in texts for one in held), (dialect.name, raw)
    assert not must_abstain or all(abstains(text) or not _says_anything(text) for text in _answers(out)), (
        dialect.name,
        raw,
    )
    if 0 <= renewed < events:  # what was shown to its end is past
        past = _texts(before)
        for phrase in (LATER, *([SECRET] if secrets is not None else [])):
            assert not any(_comes_new(text, phrase, past) for text in texts), (dialect.name, raw)
    assert not (guard.hit and guard.shown), (dialect.name, raw)
    return ended


def _sent(dialect: Dialect, choices: int, rng: random.Random) -> bytes:
    steps: list[Step] = []
    for choice in range(choices):
        text = (
            rng.choice(("", "So: ", "I know. ", "Let me tell you. ", ABSTAINS, ABSTAINS))
            + rng.choice((PHRASE, "nobody", PHRASE.upper(), f"a {TELLING}", LATER, f"a {SECRET}"))
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


_ANSWERS = re.compile(
    r" \.choices@\d+\.(delta\.content|text)|response\.output_text\.delta .*\.delta|content_block_delta .*\.text"
)
"""Where the strings of answers stand, by dialect."""


def _answers(out: bytes) -> list[str]:
    """What a client takes for the answer, put together."""
    return [text for place, text in _together(out)[1].items() if _ANSWERS.search(place)]


def _says_anything(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _texts(out: bytes) -> list[str]:
    """What a client reads: pieces of one string put together, and every string that came whole."""
    found, together = _together(out)
    return [*found, *together.values()]


def _together(out: bytes) -> tuple[list[str], dict[str, str]]:
    """Every string as it came, and pieces of one put together, by where they stand."""
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
    return found, together


def _strings(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, dict):
        name = f"{path}@{int(value['index'])}" if isinstance(value.get("index"), int) else path
        return [pair for key, item in value.items() for pair in _strings(item, f"{name}.{key}")]
    return [pair for item in value for pair in _strings(item, path)] if isinstance(value, list) else []


def _says(text: str, phrase: str) -> bool:
    return _spaced(phrase) in _spaced(text)


def _comes_new(text: str, phrase: str, past: list[str]) -> bool:
    """Whether a text says what none says that had left before, nor goes on from one or repeats it."""
    return _says(text, phrase) and not any(_says(one, phrase) and (one in text or text in one) for one in past)


def _spaced(text: str) -> str:
    return "".join(f" {word.text} " for word in words_of(text))
