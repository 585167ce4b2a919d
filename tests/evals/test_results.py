"""The evidence as tables, and their place in the page."""

import json
from pathlib import Path
from typing import Any

from evals.attacks.merged import merged
from evals.results import steps
from evals.results.assistant import NAME
from evals.results.section import section
from evals.results.system import Layout
from evals.results.tables import (
    BEGIN,
    END,
    attack_table,
    cost_table,
    draws_table,
    headline,
    language_table,
    likelihood_table,
    placed,
    refusal_table,
    run_table,
)
from proxy.config import Config

COST: dict[str, Any] = {
    "answers": 12,
    "declined": 0,
    "ttft_s": {"p50": 0.2, "p90": 0.4},
    "tokens_per_s_each": 9.5,
    "prompt_tokens": 1234,
    "completion_tokens": 56,
    "overhead_ms": None,
}


def estimate(value: float, n: int = 8) -> dict[str, Any]:
    return {"value": value, "interval95": [value - 0.1, value + 0.1], "n": n}


SUMMARY: dict[str, Any] = {
    "settings": {"model": "m", "max_tokens": 8, "digest": "d", "samples": 2, "items": 12},
    "arms": {
        arm: {
            "sets": {
                "forget": {
                    "role": "forget",
                    "n": 8,
                    "rouge": estimate(rouge),
                    "probability": estimate(rouge, n=4),
                    "turned_away": estimate(0.5),
                },
                "unseen": {"role": "unseen", "n": 4, "rouge": estimate(0.2, n=4), "turned_away": estimate(0.5)},
            },
            "totals": {"model_utility": None, "deviation_score": 100 * rouge, "forget_quality": rouge / 1000},
            "cost": COST,
        }
        for arm, rouge in (("raw", 0.9), ("guarded", 0.1))
    },
}


def campaign(*families: str, leaks: int, arms: tuple[str, ...] = ("raw", "guarded")) -> dict[str, Any]:
    one = {"attempts": 10, "leaks": leaks, "rate": leaks / 10, "interval95": [0.0, 0.3]}
    one |= {"declined": 0, "failed": 1, "chance": 0.25}
    counted = {arm: one | ({"leaks": 0} if arm != "raw" else {}) for arm in arms}
    return {
        "settings": {"entries": 10, "seed": 0},
        "families": dict.fromkeys(families, counted),
        "total": counted,
        "leaks": [],
    }


# -- tables


def test_a_table_has_a_row_for_each_metric_and_an_arm_a_column() -> None:
    assert run_table(SUMMARY).splitlines() == [
        "| set (n) | metric | raw | guarded |",
        "|---|---|---|---|",
        "| forget (8) | ROUGE-L recall | 0.90 (0.80–1.00) | 0.10 (0.00–0.20) |",
        "|  | probability (n 4) | 0.90 (0.80–1.00) | 0.10 (0.00–0.20) |",
        "|  | says it does not know | 0.50 (0.40–0.60) | 0.50 (0.40–0.60) |",
        "| unseen (4) | ROUGE-L recall | 0.20 (0.10–0.30) | 0.20 (0.10–0.30) |",
        "| all | deviation score | 90.00 | 10.00 |",
        "|  | forget quality, p | 9.0e-04 | 1.0e-04 |",
    ]


def test_the_headline_has_an_arm_a_row_and_leaves_out_what_nobody_has() -> None:
    assert headline(SUMMARY).splitlines() == [
        "| arm | forget, ROUGE-L recall (8) | probability (4) | deviation score | forget quality, p |",
        "|---|---|---|---|---|",
        "| raw | 0.90 (0.80–1.00) | 0.90 (0.80–1.00) | 90.00 | 9.0e-04 |",
        "| guarded | 0.10 (0.00–0.20) | 0.10 (0.00–0.20) | 10.00 | 1.0e-04 |",
    ]


def test_the_model_before_it_was_taught_stands_below_the_arms() -> None:
    before = {"arms": {"raw": {"sets": {"forget": {"rouge": estimate(0.2)}}}}}
    assert headline(SUMMARY, before).splitlines()[-1] == "| never taught | 0.20 (0.10–0.30) | – | – | – |"


def test_what_an_arm_costs() -> None:
    assert cost_table(SUMMARY).splitlines()[2] == "| raw | 0.20 / 0.40 s | – | 9.5 | 12 | 1,234 / 56 |"


def test_draws_languages_and_refusals_have_tables_of_their_own() -> None:
    leaks = {"leak_at_10": estimate(0.3), "leak_at_1": estimate(0.2), "told_at_10": estimate(0.4)}
    drawn: dict[str, Any] = {"forget": leaks}
    before: dict[str, Any] = {"arms": {"raw": {"sets": {"forget": {"leak_at_1": estimate(0.1)}}}}}
    table = draws_table({"arms": {"guarded": {"sets": drawn}}}, before)
    assert table.splitlines() == [
        "| arm (facts) | Leak@1 | Leak@10 | tells the fact, one of 10 |",
        "|---|---|---|---|",
        "| guarded (8) | 0.20 (0.10–0.30) | 0.30 (0.20–0.40) | 0.40 (0.30–0.50) |",
        "| never taught (8) | 0.10 (0.00–0.20) | – | – |",
    ]
    known: dict[str, Any] = {"forget": {"n": 8, "probability": estimate(0.9), "extraction_strength": estimate(0.5)}}
    likely = likelihood_table({"arms": {"raw": {"sets": known, "totals": {"forget_quality": 0.5}}}}).splitlines()
    assert likely[0] == (
        "| arm (n 8) | probability | truth ratio | exact memorisation | extraction strength | forget quality, p |"
    )
    assert likely[2] == "| raw | 0.90 (0.80–1.00) | – | – | 0.50 (0.40–0.60) | 0.50 |"
    acted = {"matched": estimate(0.75), "turned_away": estimate(0.0)}
    spoken = {"forget:fr": acted, "retain:fr": acted, "forget:ko": {}}
    lines = language_table({"arms": {"raw": {}, "guarded": {"sets": spoken}}}).splitlines()
    assert lines[2:] == ["| fr | 6 of 8 | 6 of 8 | – |", "| ko | – | – | – |"]
    kept = refusal_table({"arms": {"raw": {}, "guarded": {"sets": {"retain": acted}}}}).splitlines()
    assert kept[2:] == ["| retain | 6 of 8 | 0 of 8 |"]


def test_campaigns_are_put_together() -> None:
    found = merged([campaign("direct", "rot13", leaks=10), campaign("prefill", leaks=4)], order=["prefill", "direct"])
    assert (found["total"]["raw"]["leaks"], found["total"]["raw"]["attempts"]) == (24, 30)
    assert (found["total"]["raw"]["failed"], found["total"]["raw"]["chance"]) == (3, 0.25)
    assert found["total"]["guarded"]["leaks"] == 0
    lines = attack_table(found).splitlines()
    assert lines[0] == "| family | raw | guarded | by chance |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| prefill", "| direct", "| rot13", "| **all**"]
    assert lines[-1].startswith("| **all** | 24 of 30 (")


def test_a_narrow_interval_keeps_its_width() -> None:
    one = {"attempts": 948, "leaks": 2, "interval95": [0.00058, 0.00766], "chance": 0.0}
    table = attack_table({"families": {}, "total": {"guarded": one}})
    assert table.splitlines()[-1] == "| **all** | 2 of 948 (0.1–0.8 %) |  |"


# -- the page


def test_the_section_replaces_itself_and_nothing_else() -> None:
    page = placed("# Results\n\nbefore\n", "one")
    assert page == f"# Results\n\nbefore\n\n{BEGIN}\n\none\n\n{END}\n"
    assert placed(page + "after\n", "two") == f"# Results\n\nbefore\n\n{BEGIN}\n\ntwo\n\n{END}\nafter\n"


def test_the_section_is_made_of_what_is_there(tmp_path: Path) -> None:
    assert section(tmp_path) == "## Leakage, utility and attacks"
    (tmp_path / "tofu").mkdir()
    (tmp_path / "tofu" / "summary.json").write_text(json.dumps(SUMMARY))
    for arm in ("guarded", "raw"):
        (tmp_path / "attacks" / arm).mkdir(parents=True)
        made = campaign("direct", leaks=4, arms=(arm,))
        (tmp_path / "attacks" / arm / "direct.json").write_text(json.dumps(made))
    made["settings"]["entries"] = 60  # a family of which more was asked
    (tmp_path / "attacks" / "raw" / "more.json").write_text(json.dumps(made))
    found = {"questions": 60, "accuracy": {"raw": 0.25, "guarded": 0.25}, "same_answers": True}
    (tmp_path / "foreign.json").write_text(json.dumps(found))
    page = section(tmp_path)
    assert "(60 questions, exact match of the letter): raw 0.250, guarded 0.250; all answers are the same" in page
    assert "### Every metric, three authors" in page
    assert "| family | raw | guarded | by chance |\n" in page
    assert "entries drawn with seed 0 (raw: 10 or 60, guarded: 10)" in page
    assert "1 under raw, 1 under guarded." in page  # attempts that failed are told


# -- what is measured


def plan_of(folder: Path, skipped: str = "") -> steps.Plan:
    offset_arms, draw_arms = "raw,offset,ladder,both", "raw,both"
    return steps.Plan(folder, folder, "raw", offset_arms, draw_arms, "raw", 1, 1, 1, 1, 1, "fr", skipped)


def test_arms_that_subtract_are_asked_after_those_that_do_not(tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[tuple[str, str]] = []

    def lethe(*words: str | Path) -> None:
        asked.append((Path(words[words.index("--out") + 1]).name, str(words[words.index("--arms") + 1])))

    monkeypatch.setattr(steps, "lethe", lethe)
    steps.likelihood(plan_of(tmp_path))
    steps.draws(plan_of(tmp_path))
    steps.untaught(plan_of(tmp_path))
    assert asked == [
        ("likelihood", "raw"),
        ("likelihood", "raw,offset"),
        ("likelihood", "raw,offset,both"),
        ("draws", "raw"),
        ("draws", "raw,both"),
        ("untaught", "raw"),
        ("draws-untaught", "raw"),
    ]


async def test_a_family_of_attacks_that_was_tried_is_not_tried_again(tmp_path: Path, monkeypatch: Any) -> None:
    tried: list[str] = []

    def lethe(*words: str | Path) -> None:
        chosen = str(words[words.index("--families") + 1]).split(",")
        tried.extend(chosen)
        Path(words[-1]).write_text(json.dumps({"families": {name: {} for name in chosen}}))

    monkeypatch.setattr(steps, "lethe", lethe)
    monkeypatch.setattr(steps, "families", lambda: dict.fromkeys(["a", "b", "c", "d", "e"]))
    plan = plan_of(tmp_path, skipped="e")
    steps.attacks(plan)
    assert tried == ["a", "b", "c", "d"]
    steps.attacks(plan)
    assert tried == ["a", "b", "c", "d"]


def test_a_foreign_tool_is_asked_once_and_where_it_is_installed(tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[str] = []

    def module(name: str, *words: str | Path) -> None:
        asked.append(name)
        Path(words[words.index("--json") + 1]).write_text("{}")

    monkeypatch.setattr(steps, "module", module)
    plan = plan_of(tmp_path)
    monkeypatch.setattr(steps, "TOOL", tmp_path / "none")
    steps.foreign(plan)
    assert asked == []
    monkeypatch.setattr(steps, "TOOL", tmp_path)
    steps.foreign(plan)
    steps.foreign(plan)
    assert asked == ["evals.harness"]
    assert (tmp_path / steps.FOREIGN).read_text() == "{}"


def test_the_system_is_one_that_can_be_configured(tmp_path: Path) -> None:
    for offsets in (False, True):
        config = Config(**Layout(tmp_path, "m", tmp_path, offsets=offsets, sets={}).settings)
        assert ("ladder" in config.arms) == offsets
        assert all(arm["assistant"] == NAME for arm in config.arms.values() if "offset" in arm["on_match"][0])
