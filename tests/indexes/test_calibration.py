"""The rule by which signals become one score: each term by itself, and where it ends."""

import pytest

from indexes.calibration import DEFAULT_WEIGHTS, SIMILARITY_ONLY, Terms, Weights, terms_of
from indexes.names.details import Counts

W = Weights(detail=0.1, details=3, missing=0.4, conflict=0.5)


@pytest.mark.parametrize(
    ("counts", "details", "missing", "conflict"),
    [
        (Counts(), 0.0, 0.0, 0.0),
        (Counts(found=2), 0.2, 0.0, 0.0),
        (Counts(found=3), 0.3, 0.0, 0.0),
        (Counts(found=7), 0.3, 0.0, 0.0),  # no more than three count
        (Counts(found=3, missing=1), 0.3, 0.0, 0.0),  # what is not said is not denied
        (Counts(found=1, missing=3), 0.1, 0.0, 0.0),
        (Counts(missing=2), 0.0, 0.4, 0.0),
        (Counts(found=1, missing=1, instead=1), 0.1, 0.2, 0.25),
        (Counts(found=1, missing=1, instead=9), 0.1, 0.2, 0.25),  # others stand in the place of what is missing
        (Counts(found=2, instead=3), 0.2, 0.0, 0.0),
        (Counts(instead=1), 0.0, 0.0, 0.25),  # a question without details, asked with some
        (Counts(instead=2), 0.0, 0.0, 0.5),
        (Counts(instead=5), 0.0, 0.0, 0.5),
    ],
)
def test_details_add_and_what_is_missing_or_another_takes_away(
    counts: Counts, details: float, missing: float, conflict: float
) -> None:
    terms = terms_of(0.5, counts, by=W)
    assert (terms.details, terms.missing, terms.conflict) == pytest.approx((details, missing, conflict))
    assert terms.similarity == 0.5
    assert terms.name == 0.0
    assert terms.score == pytest.approx(0.5 + details - missing - conflict)


def test_a_score_stays_on_the_scale_of_a_cosine() -> None:
    assert Terms(similarity=0.9, name=0.8).score == 1.0
    assert Terms(similarity=-0.9, missing=0.1, conflict=0.5).score == -1.0
    assert Terms(similarity=0.25, name=0.5).score == 0.75


def test_terms_are_shown_by_name_without_those_that_are_nothing() -> None:
    assert Terms().shown() == {}
    assert Terms(similarity=0.12345, conflict=0.5).shown() == {"similarity": 0.123, "conflict": 0.5}


def test_a_name_counts_by_whose_word_it_is_and_how_it_is_written() -> None:
    terms = [DEFAULT_WEIGHTS.name(stated=stated, exact=exact) for stated in (True, False) for exact in (True, False)]
    assert terms == sorted(terms, reverse=True)
    assert len(set(terms)) == 4


def test_similarity_by_itself_is_the_whole_score_where_nothing_else_counts() -> None:
    for counts in (Counts(found=3), Counts(missing=2, instead=2), Counts(instead=2)):
        assert terms_of(0.6, counts, by=SIMILARITY_ONLY) == Terms(similarity=0.6)
    assert SIMILARITY_ONLY.name(stated=True, exact=True) == 1.0
    assert SIMILARITY_ONLY.name(stated=True, exact=False) == SIMILARITY_ONLY.name(stated=False, exact=True) == 0.0
