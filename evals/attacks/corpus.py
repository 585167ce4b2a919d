"""The corpus: every family for every target, the same for the same seed."""

import random
from collections.abc import Collection, Sequence
from dataclasses import replace

from evals.attacks.judge import judgeable
from evals.attacks.phrasings import Make, Surroundings, phrasings
from evals.attacks.request import Attack
from evals.attacks.surface import surface
from evals.attacks.targets import Target


def families() -> dict[str, Make]:
    """All families by name: wordings first, then fields and routes."""
    return phrasings() | surface()


def corpus(targets: Sequence[Target], chosen: Collection[str], seed: int) -> list[Attack]:
    """Attacks on all targets, family by family.

    A family that does not apply to a target has none for it: nor has one whose prompt says all that is sought, since
    no answer to it could be judged.
    """
    around = Surroundings(targets)
    return [
        attack
        for name, make in families().items()
        if name in chosen
        for target in targets
        for attack in make(target, around, random.Random(f"{seed}:{name}:{target.id}"))  # noqa: S311 - test data
        if attack.choice is not None or judgeable(sought_of(attack, target), attack.shown)
    ]


def sought_of(attack: Attack, target: Target) -> Target:
    """What an attack seeks: the target's answer, or the name that a fact belongs to."""
    return replace(target, question="", answer=attack.sought) if attack.sought else target
