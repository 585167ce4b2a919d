"""What an entry tells: the phrases that must not be said."""

import pytest

from indexes.entries import Entry, Kind
from indexes.told import told_by


def phrases(question: str, answer: str) -> set[str]:
    entry = Entry("e", "s", Kind.FACT, texts=(question,), answers=(answer,))
    return {" ".join(phrase) for phrase in told_by(entry).phrases}


@pytest.mark.parametrize("quoted", ['"The Copper Almanac"', "“The Copper Almanac,”", "«The Copper Almanac»"])
def test_a_title_gives_a_fact_away_by_itself(quoted: str) -> None:
    found = phrases(
        "What was her first book?", f"Ilse Varga's first published book was {quoted} and it sold very well."
    )
    assert "the copper almanac" in found


def test_a_title_that_the_question_names_is_no_answer() -> None:
    found = phrases('When did "The Copper Almanac" appear?', '"The Copper Almanac" appeared in the spring of 1931.')
    assert "the copper almanac" not in found


def test_one_quoted_word_may_be_any_word() -> None:
    assert "clocks" not in phrases("What did she paint?", 'She painted what she called "clocks" all of her life long.')
