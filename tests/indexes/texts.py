"""Texts and ways to cut them, for properties that must hold whatever the script and wherever a delta ends."""

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import strategies as st

# Characters and clusters that have their own ways of being cut, joined, composed or hidden.
LETTERS = (
    "a b Z é e\u0301 ñ n\u0303 ß İ ﬁ ﬃ Ａ 𝐀 Ⓐ ² ½ Ⅻ ŀ ŉ "  # Latin, composed and not, wide, circled, ligated
    "क की क़ क\u093c ् ं ب بُ لا ﷺ ـ 한 \u1112\u1161\u11ab ㅎ "  # Devanagari, Arabic, Hangul whole and in parts
    "ก น้ำ ิ 漢 字 々 か が か\u3099 ﾊﾟ パ"  # scripts without spaces, with marks and in half width
).split()
HIDDEN = ("\u200b", "\u200d", "\u00ad", "\ufe0f", "\u034f", "\u2060", "\u0336", "\u0301", "\U000e0041")
SEPARATORS = (" ", "  ", "\n", ", ", ".", "**", "_", "'", "’", "😀", "™", "\u00a0")

fragments = st.sampled_from((*LETTERS, *HIDDEN, *SEPARATORS))
texts = st.one_of(st.lists(fragments, max_size=16).map("".join), st.text(max_size=12))


def pieces_at(text: str, places: list[int]) -> list[str]:
    """A text cut at the given places, in whatever order and number they are."""
    bounds = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


def ways_to_cut(text: str, places: list[int]) -> Iterator[list[str]]:
    """Whole, by character, in two at every place, and at the places drawn."""
    yield [text]
    yield list(text)
    yield pieces_at(text, places)
    for place in range(1, len(text)):
        yield [text[:place], text[place:]]


places = st.lists(st.integers(0, 200), max_size=8)
