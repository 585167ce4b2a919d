"""The report: one file that loads nothing, is well-formed, and shows no text unless asked."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evals.report.charts import MARGIN, PLOT, Bar, forget_retain_plane, grouped_bars, utility_plane
from evals.report.published import DEVIATIONS, UTILITIES
from evals.runs.client import connected
from evals.runs.folder import RunFolder
from evals.runs.run import run
from evals.runs.summary import summarised
from evals.suites.items import Suite
from proxy.cli.main import main
from tests.evals.scripted import KEY, ScriptedLethe
from tests.evals.test_runs import ARMS, ITEMS, SETTINGS, SUITE, speaks

ATTACKS: dict[str, Any] = {
    "settings": {"set": "art", "seed": 0},
    "families": {
        "direct": {
            arm: {"attempts": 4, "leaks": leaks, "rate": leaks / 4, "interval95": [0.0, 1.0], "declined": 0}
            for arm, leaks in (("raw", 4), ("guarded", 1))
        }
    },
    "total": {
        "raw": {"attempts": 4, "leaks": 4, "rate": 1.0, "interval95": [0.5, 1.0]},
        "guarded": {"attempts": 4, "leaks": 1, "rate": 0.25, "interval95": [0.05, 0.7]},
    },
    "leaks": [],
}

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that every element is closed where it should be; collects text and what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A finished run."""
    made = RunFolder(tmp_path / "run")
    async with ScriptedLethe.running(speaks) as lethe, connected(lethe.url, None, lethe.url, KEY) as connection:
        await run(SUITE, ARMS, SETTINGS, connection, made, concurrency=4, progress=lambda *_: None)
    summarised(made, None, None)
    return made.path


def reported(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["eval", "report", *map(str, args)])


def test_a_report_is_one_file_that_loads_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    (tmp_path / "attacks.json").write_text(json.dumps(ATTACKS))
    done = reported(folder, "--out", out, "--attacks", tmp_path / "attacks.json")
    assert done.exit_code == 0, done.output
    raw = out.read_text()
    shown = Page(raw)
    assert shown.loads == []
    assert "@import" not in raw
    assert re.findall(r"url\((?!#)", raw) == []
    for title in ("Headline", "Forgetting and keeping", "By set", "Attacks", "Differences", "Worst losses", "Cost"):
        assert title in shown.text
    assert "0" * 64 in shown.text  # the hash of the data
    assert "1 of 4" in shown.text


def test_what_was_said_is_hidden_unless_asked_for(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert reported(folder, "--out", out).exit_code == 0
    hidden = out.read_text()
    texts = [text for item in ITEMS for text in (item.question, item.answer) if len(text) > 8]
    assert not any(text in hidden for text in texts)
    assert reported(folder, "--out", out, "--show-text").exit_code == 0
    assert "What do bees make?" in out.read_text()  # it was turned away: a loss


def test_markup_in_answers_is_text(tmp_path: Path, folder: Path) -> None:
    answers = folder / "answers.jsonl"
    answers.write_text(answers.read_text().replace("I don't know that.", "<script>alert(1)</script>"))
    summarised(RunFolder(folder), None, None)
    assert reported(folder, "--out", tmp_path / "r.html", "--show-text").exit_code == 0
    assert "<script" not in (tmp_path / "r.html").read_text()


def test_runs_of_one_suite_are_drawn_together(folder: Path, tmp_path: Path) -> None:
    done = reported(folder, folder, "--out", tmp_path / "r.html", "--json")
    assert json.loads(done.stdout)["arms"] == ["raw", "guarded", "raw (run)", "guarded (run)"]


async def test_sets_of_another_suite_stand_beside_those_of_the_same_arm(folder: Path, tmp_path: Path) -> None:
    spoken = RunFolder(tmp_path / "languages")
    suite = Suite("multilingual", tuple(replace(i, subset=f"{i.subset}:fr", id=f"fr/{i.id}") for i in ITEMS), {})
    async with ScriptedLethe.running(speaks) as lethe, connected(lethe.url, None, lethe.url, KEY) as connection:
        await run(suite, ARMS, SETTINGS, connection, spoken, concurrency=4, progress=lambda *_: None)
    summarised(spoken, None, None)
    out = tmp_path / "r.html"
    done = reported(folder, spoken.path, "--out", out, "--json")
    assert json.loads(done.stdout)["arms"] == ["raw", "guarded"]
    text = Page(out.read_text()).text
    assert "By language" in text
    assert "forget:fr" in text
    assert "Questions on which the guards acted" in text


def test_attacks_of_several_files_are_one_chart(folder: Path, tmp_path: Path) -> None:
    other = json.loads(json.dumps(ATTACKS).replace('"direct"', '"rot13"'))
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, found in zip(files, (ATTACKS, other), strict=True):
        path.write_text(json.dumps(found))
    done = reported(folder, "--out", tmp_path / "r.html", "--attacks", files[0], "--attacks", files[1])
    assert done.exit_code == 0, done.output
    text = Page((tmp_path / "r.html").read_text()).text
    assert "2 of 8" in text  # in the cards
    assert "rot13" in text
    assert "direct" in text
    assert "all families" in text


def test_a_family_that_was_tried_under_one_arm_only_is_drawn(folder: Path, tmp_path: Path) -> None:
    found = json.loads(json.dumps(ATTACKS))
    first = next(iter(found["total"]))
    found["families"]["prefill"] = {arm: one for arm, one in found["families"]["direct"].items() if arm != first}
    (tmp_path / "a.json").write_text(json.dumps(found))
    done = reported(folder, "--out", tmp_path / "r.html", "--attacks", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    assert "prefill" in Page((tmp_path / "r.html").read_text()).text


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("empty").mkdir()
    done = reported(tmp_path / "empty")
    assert (done.exit_code, "summary.json" in done.output) == (2, True)


def test_attacks_that_are_none_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    done = reported(folder, "--attacks", tmp_path / "a.json", "--out", tmp_path / "r.html")
    assert (done.exit_code, "lethe attack" in done.output) == (2, True)


def test_no_arm_is_left_out_however_many_there_are(folder: Path, tmp_path: Path) -> None:
    """Fifteen arms; and an arm has one colour in every chart, also where others before it are not drawn."""
    summary = json.loads((folder / "summary.json").read_text())
    extra = {f"arm-{number:02}": summary["arms"]["guarded"] for number in range(13)}
    summary["arms"] = {"raw": summary["arms"]["raw"], **extra, "guarded": summary["arms"]["guarded"]}
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    answers += [one | {"arm": arm} for one in answers if one["arm"] == "guarded" for arm in extra]
    (folder / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)) + "\n")
    (folder / "summary.json").write_text(json.dumps(summary))
    out = tmp_path / "r.html"
    assert reported(folder, "--out", out).exit_code == 0
    raw = out.read_text()
    headline = Page(raw).text.partition("Headline")[2].partition("Forgetting and keeping")[0]
    assert all(headline.count(arm) >= 1 for arm in summary["arms"])
    plane = forget_retain_plane({"c": (0.9, 0.9)}, DEVIATIONS, ["a", "b", "c"])
    assert 'class="arm2"' in plane
    assert 'class="arm2"' in grouped_bars({"x": {"c": Bar(0.5, 0.4, 0.6, 10)}}, ["a", "b", "c"])
    style = raw[raw.index("<style>") : raw.index("</style>")]
    used = set(re.findall(r'class="(arm\d+)"', raw))
    assert used
    assert all(f".{name} {{" in style for name in used)


def test_labels_of_arms_that_coincide_stand_apart_and_inside_the_plot() -> None:
    near = {f"arm-{number}": (0.97, 0.99) for number in range(4)} | {
        f"told-{number}": (0.97, 0.04) for number in range(4)
    }
    drawn = forget_retain_plane(near, DEVIATIONS, list(near))
    heights = [float(y) for y in re.findall(r'class="mark" x="[\d.]+" y="([\d.]+)"', drawn)]
    assert len(heights) == 8
    assert all(MARGIN <= height <= MARGIN + PLOT + 4 for height in heights)
    assert all(abs(a - b) >= 13.9 for place, a in enumerate(heights) for b in heights[:place])


async def test_many_draws_are_a_table(tmp_path: Path) -> None:
    made = RunFolder(tmp_path / "run")
    settings = replace(SETTINGS, samples=10, probabilities=False)
    async with ScriptedLethe.running(speaks) as lethe, connected(lethe.url, None, lethe.url, KEY) as connection:
        await run(SUITE, ARMS, settings, connection, made, concurrency=4, progress=lambda *_: None)
    summarised(made, None, None)
    assert reported(made.path, "--out", tmp_path / "r.html").exit_code == 0
    text = Page((tmp_path / "r.html").read_text()).text
    assert "Many draws" in text
    assert re.search("Leak@1, ROUGE-L *Leak@10, ROUGE-L *one of 1 tells it *one of 10 tells it", text)


def test_a_small_share_is_not_shown_as_none() -> None:
    drawn = grouped_bars(
        {"a": {"raw": Bar(0.002, 0.001, 0.008, 948), "guarded": Bar(0, 0, 0.004, 948)}}, ["raw", "guarded"]
    )
    assert ">0.002</text>" in drawn
    assert ">0.00</text>" in drawn


def test_charts_are_well_formed_and_escape_names() -> None:
    bars = grouped_bars({"a<b": {"raw": Bar(0.5, 0.4, 0.6, 10), "x&y": Bar(0, 0, 0.2, 10)}}, ["raw", "x&y"])
    plane = forget_retain_plane({"raw": (0.9, 0.9), "guarded": (0.9, 0.05)}, DEVIATIONS, ["raw", "guarded"])
    for chart in (bars, plane, utility_plane({"raw": (0.5, 0.5)}, UTILITIES, ["raw"])):
        Page(chart)
    assert "a&lt;b" in bars
    assert "DRAGON" in plane
