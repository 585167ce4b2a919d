"""Which words of an entry's text are names, and which are details."""

import pytest

from indexes.names.found import marks_of

NAMES = (
    ("Where was Ilse Varga born?", ["ilse varga"]),
    ("Has Ilse Varga won the Nobel Prize?", ["ilse varga"]),
    ("Ilse Varga wrote which book?", ["ilse varga"]),
    ("What genre is author Basil Mahfouz Al-Kuwaiti known for?", ["basil mahfouz al kuwaiti"]),
    ("What did Ludwig van Beethoven write in Vienna?", ["ludwig van beethoven"]),
    ("Who taught C. S. Lewis?", ["c s lewis"]),
    ("What themes are in Ilse Varga's novels?", ["ilse varga"]),
    ("Где родилась Хина Амин?", ["хина амин"]),
    ("Who wrote the play 'Romeo and Juliet'?", []),
    ("Where would you find the Eiffel Tower?", []),
    ("Who was born in Addis Ababa?", []),
    ("What is the capital of New Zealand?", []),
    ("what is ilse varga known for?", []),
    ("WHERE WAS ILSE VARGA BORN?", []),
    ("", []),
)


@pytest.mark.parametrize(("text", "names"), NAMES)
def test_full_names(text: str, names: list[str]) -> None:
    assert [" ".join(name) for name in marks_of(text).names] == names


def test_details_are_places_numbers_and_titles_and_dates_are_the_same_however_written() -> None:
    figures = marks_of('Who was born in Karachi on 06/30/1975 and wrote "Granite Glossary"?').details
    words = marks_of("Who was born in Karachi on June 30th, 1975?").details
    assert {"karachi", "6", "30", "1975", "granite", "glossary"} == set(figures)
    assert {"karachi", "6", "30", "1975"} == set(words)
