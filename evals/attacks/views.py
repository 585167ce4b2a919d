"""A text as a person who takes the trouble can read it: letters spelt one by one, encodings, reversed text, the first
letters of lines, other scripts."""

import base64
import binascii
import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from urllib.parse import unquote

from anyascii import anyascii

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SPELT = re.compile(r"(?:(?<=\W)|^)(?:[^\W_][\s.,;:*_/|-]+){3,}[^\W_](?=\W|$)")
_BETWEEN = re.compile(r"[\s.,;:*_/|-]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s,]?){4,}")
_HEX_SIGNS = re.compile(r"0x|\\x|[\s,]")
_LEET = str.maketrans("431057@$6892", "aeiostasgbgz")


def plain(text: str) -> str:
    """The text without what cannot be seen, in the usual letters."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def views(text: str) -> Iterator[str]:
    """A plain text, and what it can be read as. Words stand apart in all of them."""
    yield text
    if not text.isascii():
        yield anyascii(text)
    yield text[::-1]
    yield codecs.encode(text, "rot13")
    yield text.translate(_LEET)
    if "%" in text:
        yield unquote(text)
    spelt = _SPELT.sub(lambda found: _put_together(found[0]), text)
    if spelt != text:
        yield spelt
        yield spelt[::-1]
    if decoded := " ".join((*_from_base64(text), *_from_base64(re.sub(r"\s+", "", text)), *_from_hex(text))):
        yield decoded


def runs(text: str) -> Iterator[str]:
    """Letters in a row, in lower case, of which nobody says where a word ends: spelt out, or begun lines with."""
    for found in _SPELT.findall(text):
        yield _BETWEEN.sub("", found).lower()
    lines = [line.strip(" -*0123456789.)") for line in text.splitlines()]
    if len(begun := [line[:1] for line in lines if line]) > 2:
        yield "".join(begun).lower()


def _put_together(spelt: str) -> str:
    """Letters with the usual sign between them are one word; another sign parts words."""
    signs = _BETWEEN.findall(spelt)
    usual = Counter(signs).most_common(1)[0][0]
    return _BETWEEN.sub(lambda found: "" if found[0] == usual else " ", spelt)


def _from_base64(text: str) -> Iterator[str]:
    for found in _BASE64.findall(text):
        code = found.rstrip("=").translate(str.maketrans("-_", "+/"))
        code = code[: len(code) - (len(code) % 4 == 1)]  # broken off within a letter
        try:
            said = base64.b64decode(code + "=" * (-len(code) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if said.isprintable():
            yield said


def _from_hex(text: str) -> Iterator[str]:
    for found in _HEX.findall(text):
        try:
            yield bytes.fromhex(_HEX_SIGNS.sub("", found)).decode()
        except (ValueError, UnicodeDecodeError):
            continue
