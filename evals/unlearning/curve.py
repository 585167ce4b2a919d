"""A sweep over strengths as an SVG: recall of what is forgotten and of what is kept, a panel a method."""

from collections.abc import Mapping, Sequence
from html import escape

Sweep = Sequence[Mapping[str, float]]  # strength, forget_recall, retain_recall, as the rows of a card

WIDTH, HEIGHT, LEFT, TOP, GAP, BOTTOM = 240, 200, 44, 40, 28, 64
LINES = {"forget_recall": ("what is forgotten", "#c0392b"), "retain_recall": ("what is kept", "#1f6fb2")}
STYLE = "font:12px sans-serif;fill:#333"


def curve(methods: Mapping[str, tuple[Sweep, float, float]]) -> str:
    """A panel for each method: its sweep, the level to fall to (dashed across), the strength picked (upright)."""
    panels = [_panel(place, name, *one) for place, (name, one) in enumerate(methods.items())]
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


def _panel(place: int, title: str, sweep: Sweep, level: float, mark: float) -> str:
    left = LEFT + place * (WIDTH + GAP)
    largest = max(row["strength"] for row in sweep)

    def x(strength: float) -> float:
        return left + WIDTH * strength / largest

    def y(recall: float) -> float:
        return TOP + HEIGHT * (1 - recall)

    parts = [f'<text x="{left}" y="{TOP - 16}" style="{STYLE};font-weight:bold">{escape(title)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path d="M{left} {y(share):.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end" style="{STYLE}">{share:g}</text>')
    parts.append(f'<path d="M{left} {y(level):.1f}h{WIDTH}" stroke="#888" stroke-dasharray="4 3"/>')
    parts.append(f'<path d="M{x(mark):.1f} {TOP}v{HEIGHT}" stroke="#888" stroke-dasharray="2 4"/>')
    under = TOP + HEIGHT + 16
    parts += [
        f'<text x="{x(at):.1f}" y="{under}" text-anchor="middle" style="{STYLE}">{at:g}</text>'
        for at in (row["strength"] for row in sweep)
    ]
    for side, (_, colour) in LINES.items():
        points = [(x(row["strength"]), y(row[side])) for row in sweep]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
    return "".join(parts)
