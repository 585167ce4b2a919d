"""Entries: what cannot act is refused when it is added, and no record shows its text."""

from dataclasses import replace

import pytest

from indexes.entries import Entry, EntryError, ForgetSet, Kind, check

FACT = Entry("e1", "s1", Kind.FACT, texts=("Where was Ilse Varga born?",), answers=("Graz",))


@pytest.mark.parametrize(
    "entry",
    [
        FACT,
        replace(FACT, answers=(), threshold=1.0),
        Entry("e", "s", Kind.PASSAGE, texts=("the whole passage",)),
        Entry("e", "s", Kind.ENTITY, names=("Ilse Varga", "伊尔莎")),
        Entry("e", "s", Kind.TOPIC, texts=("clockmaking",)),
    ],
)
def test_an_entry_that_can_act_is_accepted(entry: Entry) -> None:
    check(entry)


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (replace(FACT, texts=()), "texts"),
        (Entry("e", "s", Kind.PASSAGE), "texts"),
        (Entry("e", "s", Kind.TOPIC, names=("x",)), "texts"),
        (Entry("e", "s", Kind.ENTITY, texts=("x",)), "names"),
        (replace(FACT, texts=("x", " \n")), "texts"),
        (replace(FACT, names=("",)), "names"),
        (replace(FACT, answers=("Graz", "")), "answers"),
        (replace(FACT, answers=("?!",)), "answers"),  # no word in it: the filter would never see it
        (replace(FACT, names=("★ \u200b",)), "names"),
        (replace(FACT, threshold=0.0), "threshold"),
        (replace(FACT, threshold=1.01), "threshold"),
        (replace(FACT, threshold=float("nan")), "threshold"),
    ],
)
def test_an_entry_that_cannot_act_is_refused_and_the_field_is_named(entry: Entry, field: str) -> None:
    with pytest.raises(EntryError, match=f"'{field}'") as refused:
        check(entry)
    assert "Varga" not in str(refused.value)


def test_records_do_not_show_their_text() -> None:
    secret = Entry("e1", "s1", Kind.FACT, ("secret",), ("secret",), ("secret",), label="secret")
    shown = repr(secret) + repr(ForgetSet("s1", "secret", {"style": "secret"}, ("secret",)))
    assert "secret" not in shown
    assert "e1" in shown
    assert "s1" in shown
