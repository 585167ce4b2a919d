"""Charts as inline SVG. Numbers in, markup out; all colours are CSS variables of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from evals.report.published import Deviation, UtilityPoint

BAR, GAP, GROUP_GAP, LABEL, TOP = 13, 3, 14, 190, 26
PLOT, MARGIN = 400, 58
MIDDLE = 0.5
TICKS = (0, 0.25, 0.5, 0.75, 1)
SMALL = 0.005  # what two decimals would show as nothing
NEAR_X, NEAR_Y = 90, 14  # labels nearer than this would cover each other
RIGHT_PART = 0.6  # of the width: there labels stand left of their mark
COLOURS = 12  # of the page's palette; arms beyond begin again


@dataclass(frozen=True, slots=True)
class Bar:
    """A share or score in [0, 1] with its interval."""

    value: float
    low: float
    high: float
    n: int


def grouped_bars(groups: Mapping[str, Mapping[str, Bar]], arms: Sequence[str], *, width: int = 960) -> str:
    """Horizontal bars from 0 to 1, one group a row, one bar an arm, with whiskers."""
    span = width - LABEL - 120
    parts: list[str] = []
    y = TOP
    for name, bars in groups.items():
        shown = [(arm, bars[arm]) for arm in arms if arm in bars]
        middle = y + (len(shown) * (BAR + GAP) - GAP) / 2 + 4
        parts.append(_text("label", LABEL - 10, middle, name, "end"))
        for arm, bar in shown:
            parts.append(_bar(bar, arm, arms.index(arm), y, span))
            y += BAR + GAP
        y += GROUP_GAP - GAP
    grid = []
    for share in TICKS:
        x = LABEL + share * span
        grid.append(f'<path class="grid" d="M{x:.1f} {TOP - 6}V{y - 6}"/>')
        grid.append(_text("tick", x, TOP - 11, f"{share:g}", "middle"))
    return _svg(width, y, "".join(grid) + "".join(parts))


def _bar(bar: Bar, arm: str, place: int, y: float, span: float) -> str:
    def at(share: float) -> float:
        return LABEL + max(0.0, min(1.0, share)) * span

    middle = y + BAR / 2
    long = max(at(bar.value) - LABEL, 1.5)
    low, high = at(bar.low), at(bar.high)
    numbers = f"{arm}: {bar.value:.3f} ({bar.low:.3f} – {bar.high:.3f}), n = {bar.n}"
    return (
        f"<g><title>{escape(numbers)}</title>"
        f'<rect class="{colour(place)}" x="{LABEL}" y="{y}" width="{long:.1f}" height="{BAR}" rx="2"/>'
        f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}'
        f'M{low:.1f} {middle - 3.5}v7M{high:.1f} {middle - 3.5}v7"/>'
        + _text(
            "value",
            max(high, at(bar.value)) + 8,
            middle + 4,
            f"{bar.value:.3f}" if 0 < bar.value < SMALL else f"{bar.value:.2f}",
        )
        + "</g>"
    )


def colour(place: int) -> str:
    """The class of the arm at a place among all."""
    return f"arm{place % COLOURS}"


def forget_retain_plane(
    points: Mapping[str, tuple[float, float]], arcs: Sequence[Deviation], arms: Sequence[str]
) -> str:
    """Each arm by ROUGE-L on what is kept (right is good) and on what is to be forgotten (up is good: forgotten).

    `points`: arm → (retain, forget). `arms`: all that have a colour, in its order. Arcs join all points with the
    deviation score of a published result.
    """
    ideal_x, ideal_y = MARGIN + PLOT, MARGIN
    drawn, beside = [], []
    for arc in arcs:
        radius = arc.score / 100 * PLOT
        named = f"<title>{escape(arc.name)}: {arc.score:g}</title>"
        drawn.append(f'<g>{named}<path class="arc" d="{_arc(ideal_x, ideal_y, radius)}"/></g>')
        beside.append(_text("arc-label", ideal_x + 6, ideal_y + radius + 4, f"{arc.score:g}"))
    marks = [(arm, retain, 1 - forget) for arm, (retain, forget) in points.items()]
    x_name, y_name = "ROUGE-L recall on what is kept", "1 − ROUGE-L recall on what is to be forgotten"
    return _plane(marks, x_name, y_name, "".join(drawn), arms, "".join(beside))


def utility_plane(
    points: Mapping[str, tuple[float, float]], published: Sequence[UtilityPoint], arms: Sequence[str]
) -> str:
    """Model utility and forget efficacy of A Closer Look; published ones as open marks."""
    drawn = []
    for one in published:
        x, y = MARGIN + one.utility * PLOT, MARGIN + (1 - one.efficacy) * PLOT
        drawn.append(f'<circle class="published" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        drawn.append(_text("arc-label", x - 9, y + 4, one.name, "end"))
    marks = [(arm, utility, efficacy) for arm, (utility, efficacy) in points.items()]
    return _plane(marks, "model utility", "forget efficacy", "".join(drawn), arms)


def _plane(
    marks: Sequence[tuple[str, float, float]],
    x_name: str,
    y_name: str,
    behind: str,
    arms: Sequence[str],
    beside: str = "",
) -> str:
    size = PLOT + 2 * MARGIN
    grid = []
    for share in TICKS:
        along, up = MARGIN + share * PLOT, MARGIN + (1 - share) * PLOT
        grid.append(f'<path class="grid" d="M{along:.1f} {MARGIN}v{PLOT}M{MARGIN} {along:.1f}h{PLOT}"/>')
        grid.append(_text("tick", along, MARGIN + PLOT + 16, f"{share:g}", "middle"))
        grid.append(_text("tick", MARGIN - 8, up + 4, f"{share:g}", "end"))
    taken: list[tuple[float, float]] = []
    dots = []
    for arm, x, y in marks:
        left, top = MARGIN + x * PLOT, MARGIN + (1 - y) * PLOT
        label, away = top + 4, NEAR_Y if y > MIDDLE else -NEAR_Y  # never across the axis
        while any(abs(left - other) < NEAR_X and abs(label - height) < NEAR_Y for other, height in taken):
            label += away
        taken.append((left, label))
        anchor, shift = ("end", -11) if x > RIGHT_PART else ("start", 11)
        dots.append(
            f"<g><title>{escape(arm)}: {x:.3f}, {y:.3f}</title>"
            f'<circle class="{colour(arms.index(arm))}" cx="{left:.1f}" cy="{top:.1f}" r="6.5"/>'
            + _text("mark", left + shift, label, arm, anchor)
            + "</g>"
        )
    middle = MARGIN + PLOT / 2
    inside = (
        f'<clipPath id="plane"><rect x="{MARGIN}" y="{MARGIN}" width="{PLOT}" height="{PLOT}"/></clipPath>'
        f'<g clip-path="url(#plane)">{behind}</g>'
    )
    upright = f'<g transform="translate(15 {middle}) rotate(-90)">{_text("axis", 0, 0, y_name, "middle")}</g>'
    axis = _text("axis", middle, size - 8, x_name, "middle")
    return _svg(size, size, "".join(grid) + inside + beside + "".join(dots) + axis + upright)


def _arc(x: float, y: float, radius: float) -> str:
    """A quarter circle around the ideal corner."""
    return f"M{x - radius:.1f} {y:.1f}A{radius:.1f} {radius:.1f} 0 0 0 {x:.1f} {y + radius:.1f}"


def _text(kind: str, x: float, y: float, said: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def _svg(width: float, height: float, inside: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">{inside}</svg>'
