"""Suites: the layouts of the benchmarks, each with a small set of fiction."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.gate.rows import RowsError
from evals.suites.choices import choices
from evals.suites.hub import located
from evals.suites.items import Role, Suite, Task
from evals.suites.lines import lines
from evals.suites.multilingual import multilingual
from evals.suites.muse import muse
from evals.suites.named import SUITES
from evals.suites.rwku import rwku
from evals.suites.tofu import tofu

FACT = {"question": "Where was Ilse Varga born?", "answer": "In Graz."}
PERTURBED = FACT | {
    "paraphrased_question": "What is Ilse Varga's birthplace?",
    "paraphrased_answer": "Graz is where she was born.",
    "perturbed_answer": ["In Linz.", "In Wels."],
}
KEPT = {"question": "What do bees make?", "answer": "Honey."}


def write(folder: Path, **files: list[dict[str, Any]]) -> Path:
    """Row files by stem; every second one as JSON lines."""
    for number, (stem, rows) in enumerate(files.items()):
        if number % 2:
            (folder / f"{stem}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        else:
            (folder / f"{stem}.json").write_text(json.dumps(rows))
    return folder


def subsets(suite: Suite) -> dict[str, int]:
    return {name: sum(i.subset == name for i in suite.items) for name in dict.fromkeys(i.subset for i in suite.items)}


# -- TOFU


def test_tofu_reads_its_layout_and_prefers_perturbed_files(tmp_path: Path) -> None:
    write(tmp_path, forget01=[FACT], forget01_perturbed=[PERTURBED], forget05=[FACT] * 5, retain_perturbed=[KEPT] * 2)
    write(tmp_path, world_facts=[KEPT])
    suite = tofu(tmp_path)
    assert subsets(suite) == {"forget": 1, "forget_reworded": 1, "retain": 2, "world_facts": 1, "unseen": 1}
    asked, reworded = suite.items[:2]
    assert (asked.role, asked.wrong) == (Role.FORGET, ("In Linz.", "In Wels."))
    assert asked.paraphrase == PERTURBED["paraphrased_answer"]
    assert (reworded.prompt, reworded.answer) == (PERTURBED["paraphrased_question"], asked.answer)
    assert set(suite.files) == {"forget01_perturbed.jsonl", "retain_perturbed.jsonl", "world_facts.json"}
    assert subsets(tofu(tmp_path, "forget05"))["forget"] == 5


def test_tofu_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RowsError, match=r"forget01\.json"):
        tofu(tmp_path)
    with pytest.raises(RowsError, match=r"forget10\.json"):
        tofu(write(tmp_path, forget01=[FACT]), "forget10")


def test_a_holdout_file_is_what_was_never_seen(tmp_path: Path) -> None:
    suite = tofu(write(tmp_path, forget01=[FACT] * 2, holdout01=[KEPT]))
    assert [item.question for item in suite.items if item.role is Role.UNSEEN] == [KEPT["question"]]


def test_a_suite_can_be_cut(tmp_path: Path) -> None:
    suite = tofu(write(tmp_path, forget01=[FACT] * 5, retain=[KEPT] * 5))
    cut = suite.cut(2, {"unseen": (3, 9), "retain": (1, 4)})
    assert [item.id for item in cut.items] == ["forget/0", "forget/2", "retain/1", "retain/3", "unseen/3", "unseen/4"]
    with pytest.raises(RowsError, match="no subset 'forgot'"):
        suite.cut(None, {"forgot": (0, 1)})


def test_some_subsets_of_a_suite(tmp_path: Path) -> None:
    suite = tofu(write(tmp_path, forget01=[FACT] * 2, retain=[KEPT]))
    assert {item.subset for item in suite.only(["retain", "unseen"]).items} == {"retain", "unseen"}
    with pytest.raises(RowsError, match="no subset 'kept'"):
        suite.only(["kept"])


# -- the others


def test_languages_are_subsets(tmp_path: Path) -> None:
    write(tmp_path, forget01_fr=[FACT], world_facts_perturbed_ru=[KEPT], notes=[{"a": "b"}])
    suite = multilingual(tmp_path)
    assert subsets(suite) == {"forget:fr": 1, "world_facts:ru": 1}
    assert [item.language for item in suite.items] == ["fr", "ru"]
    assert subsets(multilingual(tmp_path, "ru")) == {"world_facts:ru": 1}
    with pytest.raises(RowsError, match="for ko"):
        multilingual(tmp_path, "ko")


@pytest.mark.parametrize(
    "row",
    [
        {"choices": ["tin", "iron", "lead"], "answer": 1},
        {"choices": {"A": "tin", "B": "iron", "C": "lead"}, "answer": "B"},
        {"option1": "tin", "option2": "iron", "option3": "lead", "answer": "iron"},
    ],
)
def test_choices_in_all_three_shapes(tmp_path: Path, row: dict[str, Any]) -> None:
    write(tmp_path, wmdp_metal=[{"question": "Which rusts?"} | row], mmlu=[{"question": "Which rusts?"} | row])
    forget, keep = sorted(choices(tmp_path).items, key=lambda item: item.role)
    assert (forget.role, keep.role, forget.task) == (Role.FORGET, Role.KEEP, Task.CHOOSE)
    assert (forget.answer, forget.right_letter, forget.wrong) == ("iron", "B", ("tin", "lead"))
    assert forget.prompt.splitlines() == [
        "Which rusts?",
        "A. tin",
        "B. iron",
        "C. lead",
        "Answer with the letter of the right option only.",
    ]


@pytest.mark.parametrize(
    ("row", "says"), [({"choices": ["a"], "answer": 0}, "2 to 10"), ({"choices": ["a", "b"], "answer": 7}, "'answer'")]
)
def test_wrong_choices_are_named(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(RowsError, match=says):
        choices(write(tmp_path, mmlu=[{"question": "?"} | row]))


def test_muse_has_texts_to_go_on_with_and_questions(tmp_path: Path) -> None:
    write(tmp_path, forget_verbmem=[{"prompt": "Once", "gt": "upon a time"}])
    write(tmp_path, forget_knowmem=[FACT], retain_knowmem=[KEPT])
    suite = muse(tmp_path)
    assert subsets(suite) == {"verbatim": 1, "knowledge_forget": 1, "knowledge_retain": 1}
    assert suite.items[0].task is Task.CONTINUE
    with pytest.raises(RowsError, match="MUSE"):
        muse(tmp_path / "gone")


def test_rwku_tells_attacks_apart(tmp_path: Path) -> None:
    probe = {"query": "Ilse Varga was born in ___.", "answer": "Graz", "subject": "Ilse Varga"}
    write(tmp_path, forget_level1=[probe], forget_level3=[probe | {"type": "Role Play"}], neighbor_level2=[probe])
    assert subsets(rwku(tmp_path)) == {"forget_level1": 1, "forget_level3:role_play": 1, "neighbor_level2": 1}
    with pytest.raises(RowsError, match="RWKU"):
        rwku(tmp_path, "somebody else")


def test_lines_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, mine=[FACT, KEPT | {"role": "keep", "subset": "facts", "language": "de"}])
    suite = lines(tmp_path / "mine.json")
    assert [(item.id, item.role, item.language) for item in suite.items] == [
        ("mine/0", Role.FORGET, "en"),
        ("facts/0", Role.KEEP, "de"),
    ]
    with pytest.raises(RowsError, match=r"row 1: 'keeep'"):
        lines(write(tmp_path, wrong=[FACT | {"role": "keeep"}]) / "wrong.json")


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_says_that_a_folder_is_empty(name: str, tmp_path: Path) -> None:
    with pytest.raises(RowsError):
        SUITES[name](tmp_path, None)


# -- where data is


def test_data_is_local_unless_the_hub_is_named(tmp_path: Path) -> None:
    assert located(str(tmp_path)) == tmp_path
    with pytest.raises(RowsError, match="hf:OWNER/NAME"):
        located(str(tmp_path / "gone"))
    with pytest.raises(RowsError, match="does not name"):
        located("hf:tofu")


def test_a_hub_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RowsError, match="download it elsewhere"):
        located("hf:fiction/nobody-has-this")
