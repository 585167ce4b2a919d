"""The words that tell what an entry holds, kept as keys."""

from hypothesis import given
from hypothesis import strategies as st

from indexes.entries import Entry, Kind
from indexes.secret import key_of, keys_of, packed_secret, unpacked_secret


def secret(answer: str, question: str = "", *names: str) -> frozenset[int]:
    return unpacked_secret(packed_secret(Entry("e", "s", Kind.FACT, (question,), names, (answer,))))


def test_only_what_the_answer_adds() -> None:
    assert secret("Ilse Varga was born in Graz.", "Where was Ilse Varga born?") == {key_of("graz")}
    assert secret("Ilse Varga of Graz", "", "Ilse Varga") == {key_of("graz")}
    assert secret("Yes, she was.") == frozenset()
    assert secret("漢字") == {key_of("漢"), key_of("字")}
    assert secret("In 7 a b") == {key_of("7")}


def test_endings_do_not_matter_and_words_do() -> None:
    assert key_of("painter") == key_of("painting") == key_of("painted")
    assert key_of("clocks") == key_of("clock")
    assert key_of("graz") != key_of("linz")


@given(st.lists(st.text(min_size=1, max_size=20)))
def test_keys_survive_packing(texts: list[str]) -> None:
    entry = Entry("e", "s", Kind.FACT, ("?",), answers=tuple(texts))
    assert unpacked_secret(packed_secret(entry)) == frozenset(keys_of(texts))
