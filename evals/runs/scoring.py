"""Probabilities of given answers under each arm, taken in the evaluator's role from the admin API.

Clients never get them: `POST /admin/v1/score` needs an admin key and is not on the client port. It answers with the
distribution that the arm really has: after the arm's own note or offset, nothing where the request is refused or the
output filter would withhold the answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.runs.client import Admin, request_of
from evals.suites.items import Item, Role, Task

ANSWER, PARAPHRASE, WRONG = "answer", "paraphrase", "wrong"


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer: log-probability of each token and whether it was the likeliest one there. A token that cannot come
    has −∞."""

    logprobs: tuple[float, ...]
    hits: tuple[bool, ...]

    @classmethod
    def parse(cls, reply: dict[str, Any]) -> "Scored":
        logs = tuple(-math.inf if value is None else float(value) for value in reply["logprobs"])
        return cls(logs, tuple(rank == 1 for rank in reply["ranks"]))


def wanted(item: Item) -> list[tuple[str, str]]:
    """Which answers of an item are scored, with what each is for; none for an item that is put otherwise."""
    if item.task is not Task.ANSWER or item.subset.endswith("_reworded"):
        return []
    found = [(ANSWER, item.answer)]
    if item.role is Role.UNSEEN:
        return found
    if item.paraphrase:
        found.append((PARAPHRASE, item.paraphrase))
    return found + [(WRONG, answer) for answer in item.wrong]


async def scored(admin: Admin, item: Item, model: str, arm: str) -> dict[str, Any]:
    """The record of one item under one arm. Raises RunError."""
    _, request = request_of(item, model, max_tokens=1, temperature=0, seed=0)
    purposes = wanted(item)
    reply = await admin.call(
        "POST", "/score", {"request": request, "arm": arm, "answers": [text for _, text in purposes]}
    )
    answers = [{"of": purpose, **one} for (purpose, _), one in zip(purposes, reply["answers"], strict=True)]
    return {"item": item.id, "rung": reply["rung"], "answers": answers}


def of_purpose(record: dict[str, Any], purpose: str) -> Sequence[Scored]:
    """The scored answers of a record that were asked for one purpose."""
    return [Scored.parse(one) for one in record["answers"] if one["of"] == purpose]
