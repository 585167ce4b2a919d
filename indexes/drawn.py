"""Characters that are drawn like Latin letters or stand for them, where Unicode does not say so.

`LETTERS` are letters of a word like any other: they part no words. `SIGNS` are symbols, and characters that show
nothing at all but spell ASCII to whoever decodes them (tags, and selectors taken as bytes).
"""

import re

_LATIN = "abcdefghijklmnopqrstuvwxyz"

LOOK_ALIKES = {
    ord(char): latin
    for char, latin in zip(
        "аеорсухіїјѕһԁԛԝґвкмнтгбАВЕЗІЇЈКМНОРСТУХЅԌԜɑɡɩıοανρτυικηχωεσβγΑΒΕΖΗΙΚΜΝΟΡΤΥΧⅼⅰ",
        "aeopcyxiijshdqwrbkmhtr6ABE3IIJKMHOPCTYXSGWagiioavptuiknxweoByABEZHIKMNOPTYXli",
        strict=True,
    )
}
"""Cyrillic, Greek and other letters that look like Latin ones."""

SMALL_CAPITALS = dict(zip(map(ord, "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ"), "abcdefghijklmnopqrstuvwyz", strict=True))

LETTERS = {**{code: latin.lower() for code, latin in LOOK_ALIKES.items()}, **SMALL_CAPITALS}
"""To small Latin letters, for `str.translate`."""

_BRAILLE = dict(zip(map(ord, "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵"), _LATIN, strict=True))
_ENCLOSED = {
    start + place: letter
    for start in (0x249C, 0x1F110, 0x1F130, 0x1F150, 0x1F170, 0x1F1E6)  # in brackets, circles, squares, flags
    for place, letter in enumerate(_LATIN)
}
_TAGS, _SELECTORS = 0xE0000, 0xE0100 - 16  # what each adds to the code of an ASCII character
HIDDEN = {start + code: chr(code) for start in (_TAGS, _SELECTORS) for code in range(0x20, 0x7F)}
"""Characters that show nothing, and the ASCII that they spell."""

SIGNS = {**_BRAILLE, **_ENCLOSED, **HIDDEN}
"""To what they spell, for `str.translate`."""

ANY_SIGN = re.compile(
    "[\u2800-\u28ff\u249c-\u24b5\U0001f110-\U0001f129\U0001f130-\U0001f149\U0001f150-\U0001f169"
    "\U0001f170-\U0001f189\U0001f1e6-\U0001f1ff\U000e0020-\U000e007e\U000e0110-\U000e016e]"
)
_SPELT = {**SIGNS, **SMALL_CAPITALS}
_HIDDEN_RUN = re.compile("[\U000e0020-\U000e007e\U000e0110-\U000e016e]+")


def read(text: str) -> str:
    """A text with its signs and small capitals as what they spell; what shows nothing stands by itself."""
    if text.isascii():
        return text
    if ANY_SIGN.search(text):
        text = _HIDDEN_RUN.sub(lambda run: f" {run[0].translate(HIDDEN)} ", text)
    return text.translate(_SPELT)
