"""Numbers and dates in one form, so that "the 12th of May", "12/05" and "twelve" are the same number to a judge."""

import re

_LIST = re.compile(r"^\s*1[.)]\s", re.MULTILINE)
_MARKER = re.compile(r"^\s*\d{1,2}[.)]\s+", re.MULTILINE)
"""Of a list: it counts lines and says nothing."""
_THOUSANDS = re.compile(r"(?<=\d)[,\u00a0\u202f](?=\d{3}(?!\d))")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_ZEROS = re.compile(r"\b0+(?=\d)")
_DATE = re.compile(r"\b(\d{4})([-/.])(\d{1,2})\2(\d{1,2})\b|\b(\d{1,2})([-/.])(\d{1,2})\6(\d{4}|\d\d)\b")
_MONTHS = "january february march april may june july august september october november december".split()

_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_UNITS = "one two three four five six seven eight nine".split()
_ORDINALS = {
    **dict(zip("first second third fourth fifth sixth seventh eighth ninth".split(), _UNITS, strict=True)),
    **{word + "th": word for word in _TEENS if word != "twelve"},
    "twelfth": "twelve",
    **{word[:-1] + "ieth": word for word in _TENS},
}
_VALUES = {
    **{word: place + 1 for place, word in enumerate(_UNITS)},
    **{word: place + 10 for place, word in enumerate(_TEENS)},
    **{word: 10 * place + 20 for place, word in enumerate(_TENS)},
}
_ANY = "|".join(sorted((*_VALUES, *_ORDINALS), key=len, reverse=True))
_SPELT = re.compile(rf"\b(?:{_ANY})(?:[\s-]+(?:{_ANY}))*\b", re.IGNORECASE)
_LEAST = 10  # smaller ones are words like any other in English ("one of", "second")


def plain_numbers(text: str) -> str:
    """The text with its numbers as digits without signs between; of a date of digits also the month's name."""
    if _LIST.search(text):
        text = _MARKER.sub("", text)
    text = _DATE.sub(_with_month, text)
    text = _ORDINAL.sub(r"\1", _THOUSANDS.sub("", text))
    return _ZEROS.sub("", _SPELT.sub(_digits, text))


def _with_month(found: re.Match[str]) -> str:
    """Day and month stand in either order; where both could be the month, both are named."""
    numbers = [part for part in found.groups() if part and part.isdigit()]
    months = {int(part) for part in numbers if len(part) <= 2 and 1 <= int(part) <= len(_MONTHS)}
    return " ".join([*numbers, *(_MONTHS[month - 1] for month in sorted(months))])


def _digits(found: re.Match[str]) -> str:
    said: list[int] = []
    for word in re.split(r"[\s-]+", found[0].lower()):
        value = _VALUES[_ORDINALS.get(word, word)]
        if said and value < 10 and said[-1] >= 20 and said[-1] % 10 == 0:
            said[-1] += value
        else:
            said.append(value)
    if len(said) == 2 and 10 <= said[0] <= 20 and said[1] >= _LEAST:
        return f"{said[0]}{said[1]}"
    return found[0] if all(value < _LEAST for value in said) else " ".join(map(str, said))
