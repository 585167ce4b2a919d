"""Tables and their cells. What comes in as text is escaped; what is called markup is not."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

THOUSANDTH = 0.001  # below it three decimals would show nothing


def table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int] = ()) -> str:
    """`rows` are markup; cells of the columns `texts` may wrap."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(_cells(row, texts))}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[str], texts: Sequence[int]) -> Iterator[str]:
    for place, cell in enumerate(row):
        yield f'<td class="text">{cell}</td>' if place in texts else f"<td>{cell}</td>"


def bold(name: str) -> str:
    """A name that stands out."""
    return f"<b>{escape(name)}</b>"


def estimate(one: Mapping[str, Any] | None) -> str:
    """A value with its interval and n."""
    if not one:
        return "–"
    low, high = one["interval95"]
    return f'<span title="n = {one["n"]}">{one["value"]:.3f}<small>{low:.2f} – {high:.2f}</small></span>'


def signed(one: Mapping[str, Any]) -> str:
    """A difference; bold where its interval does not hold 0."""
    low, high = one["interval95"]
    told = f"{one['value']:+.3f}"
    shown = f"<b>{told}</b>" if low > 0 or high < 0 else told
    return f"{shown}<small>{low:+.3f} – {high:+.3f}, n {one['n']}</small>"


def number(value: float | None) -> str:
    """A number, or a dash."""
    if value is None:
        return "–"
    if abs(value) > 1:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) >= THOUSANDTH or not value else f"{value:.1e}"
