"""The curve of a sweep as an SVG: recall over strength, a panel a method."""

from collections.abc import Mapping, Sequence
from html import escape

from evals.unlearning.score import Scores

WIDTH, HEIGHT, LEFT, TOP, GAP, BOTTOM = 240, 200, 44, 40, 28, 64
COLOURS = ("#c0392b", "#e08a1e", "#1f6fb2", "#2e8b57")  # forgotten in warm colours, kept in cold ones
STYLE = "font:12px sans-serif;fill:#333"


def curve(methods: Mapping[str, Scores], names: Sequence[str], level: float, marks: Mapping[str, float]) -> str:
    """One panel for each method. names: sets that are drawn, in the order of the colours. marks: strengths to mark."""
    panels = [
        _panel(place, name, scores, names, level, marks[name]) for place, (name, scores) in enumerate(methods.items())
    ]
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + BOTTOM
    legend = [
        f'<rect x="{LEFT + 190 * place}" y="{height - 20}" width="12" height="12" fill="{COLOURS[place]}"/>'
        f'<text x="{LEFT + 190 * place + 18}" y="{height - 10}" style="{STYLE}">{escape(name)}</text>'
        for place, name in enumerate(names)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(panels)}{"".join(legend)}</svg>\n'
    )


def _panel(place: int, title: str, scores: Scores, names: Sequence[str], level: float, mark: float) -> str:
    left = LEFT + place * (WIDTH + GAP)
    strengths = sorted(scores)

    def x(strength: float) -> float:
        return left + WIDTH * strength / strengths[-1]

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
        f'<text x="{x(strength):.1f}" y="{under}" text-anchor="middle" style="{STYLE}">{strength:g}</text>'
        for strength in strengths
    ]
    for colour, name in zip(COLOURS, names, strict=False):
        points = [(x(strength), y(scores[strength][name].recall.value)) for strength in strengths]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
    return "".join(parts)
