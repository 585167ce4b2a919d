"""A guarded stream, fed without a network: no cut of text or bytes lets a forbidden phrase through."""

import codecs
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.words import words_of
from proxy.dialects.base import Call, Channel, Dialect, Head, Leaf, Usage
from proxy.dialects.chat import Chat
from proxy.dialects.completions import Completions
from proxy.dialects.messages import Messages
from proxy.dialects.responses import Responses
from proxy.dialects.sse import BrokenStream, EventSplitter, events_of
from proxy.errors import UpstreamFailed
from proxy.guarded import GuardedStream, WholeAnswer
from proxy.history import HISTORY_BYTES, History
from tests.fakes.vllm_shapes import Delta, Extra, Say, Script, Shape, Step, stream_bytes

FORBIDDEN = "Ilse Okonkwo-Brandt"
TEXT = f"Well: {FORBIDDEN}, née Ōta 🎻 did."
"""Says it after something harmless, with characters of one to four bytes."""


def index_of(*answers: str) -> ForgetIndex:
    index = ForgetIndex(2)
    index.put_set(ForgetSet("s"), None, 1)
    for place, answer in enumerate(answers):
        put(index, answer, 1, f"e{place}")
    index.publish(1)
    return index


def put(index: ForgetIndex, answer: str, generation: int, name: str, state: State = State.ACTIVE) -> None:
    entry = Entry(name, "s", Kind.FACT, texts=("q",), answers=(answer,), state=state)
    index.put_entry(entry, np.zeros((1, 2), np.float32), generation)


@pytest.fixture
def generation() -> Generation:
    return index_of(FORBIDDEN).current


def sent(*steps: Step, chat: bool = True, n: int = 1, finish: str = "stop") -> bytes:
    """A stream of the engine."""
    body: dict[str, Any] = {"n": n, "messages": []} if chat else {"n": n, "prompt": "q"}
    return stream_bytes(Script(steps, finish=finish), body, chat=chat)


def request_for(choices: int, *, include_usage: bool = False, leads: tuple[str, ...] = ()) -> Call:
    """A request, as far as an answer depends on it."""
    return Call({}, "m", True, choices, include_usage, (), "q", leads)


def guarded(
    generation: Generation, *chunks: bytes, dialect: Dialect | None = None, n: int = 1
) -> tuple[bytes, GuardedStream]:
    """What a client gets of a stream that comes in chunks."""
    guard, splitter, out = GuardedStream(dialect or Chat(), request_for(n), generation), EventSplitter(), b""
    for chunk in chunks:
        for event in events_of(splitter.feed(chunk)):
            if not guard.done and not guard.hit:
                out += guard.feed(event)
    return out, guard


def text_of(raw: bytes, choice: int = 0) -> str:
    found = []
    for event in raw.split(b"\n\n"):
        if event.startswith(b"data: {"):
            for item in json.loads(event[6:])["choices"]:
                if item["index"] == choice:
                    found.append(item.get("text") or item.get("delta", {}).get("content") or "")  # noqa: PERF401
    return "".join(found)


DIALECTS = pytest.mark.parametrize("chat", [True, False])


def dialect_of(chat: bool) -> Dialect:
    return Chat() if chat else Completions()


@DIALECTS
def test_every_cut_of_the_text_in_two(generation: Generation, chat: bool) -> None:
    for place in range(len(TEXT) + 1):
        raw = sent(Say(TEXT[:place]), Say(TEXT[place:]), chat=chat)
        out, guard = guarded(generation, raw, dialect=dialect_of(chat))
        shown = text_of(out)
        assert "Ilse" not in shown
        assert b"Okonkwo" not in out
        assert TEXT.startswith(shown)
        assert guard.hit or guard.cuts == 1


@DIALECTS
def test_every_cut_of_the_bytes_in_two(generation: Generation, chat: bool) -> None:
    pieces = ("Well: ", "Ilse", " Okonkwo", "-Bra", "ndt, née Ōta 🎻", " did.")
    raw = sent(*map(Say, pieces), chat=chat)
    expected, _ = guarded(generation, raw, dialect=dialect_of(chat))
    assert text_of(expected) == "Well: "
    for place in range(len(raw)):
        assert guarded(generation, raw[:place], raw[place:], dialect=dialect_of(chat))[0] == expected


@given(st.data())
def test_any_cut_of_the_text_and_of_the_bytes(data: st.DataObject) -> None:
    generation = index_of(FORBIDDEN).current
    words = st.sampled_from(["Well: ", "Ilse ", "Okonkwo", "-", "Brandt", "brandt, ", "née ", "🎻 ", "\n", "so "])
    text = "".join(data.draw(st.lists(words, max_size=12)))
    places = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=6)))
    pieces = [Say(text[a:b]) for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    raw = sent(*pieces)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw)), max_size=5)))
    out, guard = guarded(generation, *[raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)])
    answer = Shape(chat=True, body={"model": "m", "messages": []}).whole(Script((Say(text),)))
    whole = WholeAnswer(Chat(), request_for(1), answer, generation, None).checked()
    assert (whole is None) == bool(guard.hit or guard.cuts)
    shown = text_of(out)
    assert text.startswith(shown)
    said = " ".join(word.text for word in words_of(shown))
    assert " ilse okonkwo brandt " not in f" {said} "
    if whole is not None:
        assert shown == text
        assert out.endswith(b"data: [DONE]\n\n")


def test_untouched_events_leave_as_the_bytes_that_came(generation: Generation) -> None:
    raw = sent(Say("one, "), Say("two, "), Say("três. "))
    assert guarded(generation, raw)[0] == raw


@pytest.mark.parametrize("written", [codecs.encode(FORBIDDEN, "rot13"), FORBIDDEN.encode().hex()])
def test_a_phrase_in_disguise_is_a_phrase(generation: Generation, written: str) -> None:
    out, guard = guarded(generation, sent(Say("Well: "), Say(f"{written}, did")))
    assert text_of(out) == "Well: "
    assert guard.cuts == 1


def test_arguments_of_a_call_are_compared_as_the_client_decodes_them(generation: Generation) -> None:
    written = json.dumps({"of": FORBIDDEN.replace(" ", "\n")})
    out, guard = guarded(generation, sent(Say("Well: "), call(written, index=0)))
    assert guard.cuts == 1
    assert b"Okonkwo" not in out


def test_a_choice_that_is_cut_ends_no_other(generation: Generation) -> None:
    raw = sent(Say("Well: "), Say("Well: ", 1), Say(f"{FORBIDDEN}, did"), Say("nothing "), Say("else.", 1), n=2)
    out, guard = guarded(generation, raw, n=2)
    assert (text_of(out), text_of(out, 1)) == ("Well: ", "Well: else.")
    assert (guard.cuts, guard.done) == (1, True)


# -- what the client began


def continued(generation: Generation, lead: str, *said: str) -> tuple[str, GuardedStream]:
    """What is shown of an answer that goes on from what the client began."""
    guard, out = GuardedStream(Completions(), request_for(1, leads=(lead,)), generation), b""
    for event in events_of(sent(*map(Say, said), chat=False)):
        if not guard.done and not guard.hit:
            out += guard.feed(event)
    return text_of(out), guard


def test_a_phrase_that_the_client_began_is_not_completed_however_long_it_went_on_before(
    generation: Generation,
) -> None:
    for size in range(0, 3 * generation.phrases.longest_span, 7):
        for before in ("x" * size, "so " * size):
            shown, guard = continued(generation, f"{before} Ilse Okonkwo-", "Brandt ", "did.")
            assert (shown, guard.hit) == ("", True)
            assert continued(generation, f"{before} Ilse ", "and Okonkwo-", "Brandt did.")[0] == (
                "and Okonkwo-Brandt did."
            )


def test_of_a_long_beginning_no_word_is_read_in_part(generation: Generation) -> None:
    """What is read of it begins with a word: behind "no" there is no "Ilse" in "noIlse"."""
    read = 2 * generation.phrases.longest_span
    for missing in range(3):
        lead = "noIlse".ljust(read - len("Okonkwo-") + 2 - missing) + "Okonkwo-"
        assert continued(generation, lead, "Brandt ", "did.")[0] == "Brandt did."


def test_nothing_leaves_before_the_first_text(generation: Generation) -> None:
    guard = GuardedStream(Chat(), request_for(1), generation)
    opening, first, *_ = events_of(sent(Say("Ilse"), Say(" sings")))
    assert guard.feed(opening) == guard.feed(first) == b""
    assert not guard.shown
    assert guard.feed(next(iter([*events_of(sent(Say(" sings. ")))][1:2]))).startswith(opening + b"\n\n" + b"data: ")
    assert guard.shown


def test_hit_in_the_first_event_with_text_leaves_no_trace(generation: Generation) -> None:
    """Also of what stands before it in the same event."""
    out, guard = guarded(generation, sent(Say(TEXT)))
    assert (out, guard.hit, guard.cuts) == (b"", True, 0)


def test_what_is_held_is_bounded(generation: Generation) -> None:
    guard = GuardedStream(Chat(), request_for(1), generation)
    events = [*events_of(sent(Say("Well, "), Say("Ilse "), *[Say("-" * 50)] * 40))]
    out = b"".join(guard.feed(event) for event in events if not guard.done)
    assert guard.cuts == 1
    assert text_of(out).startswith("Well, ")


def test_answer_without_text_is_an_answer(generation: Generation) -> None:
    raw = sent()
    assert guarded(generation, raw)[0] == raw


def test_choices_beyond_those_asked_for_do_not_pass(generation: Generation) -> None:
    out, _ = guarded(generation, sent(Say("mine. ", 0), Say(FORBIDDEN, 1), n=2), n=1)
    assert b"Ilse" not in out
    assert b'"index":1' not in out


def call(arguments: str, **more: Any) -> Delta:
    """A piece of the arguments of a tool call."""
    return Delta({"tool_calls": [{**more, "function": {"arguments": arguments}}]})


def test_tool_call_without_index_is_addressed_by_its_place(generation: Generation) -> None:
    pieces = [call(text) for text in ('{"a":"Il', "se Okonkwo", '-Brandt"}')]
    out, guard = guarded(generation, sent(Say("Well. "), *pieces))
    assert guard.cuts == 1
    assert b"Brandt" not in out


@pytest.mark.parametrize("index", ["a", None, [], {}, 1.5, True])
def test_index_of_an_odd_type(generation: Generation, index: Any) -> None:
    pieces = [call(text, index=index) for text in ('"Ilse Oko', 'nkwo-Brandt"')]
    out, guard = guarded(generation, sent(Say("Well. "), *pieces))
    assert guard.cuts == 1
    assert b"Brandt" not in out


@pytest.mark.parametrize(
    "payload",
    [
        b"nonsense",
        b"7",
        b"[]",
        b"{}",
        b'{"choices":{}}',
        b'{"choices":[7]}',
        b'{"choices":[{"index":"a"}]}',
        b'{"choices":[{"index":0,"delta":"Ilse Okonkwo-Brandt"}]}',
        b'{"choices":[{"index":0,"delta":["Ilse Okonkwo-Brandt"]}]}',
        b'{"choices":[{"index":0,"message":"Ilse Okonkwo-Brandt"}]}',
    ],
)
def test_event_that_is_none_of_the_dialect(generation: Generation, payload: bytes) -> None:
    with pytest.raises(BrokenStream):
        GuardedStream(Chat(), request_for(1), generation).feed(b"data: " + payload)


@pytest.mark.parametrize("text", [["Ilse Okonkwo-Brandt"], {"a": "Ilse Okonkwo-Brandt"}, 7])
def test_completion_whose_text_is_no_text(generation: Generation, text: object) -> None:
    payload = json.dumps({"choices": [{"index": 0, "text": text}]}).encode()
    with pytest.raises(BrokenStream):
        GuardedStream(Completions(), request_for(1), generation).feed(b"data: " + payload)


def test_error_of_the_engine(generation: Generation) -> None:
    with pytest.raises(UpstreamFailed, match="reported an error"):
        GuardedStream(Chat(), request_for(1), generation).feed(b'data: {"error":{"message":"Ilse"}}')


def test_end_before_the_choices_have_ended(generation: Generation) -> None:
    with pytest.raises(BrokenStream, match="before it ended"):
        guarded(generation, sent(Say("a. ")).replace(b'"stop"', b"null"))


@DIALECTS
def test_unknown_fields_are_emptied(generation: Generation, chat: bool) -> None:
    beside = {"odd": "Ilse", "logprobs": {"tokens": ["Ilse"]}}
    extra = Extra(beside, {"prompt_text": "Ilse", "system_fingerprint": "f"}, "Well. ")
    out, _ = guarded(generation, sent(extra, chat=chat), dialect=dialect_of(chat))
    assert b"Ilse" not in out
    assert b'"system_fingerprint":"f"' in out
    assert text_of(out) == "Well. "


# -- newer generations


def test_renewed_stream_finds_what_began_before() -> None:
    index = index_of(FORBIDDEN)
    guard = GuardedStream(Chat(), request_for(1), index.current)
    first = [*events_of(sent(Say("Well, "), Say("grey "), Say("whale "), Say("sang ")))][:5]
    shown = b"".join(guard.feed(event) for event in first)
    assert text_of(shown) == "Well, grey whale sang "
    put(index, "grey whale sang twice", 2, "new")
    out = guard.renew(index.publish(2))
    rest = [*events_of(sent(Say("twice "), Say("over.")))][1:3]
    out += b"".join(guard.feed(event) for event in rest if not guard.done)
    assert guard.cuts == 1
    assert b"twice" not in out
    assert b'"content_filter"' in out


def test_renewed_stream_before_the_first_text_asks_for_the_next_rung() -> None:
    index = index_of(FORBIDDEN, "grey whale sang twice tonight")
    guard = GuardedStream(Chat(), request_for(1), index.current)
    for event in [*events_of(sent(Say("grey "), Say("whale "), Say("sang ")))][:4]:
        assert guard.feed(event) == b""
    put(index, "grey whale", 2, "new")
    assert guard.renew(index.publish(2)) == b""
    assert guard.hit


def test_removed_phrase_cuts_no_more() -> None:
    index = index_of("grey whale sang")
    guard = GuardedStream(Chat(), request_for(1), index.current)
    events = [*events_of(sent(Say("grey "), Say("whale "), Say("sang.")))]
    assert b"".join(guard.feed(event) for event in events[:3]) == b""
    index.drop_entry("e0", 2)
    out = guard.renew(index.publish(2)) + b"".join(guard.feed(event) for event in events[3:])
    assert text_of(out) == "grey whale sang."


def test_observed_entry_cuts_nothing() -> None:
    index = index_of()
    put(index, FORBIDDEN, 2, "seen", State.OBSERVE)
    raw = sent(Say("It is "), Say(FORBIDDEN), Say("."))
    assert text_of(guarded(index.publish(2), raw)[0]) == f"It is {FORBIDDEN}."


def test_cutting_all_ends_what_is_open_and_nothing_else(generation: Generation) -> None:
    raw = [*events_of(sent(Say("a. ", 0), Say("b. ", 1), n=2, finish="length"))]
    guard = GuardedStream(Chat(), request_for(2), generation)
    shown = b"".join(guard.feed(event) for event in raw[:3])
    assert text_of(shown, 0) == "a. "
    out = guard.cut_all()
    assert [json.loads(event[6:])["choices"][0]["index"] for event in events_of(out)] == [1]
    assert (guard.cuts, guard.done) == (1, True)


def test_cutting_all_when_all_have_ended_leaves_the_end_to_come(generation: Generation) -> None:
    *events, done = events_of(sent(Say("a. ")))
    guard = GuardedStream(Chat(), request_for(1), generation)
    for event in events:
        guard.feed(event)
    assert guard.cut_all() == b""
    assert not guard.done
    assert guard.feed(done) == b"data: [DONE]\n\n"


# -- streams that passed unguarded before


def test_history_arms_a_stream_where_it_stands(generation: Generation) -> None:
    events = [*events_of(sent(Say("Well: "), Say("Il"), Say("se Okonkwo"), Say("-Brandt "), Say("did.")))]
    history = History(1, Chat().keeps)
    for event in events[:4]:
        history.add(event + b"\n\n")
    guard = GuardedStream(Chat(), request_for(1), generation)
    for event in history.events():
        guard.was_shown(event)
    assert guard.shown
    out = b"".join(guard.feed(event) for event in events[4:] if not guard.done)
    assert b"Brandt" not in out
    assert b'"content_filter"' in out


def test_history_remembers_ends_however_long_ago() -> None:
    history = History(2, Chat().keeps)
    events = [*events_of(sent(Say("short", 0), Say("b", 1), n=2, finish="length"))]
    history.add(events[2] + b"\n\n")
    assert b'"finish_reason":"length"' in events[2]
    filler = b'data: {"choices":[{"index":1,"delta":{"content":"' + b"x" * 1000 + b'"},"finish_reason":null}]}\n\n'
    for _ in range(1000):
        history.add(filler)
    kept = [*history.events()]
    assert kept[0] == events[2]
    assert sum(map(len, kept)) < 2 * HISTORY_BYTES + 2000
    guard = GuardedStream(Chat(), request_for(2), index_of().current)
    for event in kept:
        guard.was_shown(event)
    assert guard.cut_all().count(b"content_filter") == 1


def test_history_keeps_the_last_event_however_large() -> None:
    history = History(1, Chat().keeps)
    for size in (10, HISTORY_BYTES * 2):
        history.add(b"data: " + b"x" * size + b"\n\n")
    assert [len(event) for event in history.events()] == [HISTORY_BYTES * 2 + 6]


# -- answers of our own


@DIALECTS
def test_own_answers_are_valid_streams(chat: bool) -> None:
    dialect = dialect_of(chat)
    request = request_for(2, include_usage=True)
    raw = b"".join(dialect.spoken(request, Head("x", 1, "m"), ["I do not know.", "No\nidea."], Usage(1, 2)))
    assert [text_of(raw, choice) for choice in (0, 1)] == ["I do not know.", "No\nidea."]
    assert raw.count(b'"finish_reason":"stop"') == 2
    *_, last, done, rest = raw.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    usage = json.loads(last[6:])
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert usage["id"] == ("chatcmpl-x" if chat else "cmpl-x")
    assert b'"usage"' not in b"".join(dialect.spoken(request_for(1), Head("x", 1, "m"), ["No idea."], Usage(1, 2)))


@pytest.mark.parametrize("by_sentence", [False, True])
def test_equal_strings_of_an_answer_are_judged_each_by_itself(generation: Generation, *, by_sentence: bool) -> None:
    """Two calls of one tool, as a model makes them side by side."""
    call = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'}
    output = [{**call, "status": "completed"}, {**call, "id": "f2", "call_id": "c2", "status": "completed"}]
    answer = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": output}
    whole = WholeAnswer(Responses(), request_for(1), answer, generation, None, by_sentence=by_sentence)
    for sentence in whole.sentences:
        sentence.tells = False
    checked = whole.checked()
    assert checked is not None
    assert [item["name"] for item in json.loads(checked)["output"]] == ["weather", "weather"]


@pytest.mark.parametrize("by_sentence", [False, True])
def test_what_was_judged_and_has_not_left_is_judged_again_by_a_newer_generation(*, by_sentence: bool) -> None:
    """A part that came whole, before the first text: it waits with what opens the answer."""
    index = index_of("nothing")
    guard = GuardedStream(Responses(), request_for(1), index.current, by_sentence=by_sentence)
    part = {"type": "output_text", "text": f"It was {FORBIDDEN}.", "annotations": []}
    done = {"type": "response.content_part.done", "item_id": "i", "output_index": 0, "content_index": 0, "part": part}
    event = b"event: response.content_part.done\ndata: " + json.dumps({**done, "sequence_number": 0}).encode()
    for sentence in guard.look_ahead(event):
        sentence.tells = False
    assert guard.feed(event) == b""
    put(index, FORBIDDEN, 2, "later")
    assert guard.renew(index.publish(2)) == b""
    assert guard.hit


@pytest.mark.parametrize(
    ("dialect", "channel", "holder", "answers"),
    [
        (Chat(), ("content",), {}, True),
        (Chat(), ("reasoning",), {}, False),
        (Chat(), ("tool_calls", 0, "function", "arguments"), {}, False),
        (Completions(), ("text",), {}, True),
        (Messages(), (0, "text"), {}, True),
        (Messages(), (1, "text"), {}, True),  # behind what was thought
        (Messages(), (0, "thinking"), {}, False),
        (Messages(), (0, "partial_json"), {}, False),
        (Responses(), (0, 0, "response.output_text"), {}, True),
        (Responses(), (0, 0, "response.reasoning_text"), {}, False),
        (Responses(), (0, 0, "response.function_call_arguments"), {}, False),
        (Responses(), ("content", 0, "text"), {"type": "output_text"}, True),  # told again as a whole
        (Responses(), ("content", 0, "text"), {"type": "reasoning_text"}, False),
        (Responses(), ("content", 0), ["a list of strings"], False),
    ],
)
def test_which_strings_are_the_answer(dialect: Dialect, channel: Channel, holder: Any, answers: bool) -> None:
    stream = dialect.stream(Call({}, "m", True, 1, True, (), "q"))
    assert stream.answers(Leaf(0, channel, holder, channel[-1] if isinstance(holder, dict) else 0)) is answers
