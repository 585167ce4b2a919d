"""Which policies are in force, and the guards that they make of a generation's sets."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from guards.chain import Chain
from guards.policy import Policy
from indexes.entries import ForgetSet
from indexes.generation import Generation
from indexes.ledger.records import Missing

Arms = Mapping[str, Mapping[str, Any]]
"""Policy changes by the name of an arm; they win over those of a set."""

NO_ARMS: Arms = MappingProxyType({})


class Policies:
    """The global policy and the arms. Replaced as a whole when the configuration is read again."""

    def __init__(self, default: Policy, arms: Arms) -> None:
        self.default = default
        self.arms = arms
        self._chains: dict[str, tuple[object, Chain]] = {}

    def use(self, default: Policy, arms: Arms, sets: Mapping[str, ForgetSet]) -> None:
        """Takes others. Raises PolicyError, and changes nothing, when a set does not fit."""
        for changes in ({}, *arms.values()):
            Chain.of(sets.values(), default, changes)
        self.default, self.arms, self._chains = default, arms, {}

    def chain(self, generation: Generation, arm: str) -> Chain:
        """The guards of an arm for a generation's sets; made anew only when the sets change."""
        made = self._chains.get(arm)
        if made is None or made[0] is not generation.sets:
            changes = self.arms.get(arm, {})
            made = self._chains[arm] = (generation.sets, Chain.of(generation.sets.values(), self.default, changes))
        return made[1]

    def of(self, set_id: str, generation: Generation) -> Policy:
        """The policy of a set in the guarded arm. Raises Missing."""
        found = generation.sets.get(set_id)
        if found is None:
            raise Missing(f"there is no set '{set_id}'")
        return self.default.with_changes(found.policy)
