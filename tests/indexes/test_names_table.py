"""Names of entries in a text: whole, heard, misspelt, in part; not their neighbours."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.names import table as table_module
from indexes.names.frozen import Name
from indexes.names.table import MAX_CANDIDATES, NameTable
from indexes.words import words_of


def table(*names: str) -> NameTable:
    made = NameTable()
    for slot, name in enumerate(names):
        made.add([word.text for word in words_of(name)], slot)
    return made


def found(made: NameTable, text: str) -> dict[str, bool]:
    return {" ".join(hit.name.words): hit.exact for hit in made.find(words_of(text))}


WRITTEN = ("Hina Ameen", "Basil Mahfouz Al-Kuwaiti", "Nikolai Abilov", "Edward Patrick Sullivan", "Xin Lee Williams")
NAMES = table(*WRITTEN)


@pytest.fixture(params=["live", "frozen", "half frozen"])
def names(request: pytest.FixtureRequest) -> NameTable:
    """The same names as they were added, in arrays, and some of them on top of others in arrays."""
    if request.param == "live":
        return NAMES
    if request.param == "frozen":
        return NameTable(NAMES.frozen())
    half = NameTable(table(*WRITTEN[:2]).frozen())
    for slot, name in enumerate(WRITTEN[1:], 1):
        half.add([word.text for word in words_of(name)], slot)
    return half


THERE = (
    ("What did Hina Ameen write?", "hina ameen"),
    ("what did hina ameen write", "hina ameen"),
    ("Ameen, Hina: works", "hina ameen"),
    ("Что написала Хина Амин?", "hina ameen"),
    ("کتابهای هینا امین", "hina ameen"),
    ("हिना अमीन की किताबें", "hina ameen"),
    ("Hina Ameem's books", "hina ameen"),
    ("H. Ameen's books", "hina ameen"),
    ("Nikolai Abilov는 누구입니까?", "nikolai abilov"),
    ("книги Николая Абилова", "nikolai abilov"),
    ("Nikolai Ablov", "nikolai abilov"),
    ("Basil Al-Kuwaiti", "basil mahfouz al kuwaiti"),
    ("باسل محفوظ الكويتي", "basil mahfouz al kuwaiti"),
    ("Ed Sullivan", "edward patrick sullivan"),
    ("Nikoali Abilov", "nikolai abilov"),
    ("Nkiolia Abilov", "nikolai abilov"),  # two slips, beside a word without any
)


@pytest.mark.parametrize(("text", "name"), THERE)
def test_found(names: NameTable, text: str, name: str) -> None:
    assert name in found(names, text)


ABSENT = (
    "What did Ameen write?",  # a surname alone is a detail, not a name
    "Elliot Patrick Benson's books",
    "la relation entre son lieu de naissance",
    "كان أمين المكتبة هنا من قبل",
    "그녀의 어머니는 하나는 어머니의",
    "The basil in the Kuwaiti market",
    "",
)


@pytest.mark.parametrize("text", ABSENT)
def test_not_found(names: NameTable, text: str) -> None:
    assert found(names, text) == {}


def test_only_a_name_as_it_is_written_is_exact(names: NameTable) -> None:
    assert found(names, "Hina Ameen") == {"hina ameen": True}
    assert found(names, "Ameen Hina") == {"hina ameen": False}


SPELT = st.sampled_from("Ann Anne Anna Roman Romans Roma Роман رومان Bo Robert Bob Patrik Patrick van".split())
PEOPLE = st.lists(st.lists(SPELT, min_size=1, max_size=3).map(" ".join), max_size=6)


@given(st.lists(st.tuples(PEOPLE, st.booleans(), st.booleans()), max_size=6), st.lists(SPELT, max_size=12))
def test_what_is_put_in_arrays_at_any_time_answers_as_before(
    entries: list[tuple[list[str], bool, bool]], said: list[str]
) -> None:
    live, frozen = NameTable(), NameTable()
    for slot, (people, stated, freezes) in enumerate(entries):
        names = [tuple(word.text for word in words_of(name)) for name in people]
        for made in (live, frozen):
            for name in names[:1] if stated else ():
                made.add(name, slot, given=True)
            made.add_found(names, slot)
        if freezes:
            frozen = NameTable(frozen.frozen())

    def told(made: NameTable, slot: int) -> list[tuple[object, ...]]:
        return [(name.words, list(name.slots)) for name in made.found_with(slot)]

    def hits(made: NameTable) -> list[tuple[object, ...]]:
        return [
            (
                h.name.words,
                h.name.letters,
                list(h.name.slots),
                h.name.given,
                h.start,
                h.end,
                h.likeness,
                h.exact,
                h.whole,
            )
            for h in made.find(words_of(" ".join(said)))
        ]

    for again in (frozen, NameTable(frozen.frozen())):
        assert hits(again) == hits(live)
        assert [told(again, slot) for slot in range(7)] == [told(live, slot) for slot in range(7)]


def test_a_name_of_many_entries_and_words_of_many_names() -> None:
    """More than are compared for one pair of words: the first ones, in arrays as well."""
    spelt = [f"Roman{a}{b} Abilov" for a in "abdeilmnorst" for b in "aeiouxyz"]
    live = table(*spelt)
    half = NameTable(table(*spelt[:40]).frozen())
    for slot, name in enumerate(spelt):
        half.add([word.text for word in words_of(name)], slot)
    for text in ("Romano Abilov", "Ромам Абилов", "Romanaa Abilov"):
        words = words_of(text)
        assert [h.name.words for h in half.find(words)] == [h.name.words for h in live.find(words)]


def test_an_article_before_one_word_is_no_name_by_itself() -> None:
    assert found(table("The Who", "La Paz"), "the who in paz") == {}


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("Elliot Partibk Benson", True),  # two slips beside two words without any
        ("Roshni Rahnav", True),
        ("Roshni Rivers", False),
        ("Roshni Patel", False),
        ("Rashida Rahnav", False),
        ("Elliot Parsons", False),
        ("the first bytes of a file", False),  # of Ferrant Foods only the first letters
    ],
)
def test_a_garbled_word_beside_a_right_one(text: str, is_found: bool) -> None:
    assert bool(found(table("Elliot Patrick Benson", "Roshni Rahman", "Ferrant Foods"), text)) is is_found


ALIKE = [
    f"L{a}r{b}min{c} S{d}n{e}tor"
    for a, b, c, d, e in product("aeiou", "aeiou", "ae", "aeo", "ai")  # one skeleton for all
]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_name_is_found_among_very_many_that_sound_alike(frozen: bool) -> None:
    assert len(ALIKE) > 2 * MAX_CANDIDATES
    made = table(*ALIKE)
    if frozen:
        made = NameTable(made.frozen())
    for place in (0, MAX_CANDIDATES + 1, len(ALIKE) - 1):
        first, last = ALIKE[place].split()
        assert found(made, f"What did {first} {last} write?")[ALIKE[place].lower()]
        assert ALIKE[place].lower() in found(made, f"Works: {last}, {first}")
        assert ALIKE[place].lower() in found(made, f"Who is {first} {last[:3]}x{last[3:]}?")


def test_the_cost_of_a_text_does_not_grow_with_the_number_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Name] = []

    def comparing(name: Name, *words: object, next_to: bool) -> None:
        compared.append(name)

    monkeypatch.setattr(table_module, "compared", comparing)
    steps = []
    for count in (MAX_CANDIDATES + 10, len(ALIKE)):
        compared.clear()
        table(*ALIKE[:count]).find(words_of(f"What did {ALIKE[3]} write?"))
        steps.append(len(compared))
    assert steps[0] == steps[1] > 0
