"""What else a request asks for, and which sentences of an answer belong to it."""

import pytest

from guards.stream.other_questions import MOST_PARTS, OtherQuestions, asks, parts_of
from indexes.scan import Scan, scan_of, with_views
from indexes.windows import Window
from tests.fakes.embedder import BagEmbedder

BAG = BagEmbedder(256)
MATCHED = "Where was the weaver Ida Lorentz born?"
OTHER = "What is the capital of Peru?"


def scan(text: str) -> Scan:
    return scan_of([Window(text, 0, len(text))], BAG.embed([text]), text)


def others(*near: str, apart: tuple[str, ...]) -> OtherQuestions | None:
    parts = [*near, *apart]
    return OtherQuestions.of(parts, [scan(part) for part in parts], [part in near for part in parts])


def test_a_question_parts_into_sentences() -> None:
    assert parts_of([f"{MATCHED} {OTHER}", f" {OTHER}\n\n"]) == [MATCHED, OTHER]
    assert parts_of([]) == []
    many = " ".join(f"What is the number after {n}?" for n in range(MOST_PARTS))
    assert len(parts_of([many])) == MOST_PARTS
    assert parts_of([many, OTHER]) == []


@pytest.mark.parametrize(
    "part", ["Who?", "Wer (und wann?)", 'Did he say "why?"\n', "من كتب هذا؟", "谁？", "Ποιος\u037e"]
)
def test_what_asks(part: str) -> None:
    assert asks(part)


@pytest.mark.parametrize("part", ["", "?!no", "Tell me.", "B) in Quelm", "Who? Say it."])
def test_what_does_not(part: str) -> None:
    assert not asks(part)


def test_a_sentence_belongs_to_the_question_that_it_is_nearest_to() -> None:
    found = others(MATCHED, apart=(OTHER,))
    assert found is not None
    assert found.answered_by(BAG.embed(["The capital of Peru is Lima."]))
    assert not found.answered_by(BAG.embed(["The weaver was born in Quelm."]))


def test_only_a_question_far_from_every_entry_is_another_one() -> None:
    assert others(MATCHED, OTHER, apart=()) is None
    assert others(MATCHED, apart=("B) The capital of Peru", "Answer with the letter only.")) is None
    assert others(apart=(OTHER,)) is None  # what matched lies in how parts stand together


def test_a_part_counts_in_all_its_readings() -> None:
    hidden = "dGhlIHdlYXZlciBJZGEgTG9yZW50eg=="
    read = with_views([scan(hidden), scan(MATCHED)])
    found = OtherQuestions.of([hidden, OTHER], [read, scan(OTHER)], [True, False])
    assert found is not None
    assert not found.answered_by(BAG.embed(["The weaver was born in Quelm."]))
