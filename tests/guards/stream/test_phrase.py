"""The phrase filter against a reference that reads the text anew at every character.

The reference knows nothing of streams: at each prefix of the text it splits the whole prefix into words and compares
every run of words with every phrase.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guards.stream.phrase import Cut, PhraseFilter, Release, Step
from indexes.phrases import PASSAGE_WORDS, PhraseTable, pieces
from indexes.words import Word, words_of
from tests.indexes.texts import fragments, pieces_at, places, ways_to_cut

Phrase = tuple[str, ...]

# -- the reference


def occurrences(phrases: list[Phrase], words: list[Word]) -> Iterator[tuple[int, int, int]]:
    """Where any phrase stands: start and end in characters, and its last word; by last word, then by start."""
    for last in range(len(words)):
        for first in range(last + 1):
            if tuple(word.text for word in words[first : last + 1]) in phrases:
                yield words[first].start, words[last].end, last


@dataclass
class Reference:
    """What must have left at each prefix of a text, and where it is cut."""

    shown: list[int]
    cut_at: int | None
    """Length of the prefix at which the cut is known, one more than all when by its end; None when it is never cut."""

    def outcome(self, text: str) -> tuple[str, bool]:
        return text[: self.shown[-1]], self.cut_at is not None


def reference(phrases: list[Phrase], text: str, bound: int) -> Reference:
    longest = max((len(word) for phrase in phrases for word in phrase), default=0)
    shown = [0]
    for size in range(1, len(text) + 1):
        complete, growing = split(text[:size])
        hit = next(occurrences(phrases, complete), None)
        if hit:
            return Reference([*shown, max(shown[-1], hit[0])], size)
        candidates = [size, *(w.start for i, w in enumerate(complete) if begins(phrases, complete[i:]))]
        if growing and len(growing.text) <= longest:
            candidates.append(growing.start)
        shown.append(max(shown[-1], size if growing and len(growing.text) > longest else min(candidates)))
        if size - shown[-1] > bound:
            return Reference(shown, size)
    hit = next(occurrences(phrases, words_of(text)), None)
    return Reference([*shown, max(shown[-1], hit[0] if hit else len(text))], len(text) + 1 if hit else None)


def split(prefix: str) -> tuple[list[Word], Word | None]:
    """The complete words of a prefix and the one that is still growing: whichever a letter would join."""
    words, probe = words_of(prefix), words_of(prefix + "a")[-1]
    return (words[:-1], words[-1]) if probe.start < len(prefix) else (words, None)


def begins(phrases: list[Phrase], words: list[Word]) -> bool:
    said = tuple(word.text for word in words)
    return any(len(said) < len(phrase) and phrase[: len(said)] == said for phrase in phrases)


# -- texts that hold phrases, beginnings of phrases, and what only looks like them

RAW_WORDS = ("ann", "lee", "Ann", "annlee", "é", "ﬁn", "한국", "東", "京", "パ", "का", "ﷺ", "½", "محمد", "x", "go")
DISGUISES = (
    str,
    str,
    str.upper,
    lambda word: unicodedata.normalize("NFD", word),
    lambda word: unicodedata.normalize("NFKC", word),
    "\u200b".join,
    lambda word: "".join(f"{char}\u0336" for char in word),
    lambda word: word[:-1],
    lambda word: f"{word}s",
)
GAPS = (" ", " ", " ", ", ", "**", "\n", "", " \u200b", "'", " — ", ". ", " " * 30)

# Two words only, as well: such phrases overlap and begin like one another.
raw_phrases = st.lists(st.sampled_from(RAW_WORDS), min_size=1, max_size=4)
tangled_phrases = st.lists(st.sampled_from("ab"), min_size=1, max_size=5)
forget_lists = st.lists(raw_phrases, min_size=1, max_size=4) | st.lists(tangled_phrases, min_size=2, max_size=4)


def normal(raw: list[str]) -> Phrase:
    return pieces(" ".join(raw))[0]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Phrase], str]:
    """A forget list and a text made for it."""
    raw = draw(forget_lists)
    words: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        source = draw(st.sampled_from(raw) | st.just(draw(st.sampled_from(raw))) | raw_phrases)
        words += source[: draw(st.integers(1, len(source)))] if draw(st.booleans()) else source
        if draw(st.integers(0, 3)) == 0:
            words.append(draw(fragments))
    text = "".join(draw(st.sampled_from(DISGUISES))(word) + draw(st.sampled_from(GAPS)) for word in words)
    return [normal(phrase) for phrase in raw], text


def table_of(phrases: list[Phrase]) -> PhraseTable:
    table = PhraseTable()
    for slot, phrase in enumerate(phrases):
        table.add(phrase, slot)
    return table


def always(slot: int) -> bool:
    return True


def filter_of(phrases: list[Phrase]) -> PhraseFilter:
    return PhraseFilter(table_of(phrases), always)


def feed(one: PhraseFilter, deltas: list[str]) -> tuple[str, bool]:
    """What left and whether the stream was cut."""
    left = ""
    for delta in deltas:
        step = one.on_delta(delta)
        left += step.text
        if isinstance(step, Cut):
            return left, True
    step = one.on_finish()
    return left + step.text, isinstance(step, Cut)


# -- the four invariants


@settings(max_examples=70)
@given(cases(), places)
@example(([("ann", "lee")], "ann ann lee"), [4])
@example(([("ann",)], "ann"), [])
@example(([("صلى", "الله")], "xxxxxxxxxxxxxxxﷺ"), [])
@example(([("a", "b", "c"), ("b",)], "a b"), [])
def test_where_the_text_is_cut_into_deltas_does_not_matter(case: tuple[list[Phrase], str], cuts: list[int]) -> None:
    phrases, text = case
    table = table_of(phrases)
    expected = reference(phrases, text, table.longest_span).outcome(text)
    for deltas in ways_to_cut(text, cuts):
        assert feed(PhraseFilter(table, always), deltas) == expected, deltas


@settings(max_examples=70)
@given(cases())
@example(([("ann", "lee")], "ann lee x"))
@example(([("ann", "lee")], "so ann lee"))
@example(([("ann", "lee"), ("lee",)], "ann lees, ann"))
def test_what_may_leave_leaves_at_once_and_nothing_else_does(case: tuple[list[Phrase], str]) -> None:
    phrases, text = case
    table = table_of(phrases)
    must = reference(phrases, text, table.longest_span)
    one, left = PhraseFilter(table, always), ""
    for size, char in enumerate(text, 1):
        step = one.on_delta(char)
        left += step.text
        assert left == text[: must.shown[size]]
        assert isinstance(step, Cut) == (must.cut_at == size)
        assert (one.shown, one.holding) == (len(left), size - len(left))
        if isinstance(step, Cut):
            return
        assert one.holding <= table.longest_span


@settings(max_examples=70)
@given(cases(), places)
def test_no_forbidden_phrase_is_in_what_left_at_any_moment(case: tuple[list[Phrase], str], cuts: list[int]) -> None:
    phrases, text = case
    one, left, step = filter_of(phrases), "", Release("")
    for delta in [*pieces_at(text, cuts), None]:
        step = one.on_finish() if delta is None else one.on_delta(delta)
        left += step.text
        assert not list(occurrences(phrases, words_of(left)))
        if isinstance(step, Cut):
            break
    assert text.startswith(left)
    assert isinstance(step, Cut) or left == text


@given(
    forget_lists, st.lists(st.sampled_from(("sun ", "Mond, ", "лес — ", "山。", "कल।\n", "\u200b", "😀 ")), max_size=12)
)
def test_a_text_without_any_word_of_a_phrase_is_never_held_beyond_its_words(
    raw: list[list[str]], said: list[str]
) -> None:
    one = filter_of([normal(phrase) for phrase in raw])
    for token in said:
        assert one.on_delta(token) == Release(token)
        assert one.holding == 0
    assert one.on_finish() == Release("")


@settings(max_examples=60)
@given(
    st.lists(tangled_phrases, min_size=1, max_size=3),
    st.lists(st.sampled_from(("a ", "b", " ", "x ", "\u200b" * 40, "a" + "-" * 50, "-" * 110)), max_size=8).map(
        "".join
    ),
    places,
)
@example([["a", "b"]], "a" + "-" * 79 + "x y", [])
@example([["a", "b"]], "a" + "-" * 80 + "x y", [3])
def test_what_is_held_is_bounded_and_the_bound_is_in_the_text_not_in_the_deltas(
    raw: list[list[str]], text: str, cuts: list[int]
) -> None:
    phrases = [normal(phrase) for phrase in raw]
    table = table_of(phrases)
    expected = reference(phrases, text, table.longest_span).outcome(text)
    for deltas in ([text], list(text), pieces_at(text, cuts)):
        one = PhraseFilter(table, always)
        assert feed(one, deltas) == expected
        assert one.holding <= table.longest_span + 1  # at a cut, the character that was too many


# -- the same in examples that read as what they protect


def test_a_phrase_is_cut_before_its_first_character() -> None:
    one = filter_of([("ann", "lee"), ("paris",)])
    steps = [one.on_delta(text) for text in ("She is A", "nn", " ", "Le", "e", ", of")]
    assert [step.text for step in steps] == ["She is ", "", "", "", "", ""]
    assert isinstance(steps[-1], Cut)
    assert steps[-1].slot == 0
    assert not any(isinstance(step, Cut) for step in steps[:-1])  # it could still have become "Leeds"


def test_a_phrase_at_the_very_end_is_cut_by_finishing() -> None:
    one = filter_of([("ann", "lee")])
    assert one.on_delta("It was Ann Lee") == Release("It was ")
    assert one.on_finish() == Cut("", 0)


def test_near_misses_pass() -> None:
    phrases = [("ann", "lee"), ("li",)]
    for text in ("Ann Leeds", "Joann Lee", "Ann, and Lee", "Lee Ann", "lithium", "Ann"):
        assert feed(filter_of(phrases), list(text)) == (text, False)


@pytest.mark.parametrize(
    "text", ["**Ann** _Lee_", "ANN-LEE", "Ann\n\nLee", "Ａｎｎ Ｌｅｅ", "A\u200bnn Le\u00ade", "ann|lee"]
)
def test_markup_and_disguise_do_not_hide_a_phrase(text: str) -> None:
    assert feed(filter_of([("ann", "lee")]), list(f"x {text} y"))[1]


def test_of_overlapping_phrases_the_one_that_is_complete_first_decides() -> None:
    assert feed(filter_of([("a", "b", "c"), ("b",)]), ["1 a b c"]) == ("1 a ", True)
    assert feed(filter_of([("a", "b"), ("b",)]), ["1 a b c"]) == ("1 ", True)


def test_at_the_bound_the_stream_is_cut_and_the_held_text_does_not_leave() -> None:
    table = table_of([("ann", "lee")])
    one = PhraseFilter(table, always)
    room = table.longest_span - len("ann")
    assert one.on_delta("so ann" + "-" * room) == Release("so ")
    assert one.holding == table.longest_span
    assert one.on_delta("-") == Cut("", None)


def test_a_word_longer_than_any_that_is_forbidden_is_not_held() -> None:
    one = filter_of([("ann", "lee")])
    assert one.on_delta("ann").text == ""
    assert one.on_delta("abelle").text == "annabelle"
    assert one.on_delta("!").text == "!"


def test_only_phrases_that_act_cut() -> None:
    table = table_of([("ann",), ("lee",)])
    assert feed(PhraseFilter(table, {1}.__contains__), ["ann lee"]) == ("ann ", True)


def test_without_phrases_everything_passes_as_it_comes() -> None:
    one = PhraseFilter(PhraseTable(), always)
    for delta in ("An", "n L", "ee"):
        assert one.on_delta(delta) == Release(delta)


def test_a_long_delta_is_not_copied_again_and_again() -> None:
    # A whole answer comes as one delta, of megabytes: what is left of it must not be copied for each piece.
    copied = []

    class Counted(str):
        def __getitem__(self, key: object) -> str:
            piece = Counted(super().__getitem__(key))  # type: ignore[index]
            copied.append(len(piece))
            return piece

    text = Counted("all is well " * 500)
    assert feed(filter_of([("ann", "lee")]), [text]) == (text, False)
    assert sum(copied) == len(text)


def test_a_step_does_not_show_its_text() -> None:
    steps: list[Step] = [Release("secret"), Cut("secret", 1)]
    assert "secret" not in repr(steps)


# -- text that left before the filter was there


@settings(max_examples=70)
@given(cases(), st.integers(0, 60), places)
def test_a_phrase_that_began_before_the_filter_was_there_is_not_completed(
    case: tuple[list[Phrase], str], at: int, cuts: list[int]
) -> None:
    phrases, text = case
    before, after = text[:at], text[at:]
    one = filter_of(phrases)
    for delta in pieces_at(before, cuts):
        one.shown_before(delta)
    assert (one.shown, one.holding) == (len(before), 0)
    left, cut = feed(one, pieces_at(after, cuts))
    assert after.startswith(left)
    assert all(end <= len(before) for _, end, _ in occurrences(phrases, words_of(before + left)))
    if cut:
        assert left != after
        # Either something forbidden ends after what was shown, or the hold grew to its bound.
        held = len(after) - len(left)
        assert held > table_of(phrases).longest_span or any(
            end > len(before) for _, end, _ in occurrences(phrases, words_of(text))
        )
    else:
        assert left == after


def test_what_was_shown_to_its_end_is_past() -> None:
    one = filter_of([("ann", "lee")])
    one.shown_before("Ann Lee")
    assert one.on_delta(", and again Ann L") == Release(", and again ")
    assert one.on_delta("ee.") == Cut("", 0)


# -- newer generations


@settings(max_examples=70)
@given(cases(), places)
def test_renewing_without_a_change_changes_nothing(case: tuple[list[Phrase], str], cuts: list[int]) -> None:
    phrases, text = case
    table = table_of(phrases)
    expected = feed(PhraseFilter(table, always), [text])
    one, left = PhraseFilter(table, always), ""
    for delta in [*pieces_at(text, cuts), None]:
        step = one.on_finish() if delta is None else one.on_delta(delta)
        left += step.text
        if isinstance(step, Cut):
            break
        if delta is not None:
            assert one.renew(table, always) == Release("")
    assert (left, isinstance(step, Cut)) == expected


@settings(max_examples=100)
@given(cases(), st.integers(0, 3), st.integers(0, 60), places, st.booleans())
@example(([("go",), ("ann", "lee")], "ann lee"), 1, 4, [], True)
@example(([("go",), ("ann", "lee")], "ann lee"), 1, 6, [], False)
def test_a_phrase_added_in_mid_stream_is_found_where_it_began_earlier(
    case: tuple[list[Phrase], str], known: int, at: int, cuts: list[int], in_place: bool
) -> None:
    phrases, text = case
    before, after = text[:at], text[at:]
    old = table_of(phrases[:known])
    one, left = PhraseFilter(old, lambda slot: slot < known), ""
    for delta in pieces_at(before, cuts):
        step = one.on_delta(delta)
        left += step.text
        if isinstance(step, Cut):
            return
    shown = len(left)
    if in_place:  # as the index does it: the table that the filter holds already grows
        for slot, phrase in enumerate(phrases[known:], known):
            old.add(phrase, slot)
    table = old if in_place else table_of(phrases)
    step = one.renew(table, always)
    left += step.text
    if not isinstance(step, Cut):
        rest, cut = feed(one, pieces_at(after, cuts))
        left += rest
        assert cut or left == text
    assert text.startswith(left)
    assert all(end <= shown for _, end, _ in occurrences(phrases, words_of(left)))
    longest = table.longest_span
    if left != text and len(text) - shown <= longest:  # no bound in play: there was a reason to cut
        assert any(end > shown for _, end, _ in occurrences(phrases, words_of(text)))


def test_an_entry_added_in_mid_stream_stops_a_phrase_that_has_begun() -> None:
    table = table_of([("go",)])
    one = PhraseFilter(table, always)
    assert one.on_delta("This is Ann ").text == "This is Ann "
    table.add(("ann", "lee"), 1)
    assert one.renew(table, always) == Release("")
    assert one.on_delta("Le") == Release("")
    assert one.on_delta("e.") == Cut("", 1)


def test_an_entry_added_in_mid_stream_stops_a_phrase_that_began_before_the_filter_was_there() -> None:
    one = filter_of([("go",)])
    one.shown_before("This is Ann ")
    assert one.renew(table_of([("ann", "lee")]), always) == Release("")
    assert one.on_delta("Lee.") == Cut("", 0)


def test_an_entry_added_in_mid_stream_holds_for_what_is_held() -> None:
    table = table_of([("ann", "lee", "smith")])
    one = PhraseFilter(table, always)
    assert one.on_delta("This is Ann Lee ").text == "This is "
    table.add(("ann", "lee"), 1)
    assert one.renew(table, always) == Cut("", 1)


@settings(max_examples=70)
@given(cases(), st.integers(0, 60), places)
def test_entries_removed_in_mid_stream_no_longer_cut(case: tuple[list[Phrase], str], at: int, cuts: list[int]) -> None:
    phrases, text = case
    if len(text) > table_of(phrases).longest_span:
        text = text[: table_of(phrases).longest_span]  # the bound of what is held has tests of its own
    one, left = filter_of(phrases), ""
    for delta in pieces_at(text[:at], cuts):
        step = one.on_delta(delta)
        left += step.text
        if isinstance(step, Cut):
            return
    left += one.renew(table_of(phrases), lambda slot: False).text
    rest, cut = feed(one, pieces_at(text[at:], cuts))
    assert (left + rest, cut) == (text, False)


def test_a_filter_remembers_enough_words_for_the_longest_phrase() -> None:
    words = [f"w{place}" for place in range(PASSAGE_WORDS)]
    one = filter_of([("go",)])
    one.on_delta("x y z " + " ".join(words[:-1]) + " ")
    assert one.renew(table_of([tuple(words)]), always) == Release("")
    assert one.on_delta(words[-1] + " ") == Cut("", 0)
