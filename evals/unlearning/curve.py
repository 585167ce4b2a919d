"""A sweep over strengths as an SVG: recall of what is forgotten and of what is kept, a panel a method."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

Sweep = Sequence[Mapping[str, float]]  # strength, forget_recall, retain_recall, as the rows of a card

WIDTH, HEIGHT, LEFT, TOP, GAP, BOTTOM = 240, 200, 44, 40, 28, 64
LINES = {"forget_recall": ("what is forgotten", "#c0392b"), "retain_recall": ("what is kept", "#1f6fb2")}
LABEL = 22  # pixels that a label on the axis needs
STYLE = "font:12px sans-serif;fill:#333"


@dataclass(frozen=True, slots=True)
class Panel:
    """One method: its sweep, the level to fall to (dashed across), the strength picked (upright).

    zoned: the sweep of the same method with a dead zone, drawn with broken lines. unit: of a strength, on the axis.
    """

    sweep: Sweep
    level: float
    picked: float
    zoned: Sweep = ()
    unit: float = 1


def curve(methods: Mapping[str, Panel]) -> str:
    """A panel for each method, by name."""
    panels = [_panel(place, name, one) for place, (name, one) in enumerate(methods.items())]
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + BOTTOM
    legend = [
        f'<rect x="{LEFT + 190 * place}" y="{height - 20}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{LEFT + 190 * place + 18}" y="{height - 10}" style="{STYLE}">{label}</text>'
        for place, (label, colour) in enumerate(LINES.values())
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(panels)}{"".join(legend)}</svg>\n'
    )


def _panel(place: int, title: str, panel: Panel) -> str:
    left = LEFT + place * (WIDTH + GAP)
    largest = max(row["strength"] for row in panel.sweep)

    def x(strength: float) -> float:
        return left + WIDTH * strength / largest

    def y(recall: float) -> float:
        return TOP + HEIGHT * (1 - recall)

    parts = [f'<text x="{left}" y="{TOP - 16}" style="{STYLE};font-weight:bold">{escape(title)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path d="M{left} {y(share):.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end" style="{STYLE}">{share:g}</text>')
    parts.append(f'<path d="M{left} {y(panel.level):.1f}h{WIDTH}" stroke="#888" stroke-dasharray="4 3"/>')
    parts.append(f'<path d="M{x(panel.picked):.1f} {TOP}v{HEIGHT}" stroke="#888" stroke-dasharray="2 4"/>')
    under = TOP + HEIGHT + 16
    parts += [
        f'<text x="{x(at):.1f}" y="{under}" text-anchor="middle" style="{STYLE}">{at * panel.unit:g}</text>'
        for at in _apart((row["strength"] for row in panel.sweep), largest)
    ]
    for sweep, dashes in ((panel.sweep, ""), (panel.zoned, ' stroke-dasharray="6 4"')):
        for side, (_, colour) in LINES.items() if sweep else ():
            points = [(x(row["strength"]), y(row[side])) for row in sweep]
            line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
    return "".join(parts)


def _apart(strengths: Iterable[float], largest: float) -> list[float]:
    """Those whose labels would not touch the one before."""
    found: list[float] = []
    for at in strengths:
        if not found or (at - found[-1]) * WIDTH / largest >= LABEL:
            found.append(at)
    return found
