"""The evidence as tables, and their place in the page."""

from typing import Any

from evals.results.tables import BEGIN, END, attack_table, merged, placed, run_table


def estimate(value: float) -> dict[str, Any]:
    return {"value": value, "interval95": [value - 0.1, value + 0.1], "n": 8}


SUMMARY: dict[str, Any] = {
    "arms": {
        arm: {
            "sets": {
                "forget": {"role": "forget", "n": 8, "rouge": estimate(rouge), "turned_away": estimate(0.5)},
                "unseen": {"role": "unseen", "n": 4, "rouge": estimate(0.2), "turned_away": estimate(0.5)},
            },
            "totals": {"model_utility": None, "deviation_score": 100 * rouge},
        }
        for arm, rouge in (("raw", 0.9), ("guarded", 0.1))
    }
}


def campaign(*families: str, leaks: int) -> dict[str, Any]:
    one = {"attempts": 10, "leaks": leaks, "rate": leaks / 10, "interval95": [0.0, 0.3]}
    return {
        "settings": {"entries": 10, "seed": 0},
        "families": {family: {"raw": one, "guarded": one | {"leaks": 0}} for family in families},
        "total": {"raw": one, "guarded": one},
        "leaks": [],
    }


def test_a_table_has_a_row_for_each_metric_and_an_arm_a_column() -> None:
    assert run_table(SUMMARY).splitlines() == [
        "| set (n) | metric | raw | guarded |",
        "|---|---|---|---|",
        "| forget (8) | ROUGE-L recall | 0.90 (0.80–1.00) | 0.10 (0.00–0.20) |",
        "|  | says it does not know | 0.50 (0.40–0.60) | 0.50 (0.40–0.60) |",
        "| unseen (4) | ROUGE-L recall | 0.20 (0.10–0.30) | 0.20 (0.10–0.30) |",
        "| all | deviation score | 90.00 | 10.00 |",
    ]


def test_campaigns_are_put_together() -> None:
    found = merged([campaign("direct", "rot13", leaks=10), campaign("prefill", leaks=4)])
    assert (found["total"]["raw"]["leaks"], found["total"]["raw"]["attempts"]) == (24, 30)
    assert found["total"]["guarded"]["leaks"] == 0
    lines = attack_table(found).splitlines()
    assert lines[0] == "| family | raw | guarded |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| direct", "| rot13", "| prefill", "| **all**"]
    assert lines[-1].startswith("| **all** | 24 of 30 (")


def test_the_section_replaces_itself_and_nothing_else() -> None:
    page = placed("# Results\n\nbefore\n", "one")
    assert page == f"# Results\n\nbefore\n\n{BEGIN}\n\none\n\n{END}\n"
    assert placed(page + "after\n", "two") == f"# Results\n\nbefore\n\n{BEGIN}\n\ntwo\n\n{END}\nafter\n"
