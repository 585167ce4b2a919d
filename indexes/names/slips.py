"""Slips of the hand: letters left out, added, changed, or two neighbours swapped.

The first letter of a word is hardly ever wrong, and a short word is too near to others to be corrected.
"""

from collections.abc import Iterator
from string import ascii_lowercase

SLIP_LENGTH = 5  # letters of a word from which one may be wrong
SHORT_SLIP_LENGTH = 3  # of one that stands beside the rest of a name: "Hita Ameen" is no other Ameen than Hina


def one_slip(a: str, b: str) -> bool:
    """True when two words differ by one slip, or not at all."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    a, b = a[start:], b[start:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (len(a) > 1 and a[0] == b[1] and a[1] == b[0] and a[2:] == b[2:])
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return longer[1:] == shorter


def slips_between(a: str, b: str, at_most: int) -> int:
    """How many slips turn one word into another (optimal string alignment); `at_most` + 1 where it takes more."""
    if abs(len(a) - len(b)) > at_most:
        return at_most + 1
    before, above = [0] * (len(b) + 1), list(range(len(b) + 1))
    for row, letter in enumerate(a, 1):
        line = [row]
        for place, other in enumerate(b, 1):
            fewest = min(above[place] + 1, line[-1] + 1, above[place - 1] + (letter != other))
            if row > 1 < place and letter == b[place - 2] and a[row - 2] == other:
                fewest = min(fewest, before[place - 2] + 1)
            line.append(fewest)
        if min(line) > at_most:
            return at_most + 1
        before, above = above, line
    return min(above[-1], at_most + 1)


def one_slip_away(word: str) -> Iterator[str]:
    """The words that one slip behind the first letter makes of a word in small Latin letters, some of them twice."""
    for i in range(1, len(word) + 1):
        head, tail = word[:i], word[i:]
        for letter in ascii_lowercase:
            yield head + letter + tail
        if tail:
            yield head + tail[1:]
            for letter in ascii_lowercase:
                yield head + letter + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]


def deletions(word: str) -> Iterator[str]:
    """A word with each of its letters left out."""
    yield from (word[:i] + word[i + 1 :] for i in range(len(word)))
