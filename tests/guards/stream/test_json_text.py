"""Text that is JSON is compared as it will be read, and leaves as it came, wherever it is cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.stream.json_text import JsonTextFilter, unescaped
from guards.stream.phrase import Cut, PhraseFilter
from indexes.phrases import PhraseTable, pieces


def table_of(*phrases: str) -> PhraseTable:
    table = PhraseTable()
    for slot, phrase in enumerate(phrases):
        for words in pieces(phrase):
            table.add(words, slot)
    return table


def filter_of(*phrases: str) -> JsonTextFilter:
    return JsonTextFilter(PhraseFilter(table_of(*phrases), lambda _: True))


def run(one: JsonTextFilter, chunks: list[str]) -> tuple[str, bool]:
    """What is released, and whether the text was cut."""
    out = ""
    for chunk in chunks:
        step = one.on_delta(chunk)
        out += step.text
        if isinstance(step, Cut):
            return out, True
    step = one.on_finish()
    return out + step.text, isinstance(step, Cut)


ESCAPES = [r"\n", r"\u0041", r"\u00e9", r"\ud83d\ude00", r"\"", "\\\\", r"\/"]
HALF_ESCAPES = ["\\", r"\u12", "\\ud83d", "u"]
WRITTEN = st.sampled_from([*ESCAPES, *HALF_ESCAPES, "grey", "whale", " ", "é", "🎻", "{"])


@st.composite
def texts_in_pieces(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = "".join(draw(st.lists(WRITTEN, max_size=12)))
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    return text, [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(texts_in_pieces())
def test_what_is_not_forbidden_leaves_as_it_came(given_: tuple[str, list[str]]) -> None:
    text, chunks = given_
    assert run(filter_of("nothing like it"), chunks) == (text, False)


@given(texts_in_pieces())
def test_where_it_is_cut_does_not_matter(given_: tuple[str, list[str]]) -> None:
    text, chunks = given_
    assert run(filter_of("grey whale", "a é"), chunks) == run(filter_of("grey whale", "a é"), [text])


@given(st.text(), st.booleans())
def test_string_is_judged_as_the_text_that_it_stands_for(text: str, ascii_only: bool) -> None:
    plain = PhraseFilter(table_of("grey whale", "a b"), lambda _: True)
    step = plain.on_delta(text)
    forbidden = isinstance(step, Cut) or isinstance(plain.on_finish(), Cut)
    written = json.dumps(text, ensure_ascii=ascii_only)
    assert run(filter_of("grey whale", "a b"), list(written))[1] == forbidden


@pytest.mark.parametrize(
    "written",
    [
        "grey whale",
        r"grey\nwhale",
        r"grey\twhale",
        r"grey\u0020whale",
        r"gre\u0079 whale",
        r"\u0067\u0072\u0065\u0079\u0020\u0077\u0068\u0061\u006c\u0065",
        r"grey\u200b whale",
        r"\ud835\udc20\ud835\udc2b\ud835\udc1e\ud835\udc32 whale",
        r"grey\/whale",
        r"grey\\whale",
        r"grey \"whale\"",
    ],
)
def test_every_way_to_write_a_phrase(written: str) -> None:
    text = f'{{"a": "the {written}"}}'
    for size in (1, 2, 3, 100):
        out, cut = run(filter_of("grey whale"), [text[i : i + size] for i in range(0, len(text), size)])
        assert cut
        assert out == '{"a": "the '


def test_phrase_that_began_before_the_filter_was_there() -> None:
    for place in range(1, 19):
        text = r"the grey\u0020whale sang"
        one = filter_of("grey whale")
        one.shown_before(text[:place])
        out, cut = run(one, list(text[place:]))
        assert cut
        assert "whale" not in text[:place] + out
        assert text.startswith(text[:place] + out)


def test_escape_that_is_half_shown_leaves_whole() -> None:
    text = r"a\ud83d\ude00b"
    for place in range(len(text)):
        one = filter_of("nothing like it")
        one.shown_before(text[:place])
        assert text[:place] + run(one, list(text[place:]))[0] == text


@pytest.mark.parametrize("rest", ["\\", r"\u", r"\u004", r"\ud83d", r"\ud83d\u", r"\ud83d\ude0"])
def test_text_that_ends_within_an_escape(rest: str) -> None:
    """What stands of the escape is text like any other: it ends the phrase before it, and it leaves as it came."""
    assert run(filter_of("grey whale"), [f"the grey whale{rest}"]) == ("the ", True)
    for place in range(len(rest) + 2):
        one, text = filter_of("nothing like it"), f"a{rest}"
        one.shown_before(text[:place])
        assert text[:place] + run(one, list(text[place:]))[0] == text


def test_half_of_a_pair_hides_nothing_behind_it() -> None:
    for half in (r"\ud83d", r"\ude00", r"\ud83d\ud83d", r"\ud83d\n"):
        text = rf"{half} grey\u0020whale"
        assert run(filter_of("grey whale"), list(text)) == (rf"{half} ", True)


@given(st.text(st.characters(exclude_categories=("Cs",))), st.booleans())
def test_a_whole_string_is_unescaped_to_what_it_stands_for(text: str, ascii_only: bool) -> None:
    assert unescaped(json.dumps(text, ensure_ascii=ascii_only)) == f'"{text}"'


def test_what_is_no_escape_or_not_whole_stays() -> None:
    assert unescaped(r"\q \u12 \ud83d\ude0") == r"\q \u12 " + "\ufffd" + r"\ude0"


def test_newer_table_is_taken_over() -> None:
    one = filter_of("grey whale sang twice")
    assert one.on_delta(r"the grey\nwhale ").text == "the "
    assert one.holding == len(r"grey\nwhale ")
    step = one.renew(table_of("grey whale"), lambda _: True)
    assert isinstance(step, Cut)
    one = filter_of("grey whale sang twice")
    one.on_delta(r"the grey\nwhale ")
    assert one.renew(table_of("something else"), lambda _: True).text == r"grey\nwhale "
