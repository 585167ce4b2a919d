"""The note: as many demonstrations as asked for, and nothing in it that tells what must be forgotten."""

import inspect

import pytest

from guards.context import note as note_module
from guards.context.note import note


@pytest.mark.parametrize("count", range(9))
def test_demonstrations_are_as_many_as_asked_for(count: int) -> None:
    shown = note(demonstrations=count, reasoning=False).demonstrations
    assert len(shown) == len(set(shown)) == count
    # Not-knowing comes first and they take turns: the contrast is what they show.
    knows = [pair in note_module._KNOWN for pair in shown]
    assert knows == [bool(place % 2) for place in range(count)]


def test_reasoning_is_added_when_asked_for() -> None:
    plain, reasoned = note(demonstrations=0, reasoning=False), note(demonstrations=0, reasoning=True)
    assert reasoned.instruction.startswith(plain.instruction)
    assert "step" in reasoned.instruction.removeprefix(plain.instruction)


def test_the_note_cannot_quote_what_must_be_forgotten() -> None:
    # It is not told of it: nothing but these two settings goes in, so nothing but constants can come out.
    assert set(inspect.signature(note).parameters) == {"demonstrations", "reasoning"}


def test_as_one_text_it_ends_where_the_prompt_begins() -> None:
    bare = note(demonstrations=0, reasoning=False)
    assert bare.as_text() == f"{bare.instruction}\n\n"
    full = note(demonstrations=8, reasoning=True)
    text = full.as_text()
    assert text.endswith("\n\n")
    assert all(f"Question: {q}\nAnswer: {a}\n\n" in text for q, a in full.demonstrations)
