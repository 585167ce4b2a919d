"""Encodings in a text, undone in place: escapes and URL encoding, base64, hexadecimal and binary.

What decodes to no text stays as it stands: a number, an identifier or a picture is no disguise.
"""

import binascii
import html
import re
from base64 import b64decode, urlsafe_b64decode
from urllib.parse import unquote

MIN_CODE = 12  # characters of base64 or hexadecimal from which it is decoded

_URL = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_PLUS = re.compile(r"(?<=\w)[+](?=\w)")
_ESCAPES = re.compile(r"(?:\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2})+")
_BASE64 = re.compile(rf"(?<![\w+/])[A-Za-z0-9+/_-]{{{MIN_CODE},}}(?:\r?\n[A-Za-z0-9+/_-]+)*={{0,2}}")
_HEX = re.compile(rf"(?<!\w)(?:0x)?(?:[0-9A-Fa-f]{{2}}[\s:,]?(?:0x|\\x)?){{{MIN_CODE // 2},}}(?!\w)")
_BITS = re.compile(r"(?<!\w)(?:[01]{8}\s?){4,}(?!\w)")


def undo_escapes(text: str) -> str:
    """HTML entities and backslash escapes."""
    if "&" in text and ";" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPES.sub(lambda m: _readable(m[0].encode("ascii").decode("unicode_escape"), m[0]), text)
    return text


def undo_url(text: str) -> str:
    """Percent encoding, and plus signs for spaces where that is how it was written."""
    if "%" not in text:
        return text
    decoded = _URL.sub(lambda m: _shown(unquote(m[0], errors="replace"), m[0]), text)
    return _PLUS.sub(" ", decoded) if decoded != text and decoded.count("+") > 2 * decoded.count(" ") else decoded


def undo_base64(text: str) -> str:
    """Base64 of both alphabets, also over several lines."""
    return _BASE64.sub(_from_base64, text)


def _from_base64(match: re.Match[str]) -> str:
    code = "".join(match[0].split()).rstrip("=")
    if code.isdigit() or (code.islower() and code.isalpha()):
        return match[0]
    decode = urlsafe_b64decode if "-" in code or "_" in code else b64decode
    try:
        return _readable(decode(code[: len(code) - (len(code) % 4 == 1)] + "=" * (-len(code) % 4)).decode(), match[0])
    except (ValueError, binascii.Error):
        return match[0]


def undo_hex(text: str) -> str:
    """Bytes in hexadecimal."""
    return _HEX.sub(_from_hex, text)


def _from_hex(match: re.Match[str]) -> str:
    code = re.sub(r"0x|\\x|[\s:,]", "", match[0])
    try:
        return _readable(bytes.fromhex(code).decode(), match[0])
    except ValueError:
        return match[0]


def undo_binary(text: str) -> str:
    """Bytes in zeros and ones."""

    def decoded(match: re.Match[str]) -> str:
        code = "".join(match[0].split())
        try:
            return _readable(bytes(int(code[i : i + 8], 2) for i in range(0, len(code), 8)).decode(), match[0])
        except ValueError:
            return match[0]

    return _BITS.sub(decoded, text)


def _shown(decoded: str, code: str) -> str:
    """What was decoded, if all of it can be shown; else the code."""
    return decoded if _shows(decoded) else code


def _readable(decoded: str, code: str) -> str:
    """What was decoded, if it is text; else the code."""
    letters = sum(char.isalpha() or char.isspace() for char in decoded)
    return decoded if _shows(decoded) and letters * 2 >= len(decoded) else code


def _shows(decoded: str) -> bool:
    return "\ufffd" not in decoded and all(char.isprintable() or char in "\n\r\t" for char in decoded)
