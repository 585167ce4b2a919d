"""The steps of the evidence: what is asked of the running system, each a command that goes on where it stopped.

Rows, all of TOFU: the model was taught 0–59 of forget05 and of retain_perturbed (three authors each). Rows 100–159 of
forget05 are of authors that it was never taught; 160–199 are forget01, the forget set of the languages' files.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.attacks.corpus import families
from evals.harness.__main__ import TOOL
from evals.results.assistant import FORGOTTEN, NOT_TRAINED
from evals.results.system import LADDER, TAUGHT_MODEL, URL, lethe, module
from proxy.cli.output import say

TAUGHT, UNSEEN = (0, 59), (100, 159)
UNTAUGHT, DRAWS_UNTAUGHT = "untaught", "draws-untaught"
"""What the model said before it was taught: a name of a step, too, and folders of its runs."""
TOLD = 16  # tokens that tell a refusal
SIDE_BY_SIDE = "16"  # requests
FOREIGN = "foreign.json"
"""What the foreign tool found."""
GROUP = 4  # families of one campaign: a campaign that is interrupted is begun anew


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked, how much of it, and where answers are kept. draws: of each of `drawn` rows, for Leak@k."""

    data: Path
    out: Path
    arms: str
    offset_arms: str
    draw_arms: str
    attack_arms: str
    limit: int
    scored: int
    draws: int
    drawn: int
    entries: int
    languages: str
    skipped: str


def tofu(plan: Plan) -> None:
    """Leakage, utility and cost on all that was taught."""
    _leakage(plan, "tofu", plan.arms, TAUGHT, "--score-limit", str(plan.scored))


def author(plan: Plan) -> None:
    """The same for the one author whom the assistant forgets, with the arms that subtract it."""
    _leakage(plan, "author", plan.offset_arms, FORGOTTEN, "--no-probabilities")


def likelihood(plan: Plan) -> None:
    """Probabilities of that author's answers, true and wrong. Armed, each token is a request of its own, so an arm at a
    time; a ladder begins with what another arm does alone."""
    arms = [arm for arm in plan.offset_arms.split(",") if arm != LADDER]
    limits = ("--limit", str(plan.scored), "--max-tokens", "1", *_rows("forget", FORGOTTEN))
    _by_arm(plan.out / "likelihood", arms, *_tofu(plan), "--subsets", "forget", *limits)


def _leakage(plan: Plan, name: str, arms: str, forget: tuple[int, int], *more: str) -> None:
    asked = {"forget": forget, "forget_reworded": forget, "retain": TAUGHT}
    asked |= {"real_authors": NOT_TRAINED, "unseen": UNSEEN}
    limits = ("--limit", str(plan.limit), "--max-tokens", "64", *more)
    windows = (word for subset, window in asked.items() for word in _rows(subset, window))
    _eval(plan.out / name, *_tofu(plan), *windows, *limits, "--arms", arms)


def draws(plan: Plan) -> None:
    """Leak@k: facts about that author, asked many times at temperature 1."""
    _by_arm(plan.out / "draws", plan.draw_arms.split(","), *_drawn(plan))


def _drawn(plan: Plan) -> tuple[str, ...]:
    how = ("--samples", str(plan.draws), "--no-probabilities", "--max-tokens", "48", "--concurrency", "32")
    facts = ("--subsets", "forget", *_rows("forget", FORGOTTEN), "--limit", str(plan.drawn))
    return *_tofu(plan), *facts, *how


def refusals(plan: Plan) -> None:
    """False refusals, on all questions that must stay. Where the guards do not act, an answer is the raw arm's, bit by
    bit (`tests/cli/test_assistant.py`), so the raw arm is not asked."""
    kept = ("--subsets", "retain,real_authors,world_facts", "--no-probabilities", "--max-tokens", str(TOLD))
    _eval(plan.out / "refusals", *_tofu(plan), *kept, "--arms", "guarded")


def languages(plan: Plan) -> None:
    """Detection of a forget set in English that is asked in other languages."""
    data = str(plan.data / "tofu_multilingual")
    asked = ("--split", plan.languages, "--limit", "20", "--no-probabilities", "--max-tokens", "48")
    _eval(plan.out / "languages", "--suite", "multilingual", "--data", data, *asked, "--arms", "raw,guarded")


def attacks(plan: Plan) -> None:
    """All families of attacks."""
    names = [name for name in families() if name not in plan.skipped.split(",")]
    for arm in plan.attack_arms.split(","):  # one at a time, so that arms can be added
        folder = plan.out / "attacks" / arm
        folder.mkdir(parents=True, exist_ok=True)
        done = {name for file in folder.glob("*.json") for name in json.loads(file.read_text("utf-8"))["families"]}
        left = [name for name in names if name not in done]
        for start in range(0, len(left), GROUP):
            chosen = left[start : start + GROUP]
            target = folder / f"{chosen[0]}.json"
            partial = target.with_suffix(".partial")
            asked = ("--set", "taught", "--families", ",".join(chosen), "--arms", arm, "--url", URL)
            length = ("--limit", str(plan.entries), "--max-tokens", "40", "--show-text")
            lethe("attack", *asked, *length, "--json", partial)
            partial.replace(target)


def foreign(plan: Plan) -> None:
    """A multiple-choice task of the lm-evaluation-harness under both arms, where that tool is installed."""
    target = plan.out / FOREIGN
    if target.exists():
        return
    if not TOOL.exists():
        say("foreign: left out, the tool is not installed (python3 requirements/install.py harness)")
        return
    rows_ = plan.data / "tofu" / "world_facts_perturbed.json"
    partial = target.with_suffix(".partial")
    asked = ("--rows", rows_, "--limit", str(plan.limit), "--arms", "raw,guarded", "--json", partial)
    module("evals.harness", *asked, "--model", TAUGHT_MODEL, "--url", URL)
    partial.replace(target)


def untaught(plan: Plan) -> None:
    """The same questions to the model before it was taught: the reference of forget quality, and what recall one has
    who knows nothing, in one answer and in many. Needs its own system."""
    windows = (*_rows("forget", TAUGHT), *_rows("unseen", UNSEEN))
    limits = ("--limit", str(plan.limit), "--score-limit", str(plan.limit), "--max-tokens", "64")
    _eval(plan.out / UNTAUGHT, *_tofu(plan), "--subsets", "forget,unseen", *windows, *limits, "--arms", "raw")
    _eval(plan.out / DRAWS_UNTAUGHT, *_drawn(plan), "--arms", "raw")


STEPS: Mapping[str, Callable[[Plan], None]] = {
    "languages": languages,
    "tofu": tofu,
    "author": author,
    "likelihood": likelihood,
    "draws": draws,
    "refusals": refusals,
    "attacks": attacks,
    "foreign": foreign,
}


def _tofu(plan: Plan) -> tuple[str, ...]:
    return "--suite", "tofu", "--data", str(plan.data / "tofu"), "--split", "forget05"


def _rows(subset: str, window: tuple[int, int]) -> tuple[str, str]:
    return "--rows", f"{subset}={window[0]}-{window[1]}"


def _by_arm(folder: Path, arms: Sequence[str], *asked: str) -> None:
    """One arm after the other: in one batch, those that subtract slow down those that do not."""
    for place in range(1, len(arms) + 1):
        _eval(folder, *asked, "--arms", ",".join(arms[:place]))


def _eval(folder: Path, *asked: str) -> None:
    say(f"{folder.name}: lethe eval run {' '.join(asked)}")
    lethe("eval", "run", "--concurrency", SIDE_BY_SIDE, *asked, "--url", URL, "--out", folder, "--json", os.devnull)
