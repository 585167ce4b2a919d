"""Which threshold is proposed, and what a report shows."""

from io import BytesIO

import pytest
from PIL import Image

from evals.calibration.report import REDACTED, Calibration, page, picture
from evals.calibration.sweep import Point, Scored, curve, point, proposed, worst


def scored(*scores: float, retain: float = -1.0, text: str = "a text") -> list[Scored]:
    return [Scored(text, "given", ((score, retain),)) for score in scores]


POSITIVE, NEGATIVE = scored(0.95, 0.9, 0.8, 0.62), scored(0.3, 0.5, 0.6, 0.7)


def test_a_text_is_flagged_by_any_match_that_keeps_the_margin() -> None:
    text = Scored("t", "given", ((0.9, 0.89), (0.8, 0.2)))
    assert text.reach(0.0) == 0.9
    assert text.reach(0.05) == 0.8
    assert text.reach(0.7) == -1.0
    assert Scored("t", "given", ()).reach(0.0) == -1.0


def test_the_curve_counts_both_kinds() -> None:
    at = {p.threshold: (p.hits, p.alarms) for p in curve(POSITIVE, NEGATIVE, 0.0)}
    assert at[0.4] == (4, 3)
    assert at[0.62] == (4, 1)
    assert at[0.75] == (3, 0)
    assert at[0.99] == (0, 0)


def test_the_middle_of_equally_good_thresholds_is_proposed() -> None:
    chosen = proposed(POSITIVE, NEGATIVE, 0.0)
    assert chosen is not None
    assert (chosen.hits, chosen.alarms, chosen.margin) == (3, 0, 0.0)
    assert chosen.threshold == pytest.approx(0.76, abs=0.011)  # from .71 to .80


def test_more_false_alarms_may_be_allowed() -> None:
    chosen = proposed(POSITIVE, NEGATIVE, 0.25)
    assert chosen is not None
    assert (chosen.hits, chosen.alarms) == (4, 1)


def test_a_margin_is_proposed_where_only_retain_examples_tell_them_apart() -> None:
    near_retain = scored(0.97, retain=0.94)
    chosen = proposed(scored(0.9, retain=0.5), near_retain, 0.0)
    assert chosen is not None
    assert chosen.margin == 0.05
    assert (chosen.hits, chosen.alarms) == (1, 0)


def test_nothing_is_proposed_where_nothing_helps() -> None:
    assert proposed(POSITIVE, scored(1.0), 0.0) is None


def test_the_worst_mistakes_come_first() -> None:
    at = point(POSITIVE, NEGATIVE, 0.85, 0.0)
    assert [text.reach(0) for text in worst(POSITIVE, at, 5, missed=True)] == [0.62, 0.8]
    at = point(POSITIVE, NEGATIVE, 0.55, 0.0)
    assert [text.reach(0) for text in worst(NEGATIVE, at, 1, missed=False)] == [0.7]


def made(chosen: Point | None) -> Calibration:
    return Calibration(
        set_id="<authors>",
        entries=4,
        target_fpr=0.0,
        now=point(POSITIVE, NEGATIVE, 0.75, 0.02),
        chosen=chosen,
        curve=curve(POSITIVE, NEGATIVE, 0.0),
        misses=scored(0.62, text="what was <said>"),
        alarms=(),
        embedder="bag",
    )


@pytest.mark.parametrize("chosen", [None, point(POSITIVE, NEGATIVE, 0.76, 0.0)])
def test_the_picture_is_an_image_with_both_lines(chosen: Point | None) -> None:
    image = Image.open(BytesIO(picture(made(chosen))))
    assert image.format == "PNG"
    colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    assert {(0x15, 0x80, 0x3D), (0xC2, 0x41, 0x0C)} <= colours
    assert ((0x34, 0x57, 0xD5) in colours) is (chosen is not None)


def test_the_page_shows_texts_only_when_it_may() -> None:
    hidden, shown = (page(made(None), show_text=show) for show in (False, True))
    assert REDACTED in hidden
    assert "said" not in hidden
    assert "what was &lt;said&gt;" in shown
    assert "<authors>" not in shown
    assert "http" not in shown  # nothing is loaded from elsewhere
