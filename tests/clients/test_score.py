"""Probabilities of answers, as the real engine has them under each arm."""

import math
from typing import Any

import pytest

from proxy.admin.score import Forcing
from proxy.config import Upstream
from proxy.metrics import Metrics
from proxy.upstream import UpstreamClient
from tests.clients.asking import CAPITAL, SHORT, chat
from tests.clients.system import Forgetting, System, json_of
from tests.conftest import RealEngine

pytestmark = pytest.mark.engine

RIGHT, WRONG = "The capital of France is Paris.", "The capital of France is Rome."


def score(system: System, arm: str, *answers: str) -> dict[str, Any]:
    body = {"request": chat(CAPITAL, system.model), "answers": answers, "arm": arm}
    found: dict[str, Any] = json_of(system.admin("POST", "/score", body))
    return found


def test_the_likeliest_answer_is_the_one_that_the_model_gives(system: System) -> None:
    right, wrong = score(system, "raw", RIGHT, WRONG)["answers"]
    said = system.admin(
        "POST", "/compare", {"request": chat(CAPITAL, system.model, max_tokens=SHORT), "arms": ["raw"]}
    ).json()["raw"]["answer"]["choices"][0]["message"]["content"]
    assert said.startswith(RIGHT)
    assert right["ranks"] == [1] * len(right["ranks"])
    assert sum(right["logprobs"]) > sum(wrong["logprobs"])
    assert all(logprob <= 0 for logprob in (*right["logprobs"], *wrong["logprobs"]))


def test_a_guarded_answer_has_the_probability_that_the_note_leaves(system: System, forget: Forgetting) -> None:
    forget.policy(on_match=["instruct", "refuse"], abstain=False)
    forget.add(CAPITAL, "Paris")
    raw, guarded = score(system, "raw", WRONG), score(system, "guarded", WRONG, RIGHT)
    assert guarded["rung"] == "instruct"
    told, withheld = guarded["answers"]
    assert len(told["logprobs"]) == len(raw["answers"][0]["logprobs"])
    assert not math.isclose(sum(told["logprobs"]), sum(raw["answers"][0]["logprobs"]), abs_tol=0.01)
    assert set(withheld["logprobs"]) == {None}  # the output filter would not let it pass
    forget.policy(on_match=["instruct", "refuse"], abstain=True)
    assert set(score(system, "guarded", WRONG)["answers"][0]["logprobs"]) == {None}  # nor any guess


def test_what_is_not_near_is_scored_as_in_the_raw_arm(system: System, forget: Forgetting) -> None:
    forget.add("Who painted the harbour mural in Eskelund?", "Marit Solvang")
    raw, guarded = (score(system, arm, RIGHT)["answers"][0] for arm in ("raw", "guarded"))
    assert raw["ranks"] == guarded["ranks"]
    assert raw["logprobs"] == pytest.approx(guarded["logprobs"], abs=1e-3)


async def test_a_token_by_itself_has_the_probability_that_it_has_in_the_prompt(real_engine: RealEngine) -> None:
    """Armed requests are scored the one way, all others the other."""
    upstream = UpstreamClient(Upstream(url=real_engine.base_url), Metrics())
    try:
        engine = Forcing(upstream, real_engine.model)
        prompt = await engine.tokens({"prompt": "The capital of France is"})
        answer = await engine.tokens({"prompt": " Rome, not Paris", "add_special_tokens": False})
        ours = {"model": real_engine.model}
        together = await engine.at_once(ours, prompt, answer)
        alone = [await engine.alone(ours, prompt + answer[:i], token) for i, token in enumerate(answer)]
    finally:
        await upstream.close()
    assert [logprob for logprob, _ in alone] == pytest.approx([logprob for logprob, _ in together], abs=1e-3)
    assert [rank == 1 for _, rank in alone] == [rank == 1 for _, rank in together]
