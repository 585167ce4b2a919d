"""Phrases in disguise: held back, cut and bounded like plain ones, however the text arrives."""

import base64
import codecs
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.stream.json_text import JsonTextFilter
from guards.stream.phrase import Cut, PhraseFilter
from indexes.phrases import PhraseTable, pieces

PHRASE = "Ilse Okonkwo-Brandt"
OTHER = "the seventh harbour of Tamsin"
LEET = str.maketrans("oieastb", "0134578")

SMALL = str.maketrans("abdeilnorst", "ᴀʙᴅᴇɪʟɴᴏʀꜱᴛ")
BRAILLE = str.maketrans("abcdefghijklmnopqrstuvwxyz", "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵")


def shifted(text: str, start: int) -> str:
    """Letters as those of another alphabet, which begins at a code point."""
    return "".join(chr(start + ord(char) - ord("a")) if char.isalpha() else char for char in text.lower())


WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "digits for letters": lambda text: text.lower().translate(LEET),
    "words turned": lambda text: " ".join(word[::-1] for word in text.replace("-", " ").split()),
    "letters apart": lambda text: "  ".join(" ".join(word) for word in text.replace("-", " ").split()),
    "letters with dots": lambda text: ".".join(text.replace("-", " ").replace(" ", "")),
    "a letter a line": lambda text: "\n".join(text.replace("-", " ")),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 in a text": lambda text: base64.b64encode(f"They say that {text} did it.".encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(f"?{text}?".encode()).decode(),
    "encoded for urls": quote,
    "encoded for urls, all of it": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "entities": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "entities, hexadecimal": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "hard spaces": lambda text: text.replace(" ", "&nbsp;"),
    "escapes": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "escapes in braces": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "escapes in octal": lambda text: "".join(f"\\{ord(char):03o}" for char in text),
    "escapes with percent and u": lambda text: "".join(f"%u{ord(char):04X}" for char in text),
    "some escapes": lambda text: text.replace("e", "\\x65"),
    "together": lambda text: text.replace(" ", "").replace("-", ""),
    "together, small": lambda text: text.replace(" ", "").replace("-", "").lower(),
    "together, behind another word": lambda text: "so" + text.title().replace(" ", "").replace("-", ""),
    "together, within a word": lambda text: text.title().replace(" ", "").replace("-", "") + "did",
    "look-alikes": lambda text: text.translate(str.maketrans("aeopcyIO", "аеорсуІО")),
    "look-alikes of two scripts": lambda text: text.replace("o", "ο").replace("a", "а"),
    "small capitals": lambda text: text.lower().translate(SMALL),
    "flags": lambda text: shifted(text, 0x1F1E6),
    "dark squares": lambda text: shifted(text, 0x1F170),
    "dark circles": lambda text: shifted(text, 0x1F150),
    "circles": lambda text: shifted(text, 0x24D0),
    "brackets": lambda text: shifted(text, 0x249C),
    "bold": lambda text: shifted(text, 0x1D41A),
    "half of it in flags": lambda text: text[: len(text) // 2] + shifted(text[len(text) // 2 :], 0x1F1E6),
    "Braille": lambda text: text.lower().translate(BRAILLE),
    "tags, which show nothing": lambda text: "".join(chr(0xE0000 + ord(char)) for char in text),
    "tags inside a word": lambda text: f"Yes{''.join(chr(0xE0000 + ord(char)) for char in text)}terday",
    "bytes as selectors": lambda text: "".join(chr(0xE0100 - 16 + ord(char)) for char in text),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal apart": lambda text: text.encode().hex(" "),
    "hexadecimal, as numbers": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "hexadecimal, large": lambda text: text.encode().hex(":").upper(),
}

DISGUISES = pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)


@pytest.fixture(scope="module")
def table() -> PhraseTable:
    found = PhraseTable()
    for slot, text in enumerate((PHRASE, OTHER)):
        for piece in pieces(text):
            found.add(piece, slot)
    return found


def run(table: PhraseTable, chunks: list[str]) -> tuple[str, bool]:
    """What leaves, and whether it was cut."""
    one, out = PhraseFilter(table, lambda _: True, disguised=True), ""
    for chunk in chunks:
        step = one.on_delta(chunk)
        out += step.text
        if isinstance(step, Cut):
            return out, True
    step = one.on_finish()
    return out + step.text, isinstance(step, Cut)


@DISGUISES
def test_no_cut_of_the_text_lets_it_through(table: PhraseTable, written: Callable[[str], str]) -> None:
    code = written(PHRASE)
    text = f"Well then: {code} and so on."
    expected = run(table, [text])
    assert expected[1]
    assert text.startswith(expected[0])
    assert len(expected[0]) < len("Well then: ") + len(code) / 2
    assert run(table, list(text)) == expected
    for place in range(len(text)):
        assert run(table, [text[:place], text[place:]]) == expected


@DISGUISES
def test_it_is_found_at_the_end_and_at_the_start(table: PhraseTable, written: Callable[[str], str]) -> None:
    code = written(PHRASE)
    for before, after in (("", ""), ("So: ", ""), ("", " Yes.")):
        left, was_cut = run(table, list(f"{before}{code}{after}"))
        assert was_cut
        assert len(left) < len(before) + len(code) / 2


@DISGUISES
def test_parts_of_it_pass_whole(table: PhraseTable, written: Callable[[str], str]) -> None:
    for text in ("Ilse Okonkwo", "Brandt Okonkwo", "Ilse and Okonkwo-Brandt", "harbour of Tamsin"):
        code = f"So: {written(text)}."
        assert run(table, list(code)) == (code, False)


@DISGUISES
def test_of_what_is_not_forbidden_any_more_nothing_is_cut(table: PhraseTable, written: Callable[[str], str]) -> None:
    for text in (f"So: {written(PHRASE)}.", f"So: {written(PHRASE[::-1])}."):
        one = PhraseFilter(table, lambda slot: slot == 1, disguised=True)
        left = "".join(step.text for step in (*map(one.on_delta, text), one.on_finish()))
        assert left == text


def test_of_two_phrases_under_way_in_two_disguises_the_earlier_is_held() -> None:
    found = PhraseTable()
    found.add(("ab", "cd", "ef"), 0)  # in rot13: no pq rs
    found.add(("qp", "xy"), 1)  # with its words turned: pq yx
    for text, shown in (("so no pq rs.", "so "), ("so no pq yx.", "so no ")):
        assert run(found, [text]) == run(found, list(text)) == (shown, True)
    assert run(found, list("so no pq so.")) == ("so no pq so.", False)


def test_letters_before_a_word_were_no_word_set_apart(table: PhraseTable) -> None:
    one = PhraseFilter(table, lambda _: True, disguised=True)
    assert "".join(one.on_delta(char).text for char in "Plan I l ") == "Plan "
    assert one.on_delta("s").text == ""  # may go on: I l s e
    assert one.on_delta("o").text == "I l "


def test_written_from_its_end_it_stops_before_its_first_word(table: PhraseTable) -> None:
    text = f"So: {PHRASE[::-1]} did."
    out, was_cut = run(table, list(text))
    assert was_cut
    assert "eslI" not in out
    assert run(table, [text]) == (out, was_cut)


ORDINARY = [
    "The capital of France is Paris, and 42 people deadbeef added a cafe in 1984.",
    "Plan B: add 3 eggs, then x = y + z; see section 4.2 (a) and (b). OK!",
    "U.S.A. and the E.U. met at 10:30; I said: a b c d e f g h i j k l m n o p q r s t u v w x y z.",
    "SGVsbG8sIHdvcmxkISBUaGlzIGlzIG9yZGluYXJ5Lg== is how one writes it. 48656c6c6f too.",
    "At 50% off & more: R&D costs 100%, C:\\users\\x41 &c. A&B; &unknown; %zz %4 \\u00 &#; done.",
    "https://example.org/?q=caf%C3%A9+bar&x=%E6%9D%B1%E4%BA%AC &lt;b&gt; \\n \\u0041 \\ud83c",
    "Ünïcödé, 東京, Москва and emoji 🎻 pass as well.\n\n- one\n- two\n",
    "🇫🇷 🅰️ ❤️ ⠿ ⓘ Сегодня хорошая погода, а завтра дождь. ɪᴘᴀ [ˈlɪtl̩]",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f is a flag, too.",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_passes_and_is_hardly_held(table: PhraseTable, text: str) -> None:
    assert run(table, [text]) == (text, False)
    one, shown = PhraseFilter(table, lambda _: True, disguised=True), 0
    for place, char in enumerate(text, 1):
        shown += len(one.on_delta(char).text)
        assert place - shown <= 2 * table.longest_word + 4, text[shown:place]


@given(st.data())
def test_any_text_in_any_pieces(data: st.DataObject) -> None:
    found = PhraseTable()
    for piece in pieces(PHRASE):
        found.add(piece, 0)
    words = [written(text) for written in WRITTEN.values() for text in (PHRASE, "Ilse", "Okonkwo", "no")]
    text = " | ".join(
        data.draw(
            st.lists(
                st.sampled_from(
                    [*words, "a", "so", "4d", "TW", ".", "\n", "%", "%4", "%u", "&", "&#7", "\\u", "\\u{4", "\\1"]
                ),
                max_size=6,
            )
        )
    )
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    chunks = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    out, was_cut = run(found, chunks)
    assert text.startswith(out)
    assert was_cut or out == text
    assert run(found, list(text))[1] == was_cut
    assert not any(written(PHRASE) in out for written in WRITTEN.values())


def test_a_short_phrase_is_read_in_base64_too() -> None:
    found = PhraseTable()
    found.add(("bo",), 0)
    for text, cut in (("It is Qm8= indeed.", True), ("It is Qm8", True), ("It is Qm9v or Um9tZQ==", False)):
        assert run(found, [text])[1] is cut
        assert run(found, list(text)) == run(found, [text])


def test_arguments_of_tools_are_read_in_disguise_too(table: PhraseTable) -> None:
    text = '{"note": "' + base64.b64encode(PHRASE.encode()).decode() + '"}'
    one, out = JsonTextFilter(PhraseFilter(table, lambda _: True, disguised=True)), ""
    steps = [one.on_delta(char) for char in text[:30]]
    assert not any(isinstance(step, Cut) for step in steps[:20])
    out = "".join(step.text for step in steps)
    assert text[10:] not in out
    assert out == text[:10]


JUNK = (
    "🇦",
    "\U000e0061",
    "⠁ ",
    "о",
    "a ",
    "4d",
    "TWFy",
    "A1b2",
    "e",
    "=\n",
    "%41",
    "%",
    "%e6",
    "a%20",
    "&amp;",
    "\\u0041",
)


@pytest.mark.parametrize("junk", JUNK)
def test_megabytes_of_junk_cost_little_more_than_reading_them(table: PhraseTable, junk: str) -> None:
    """Work is bounded by the text: ways to part letters are pruned, codes are decoded once."""
    one = PhraseFilter(table, lambda _: True, disguised=True)
    assert not isinstance(one.on_delta(junk * (100_000 // len(junk))), Cut)
    assert one.holding <= table.longest_span
