"""Server-sent events: where the bytes are cut does not matter, and only whole events pass."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.sse import (
    MAX_EVENT_BYTES,
    BrokenStream,
    EventSplitter,
    data_of,
    ends_with_done,
    event_bytes,
    events_of,
)

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1).map(str.encode)
EVENTS = st.lists(st.lists(st.one_of(LINES, LINES.map(lambda line: b"data: " + line)), min_size=1), max_size=6)


Cut = tuple[list[list[bytes]], bytes, list[bytes]]


def fed(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    """What a splitter gives for each chunk, and what it keeps."""
    splitter = EventSplitter()
    return [splitter.feed(chunk) for chunk in chunks], splitter.rest


@st.composite
def cut_streams(draw: st.DrawFn) -> Cut:
    """Events as lines, the stream that they make, and the stream in pieces."""
    events, end = draw(EVENTS), draw(LINE_ENDS)
    raw = b"".join(end.join(lines) + end + end for lines in events)
    places = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    return events, raw, [raw[a:b] for a, b in pairwise([0, *places, len(raw)])]


@given(cut_streams())
def test_whatever_the_cut_the_same_events_come_out(given_: Cut) -> None:
    lines, raw, chunks = given_
    wholes, rest = fed(chunks)
    assert b"".join(wholes) + rest == raw
    events = [event for whole in wholes for event in events_of(whole)]
    assert [event for event in events if event.strip()] == [
        b"\n".join(event) for event in lines if b"\n".join(event).strip()
    ]


@given(cut_streams())
def test_only_whole_events_pass(given_: Cut) -> None:
    *_, chunks = given_
    for whole in fed(chunks)[0]:
        assert not whole or whole.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))


def test_event_that_does_not_end_is_broken() -> None:
    splitter = EventSplitter()
    splitter.feed(b"x" * MAX_EVENT_BYTES)
    with pytest.raises(BrokenStream):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a", b"a"),
        (b"data:a", b"a"),
        (b"data:  a", b" a"),
        (b"data: a\ndata: b", b"a\nb"),
        (b"event: x\ndata: a\nid: 7", b"a"),
        (b": comment", None),
        (b"event: x", None),
        (b"data", None),
        (b"data: ", b""),
    ],
)
def test_data_of_an_event(event: bytes, data: bytes | None) -> None:
    assert data_of(event) == data


@pytest.mark.parametrize(
    ("whole", "ends"),
    [
        (b"data: [DONE]\n\n", True),
        (b"data:[DONE]\r\n\r\n", True),
        (b'data: {"a":1}\n\ndata: [DONE]\n\n', True),
        (b'data: {"a":1}\r\rdata: [DONE]\r\r', True),
        (b'data: {"a":"data: [DONE]"}\n\n', False),
        (b'data: {"a":"\\ndata: x[DONE]\n\n', False),
        (b"data: [DONE]\n\ndata: {}\n\n", False),
        (b": [DONE]\n\n", False),
        (b"", False),
    ],
)
def test_end_of_a_stream(whole: bytes, ends: bool) -> None:
    assert ends_with_done(whole) is ends


def test_payload_as_an_event() -> None:
    assert event_bytes({"a": "ö"}) == 'data: {"a":"ö"}\n\n'.encode()
