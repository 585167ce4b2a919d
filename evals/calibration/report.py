"""The curve of a calibration as a picture, and a page that needs nothing beside itself."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from evals.calibration.sweep import Point, Scored

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 520, 80, 30, 40, 70
HITS, ALARMS, CHOSEN, NOW, GRID, INK = "#15803d", "#c2410c", "#3457d5", "#6b7280", "#e5e7eb", "#111827"
REDACTED = "(not shown)"


@dataclass(frozen=True, repr=False)
class Calibration:
    """What was measured for a set, and what is proposed."""

    set_id: str
    entries: int
    target_fpr: float
    now: Point
    chosen: Point | None
    curve: Sequence[Point]
    misses: Sequence[Scored]
    alarms: Sequence[Scored]
    embedder: str


def picture(made: Calibration) -> bytes:
    """The curve as PNG: share of hits and of false alarms at each threshold."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(16)
    low, high = made.curve[0].threshold, made.curve[-1].threshold

    def at(threshold: float, share: float) -> tuple[float, float]:
        across = (threshold - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    for tenth in range(0, 11, 2):
        x, y = at(low, tenth / 10)
        draw.line((x, y, WIDTH - RIGHT, y), GRID)
        draw.text((x - 10, y), f"{tenth / 10:.1f}", INK, font, anchor="rm")
    for step in range(int(low * 10), int(high * 10) + 1):
        x, y = at(step / 10, 0)
        draw.line((x, TOP, x, y), GRID)
        draw.text((x, y + 12), f"{step / 10:.1f}", INK, font, anchor="mt")
    for setting, colour, name in ((made.now, NOW, "now"), (made.chosen, CHOSEN, "proposed")):
        if setting is not None:
            x, y = at(setting.threshold, 0)
            draw.line((x, TOP, x, y), colour, 2)
            draw.text((x + 5, TOP + (4 if name == "now" else 26)), f"{name} {setting.threshold:g}", colour, font)
    for colour, shares in ((HITS, [p.tpr for p in made.curve]), (ALARMS, [p.fpr for p in made.curve])):
        draw.line([at(p.threshold, s) for p, s in zip(made.curve, shares, strict=True)], colour, 3)
    draw.text((LEFT, 12), f"{made.set_id}: flagged at each threshold", INK, font)
    draw.text((LEFT, HEIGHT - 24), "should be flagged", HITS, font)
    draw.text((LEFT + 180, HEIGHT - 24), "should pass", ALARMS, font)
    written = BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def page(made: Calibration, *, show_text: bool) -> str:
    """The whole result as HTML. Texts are left out unless they may be shown."""
    image = b64encode(picture(made)).decode("ascii")
    settings = [("in force", made.now), ("proposed", made.chosen)]
    rows = "".join(
        f"<tr><th>{name}</th><td>{p.threshold:g}</td><td>{p.margin:g}</td><td>{_share(p.hits, p.positives)}</td>"
        f"<td>{_share(p.alarms, p.negatives)}</td></tr>"
        for name, p in settings
        if p is not None
    )
    none = "" if made.chosen else "<p>No threshold has as few false alarms as wanted.</p>"
    margin = (made.chosen or made.now).margin
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Calibration of {escape(made.set_id)}</title>
<style>body{{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}
td,th{{text-align:left;padding:.2em 1em .2em 0}}img{{max-width:100%}}</style>
<h1>Calibration of {escape(made.set_id)}</h1>
<p>{made.entries} entries, at most {made.target_fpr:.2%} false alarms wanted, embedder {escape(made.embedder)}.
The texts that should be flagged are generated from the entries' own, beside those that were given: real requests are
farther away than these.</p>
<table><tr><th></th><th>threshold</th><th>margin</th><th>should be flagged</th><th>should pass</th></tr>{rows}</table>
{none}<p><img alt="share flagged at each threshold" src="data:image/png;base64,{image}"></p>
<h2>Worst misses</h2>{_listed(made.misses, margin, show_text=show_text)}
<h2>Worst false alarms</h2>{_listed(made.alarms, margin, show_text=show_text)}
</html>
"""


def _share(flagged: int, n: int) -> str:
    return f"{flagged} of {n} ({flagged / n:.2%})"


def _listed(texts: Sequence[Scored], margin: float, *, show_text: bool) -> str:
    if not texts:
        return "<p>None.</p>"
    rows = "".join(
        f"<tr><td>{max(text.reach(margin), 0):.3f}</td><td>{escape(text.source)}</td>"
        f"<td>{escape(text.text) if show_text else REDACTED}</td></tr>"
        for text in texts
    )
    return f"<table><tr><th>score</th><th>made by</th><th>text</th></tr>{rows}</table>"
