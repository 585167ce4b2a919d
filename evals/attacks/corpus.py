"""The corpus: every family for every target, the same for the same seed."""

import random
from collections.abc import Collection, Sequence

from evals.attacks.phrasings import Make, Surroundings, phrasings
from evals.attacks.request import Attack
from evals.attacks.surface import surface
from evals.attacks.targets import Target


def families() -> dict[str, Make]:
    """All families by name: wordings first, then fields and routes."""
    return phrasings() | surface()


def corpus(targets: Sequence[Target], chosen: Collection[str], seed: int) -> list[Attack]:
    """Attacks on all targets, family by family. A family that does not apply to a target has none for it."""
    around = Surroundings(targets)
    return [
        attack
        for name, make in families().items()
        if name in chosen
        for target in targets
        for attack in make(target, around, random.Random(f"{seed}:{name}:{target.id}"))  # noqa: S311 - test data
    ]
