"""Views: what hides a text is undone; plain texts have none; no text makes it expensive."""

import base64
import codecs
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.views import CONTEXT, MAX_LOOKED, MAX_VIEWS, views_of

QUESTION = "What is the name of the book that Ilse Varga wrote in Graz?"

BRAILLE = str.maketrans("abcdefghijklmnopqrstuvwxyz", "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵")
SMALL = str.maketrans("aefhilnorstuvw", "ᴀᴇꜰʜɪʟɴᴏʀꜱᴛᴜᴠᴡ")

HIDDEN: dict[str, Callable[[str], str]] = {
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "base64 asked": lambda t: "Decode and answer: " + base64.b64encode(t.encode()).decode(),
    "base64 in lines": lambda t: base64.encodebytes((t * 2).encode()).decode(),
    "hex": lambda t: t.encode().hex(),
    "hex with spaces": lambda t: t.encode().hex(" "),
    "binary": lambda t: " ".join(f"{byte:08b}" for byte in t.encode()),
    "url": quote,
    "escapes": lambda t: "".join(f"\\u{ord(c):04x}" for c in t),
    "rot13": lambda t: codecs.encode(t, "rot13"),
    "reversed": lambda t: t[::-1],
    "words reversed": lambda t: " ".join(word[::-1] for word in t.split()),
    "leet": lambda t: t.translate(str.maketrans("aeios", "43105")),
    "spaced": " ".join,
    "dashed": lambda t: " ".join("-".join(word) for word in t.split()),
    "zero width": "\u200b".join,
    "full width": lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
    "homoglyphs": lambda t: t.translate(str.maketrans("aeopc", "аеорс")),
    "small capitals": lambda t: t.lower().translate(SMALL),
    "flags": lambda t: "".join(chr(0x1F1E6 + ord(c) - 97) if c.isalpha() else c for c in t.lower()),
    "dark squares": lambda t: "".join(chr(0x1F170 + ord(c) - 97) if c.isalpha() else c for c in t.lower()),
    "brackets": lambda t: "".join(chr(0x249C + ord(c) - 97) if c.isalpha() else c for c in t.lower()),
    "Braille": lambda t: t.lower().translate(BRAILLE),
    "tags, which show nothing": lambda t: "Hello!" + "".join(chr(0xE0000 + ord(c)) for c in t) + " Bye.",
    "bytes as selectors": lambda t: "😀" + "".join(chr(0xE0100 - 16 + ord(c)) for c in t),
    "twice": lambda t: base64.b64encode(base64.b64encode(t.encode())).decode(),
    "rot13 in base64": lambda t: base64.b64encode(codecs.encode(t, "rot13").encode()).decode(),
}


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_what_hides_a_text_is_undone(hide: Callable[[str], str]) -> None:
    readings = [" ".join(view.text.lower().split()) for view in views_of(hide(QUESTION))]
    assert any("ilse varga" in reading for reading in readings)
    assert any("name of the book" in reading for reading in readings) or hide is HIDDEN["words reversed"]


PLAIN = (
    QUESTION,
    "Did the 20th century begin in 1901, and is H2O the formula of water?",
    "Qui est l'auteur notable né à Astana, au Kazakhstan, le 7 février 1952 ?",
    "Кто написал роман «Мастер и Маргарита» в XX веке?",
    "ما هو الاسم الكامل للمؤلف المولود في مدينة الكويت؟",
    "저자 Basil Mahfouz의 성별은 무엇입니까?",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "",
)


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_text_has_no_view(text: str) -> None:
    assert views_of(text) == []


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("What genre is мосхе бен-давид known for?", "What genre is moskhe ben-david known for?"),
        ("Where was Χίνα Αμίν born?", "Where was China Amin born?"),
        ("Who is Ида Lorentz?", "Who is Ida Lorentz?"),
        ("Where was Ida Lоrеntz born?", "Where was Ida Lorentz born?"),  # letters drawn alike are a disguise
        ("Where was АТОМ founded?", "Where was ATOM founded?"),
    ],
)
def test_names_in_another_script_are_read_in_latin_letters(text: str, read: str) -> None:
    assert read in [view.text for view in views_of(text)]


def test_a_word_that_can_be_read_both_ways_is_whatever_stands_beside_it() -> None:
    found = [view.text for view in views_of("Where was АМЕР born, and what does привет mean?")]
    assert any("AMEP" in text for text in found)
    assert any("AMER" in text for text in found)


def test_a_view_holds_what_changed_and_a_little_around_it() -> None:
    filler = "There was nothing else to be said about the weather that day. " * 40
    hidden = filler + HIDDEN["base64"](QUESTION) + " " + filler
    (view, *_) = views_of(hidden)
    assert QUESTION in view.text
    assert len(view.text) < len(QUESTION) + 3 * CONTEXT
    assert filler.rstrip() in hidden[: view.start + 1]


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    views = views_of(text)
    assert len(views) <= MAX_VIEWS
    assert all(0 <= view.start <= view.end <= len(text) for view in views)


JUNK = {
    "letters apart": "a " * 1_000_000,
    "percent": "%41" * 700_000,
    "entities": "&#65;" * 400_000,
    "one letter": "A" * 2_000_000,
    "hex with spaces": "41 " * 700_000,
    "dots": "a." * 1_000_000,
    "quotes": '"' * 2_000_000,
    "leet": "a1b" * 700_000,
    "look-alikes": "аb" * 1_000_000,
    "equals": "=" * 2_000_000,
}


def _nested() -> str:
    text = QUESTION * 15_000
    for _ in range(3):
        text = base64.b64encode(text.encode()).decode()
    return text


@pytest.mark.parametrize("junk", [*JUNK.values(), _nested()], ids=[*JUNK, "nested"])
def test_megabytes_of_junk_take_a_bounded_time(junk: str) -> None:
    started = time.process_time()
    views = views_of(junk)
    assert time.process_time() - started < 10  # 0.1 to 2 s; what grew with a square would take hours
    assert sum(len(view.text) for view in views) <= 2 * MAX_VIEWS * (MAX_LOOKED + 10_000)
