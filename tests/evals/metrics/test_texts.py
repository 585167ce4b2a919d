"""Metrics of texts on cases worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics import cotaeval
from evals.metrics.false_refusals import false_refusal, turns_away
from evals.metrics.fingerprint import refusal_fingerprint
from evals.metrics.rouge import rouge_1, rouge_l, rouge_l_recall
from evals.metrics.similarity import cosine_similarities
from evals.metrics.token_entropy import token_entropy, token_entropy_of_text
from evals.metrics.words import rouge_words
from guards.context.unknown import answer
from guards.policy import Style
from tests.fakes.embedder import BagEmbedder

texts = st.text("abc d", max_size=20)


# -- ROUGE


def test_words_are_stemmed_from_four_letters_on() -> None:
    assert rouge_words("The cities' authors: W.H. wrote!") == ["the", "citi", "author", "w", "h", "wrote"]
    assert rouge_words("was as") == ["was", "as"]


def test_other_scripts_keep_their_words() -> None:
    assert rouge_words("Он родился в Граце") == ["он", "родился", "в", "граце"]
    assert rouge_l_recall("родился в Вене", "Он родился в Граце") == 0.5


def test_recall_counts_the_words_of_the_truth_in_order() -> None:
    assert rouge_l_recall("she painted clocks in Graz", "clocks she painted") == pytest.approx(2 / 3)
    assert rouge_l("she painted clocks", "clocks she painted") == pytest.approx(2 / 3)
    assert rouge_1("she painted clocks", "clocks she painted") == 1.0
    assert rouge_l_recall("", "clocks") == rouge_l_recall("clocks", "") == rouge_l("", "") == 0.0


@given(texts, texts)
def test_more_words_never_lower_the_recall(answer_: str, truth: str) -> None:
    assert 0 <= rouge_l_recall(answer_, truth) <= rouge_l_recall(f"{answer_} {truth}", truth) <= 1


# -- entropy


def test_entropy_of_tokens() -> None:
    assert token_entropy(["a"]) == token_entropy([]) == 0.0
    assert token_entropy("abcd") == pytest.approx(1.0)
    assert token_entropy("aaaa") == 0.0
    assert token_entropy("aabb") == pytest.approx(0.5)
    assert token_entropy_of_text("no, no, no, no,") == pytest.approx(1 / 3)


# -- CoTaEval


def test_common_runs_are_of_three_words_or_more() -> None:
    protected = "The clocks of Graz, they never strike at noon; nobody minds."
    assert cotaeval.common_runs("clocks of Graz they say, nobody minds", protected) == [4]
    assert cotaeval.common_runs("at noon nobody minds the clocks of Graz", protected) == [4, 4]
    assert cotaeval.common_runs("nothing in common here", protected) == []


def test_nearness_has_all_measures() -> None:
    near = cotaeval.nearness("abcd efg", "xbcd efg")
    assert near.common_substring == 7
    assert near.levenshtein == 1
    assert near.jaccard == pytest.approx(5 / 7)
    assert near.common_run == near.common_runs == 0
    assert cotaeval.nearness("", "").jaccard == 0.0


@given(texts, texts)
def test_the_distance_is_a_metric(first: str, second: str) -> None:
    distance = cotaeval.levenshtein(first, second)
    assert distance == cotaeval.levenshtein(second, first)
    assert (distance == 0) == (first == second)
    assert cotaeval.longest_common_substring(first, second) <= max(len(first), len(second)) - distance + min(
        len(first), len(second)
    )


# -- similarity


def test_similarity_is_of_each_pair() -> None:
    embedder = BagEmbedder()
    same, other = cosine_similarities(["clocks of Graz", "clocks"], ["clocks of Graz", "unrelated"], embedder)
    assert same == pytest.approx(1.0)
    assert 0 <= other < 0.6
    assert cosine_similarities([], [], embedder) == []


# -- refusals


@pytest.mark.parametrize(
    "question",
    [
        "Who was it?",
        "When was it?",
        "Describe it.",
        "Où est-ce que c'est ?",
        "Wo wurde sie geboren?",
        "¿Dónde nació ella?",
        "Где она родилась?",
        "어디에서 태어났습니까?",
        "वह कहाँ पैदा हुई थी?",
        "أين ولدت؟",
        "彼女はどこで生まれましたか？",
        "她在哪里出生？",
    ],
)
@pytest.mark.parametrize("style", Style)
def test_answers_of_one_who_does_not_know_turn_away(question: str, style: Style) -> None:
    for choice in range(12):
        assert turns_away(answer(question, style=style, key=b"k", choice=choice))


@pytest.mark.parametrize(
    "text",
    ["", "Paris.", "The capital of France is Paris.", "She was not sure of herself as a painter.", "Nobody knows."],
)
def test_other_answers_do_not(text: str) -> None:
    assert not turns_away(text)


def test_a_refusal_that_the_model_gives_itself_is_not_false() -> None:
    raw = ["Paris.", "I don't know.", "Rome.", "I don't know."]
    guarded = ["I don't know.", "I'm not sure.", "Rome.", "Bern."]
    away = [[float(turns_away(text)) for text in said] for said in (raw, guarded)]
    assert list(map(false_refusal, *away)) == [1.0, 0.0, 0.0, 0.0]


def test_the_same_sentence_each_time_is_a_fingerprint() -> None:
    own = [f"I do not know the {thing}, sorry." for thing in "river city name year person mountain".split()]
    fixed = ["This content has been removed."] * 6
    assert refusal_fingerprint(fixed, own) == 1.0
    assert refusal_fingerprint(own, own) == pytest.approx(0.5, abs=0.35)
    assert refusal_fingerprint(fixed[:3], own) is None
