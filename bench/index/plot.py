"""A drawing of growth: both axes logarithmic, one line a figure. An SVG that needs nothing beside itself."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 400, 70, 50, 40, 150
LABEL = 14  # pixels from one line's name to the next
COLOURS = ("#3457d5", "#c2410c", "#15803d", "#7e22ce")

Points = Sequence[tuple[float, float]]


def draw(path: Path, title: str, unit: str, lines: Mapping[str, Points]) -> None:
    """Writes lines of (size, value) as an SVG file."""
    every = [point for points in lines.values() for point in points]
    low_x, high_x = _decades([x for x, _ in every])
    low_y, high_y = _decades([y for _, y in every])

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / (high_x - low_x)
        up = (math.log10(y) - low_y) / (high_y - low_y)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    parts = [f'<text x="{LEFT}" y="22" font-size="15">{title}</text>']
    for decade in range(low_x, high_x + 1):
        x, y = at(10.0**decade, 10.0**low_y)
        parts.append(f'<line x1="{x:.0f}" y1="{TOP}" x2="{x:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle">{10**decade:,}</text>')
    for decade in range(low_y, high_y + 1):
        x, y = at(10.0**low_x, 10.0**decade)
        parts.append(f'<line x1="{x:.0f}" y1="{y:.0f}" x2="{WIDTH - RIGHT}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{10.0**decade:g} {unit}</text>')
    lowest_label = -LABEL
    ends = {name: points[-1][1] for name, points in lines.items()}
    labels: dict[str, float] = {}
    for name in sorted(ends, key=ends.__getitem__, reverse=True):  # from above: each keeps its distance
        labels[name] = lowest_label = max(at(1, ends[name])[1], lowest_label + LABEL)
    for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
        places = [at(x, max(y, 10.0**low_y)) for x, y in points]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(f'<text x="{places[-1][0] + 8:.0f}" y="{labels[name] + 4:.0f}" fill="{colour}">{name}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif"'
    path.write_text(f'{head} font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n')


def _decades(values: Sequence[float]) -> tuple[int, int]:
    known = [value for value in values if value > 0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return low, max(high, low + 1)
