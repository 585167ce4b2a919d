"""Arms of a run: those of the server (`raw`, `guarded`, named policies), or a ladder such as `instruct+refuse`.

A ladder is the guarded arm while every forget set has that ladder as its policy. The sets' own policies are put back
afterwards, also when the run is interrupted; those of a run that was killed, when it goes on.
"""

import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from evals.runs.client import Admin, RunError
from evals.runs.folder import RunFolder
from guards.policy import DEFAULT_POLICY, PolicyError

RAW, GUARDED = "raw", "guarded"
POLICIES = "policies.json"
"""In the folder of a run while a ladder is in force: the policies that the sets had before."""


class ArmError(ValueError):
    """An arm that there is not; the message names those that there are."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to be answered. `ladder` is empty for an arm that the server has itself."""

    name: str
    ladder: tuple[str, ...] = ()

    @property
    def header(self) -> str:
        """What `x-lethe-arm` says."""
        return GUARDED if self.ladder else self.name

    @classmethod
    def parse(cls, name: str, served: Collection[str]) -> "Arm":
        """Raises ArmError."""
        if name in served:
            return cls(name)
        if name == RAW:
            raise ArmError("the arm 'raw' is for keys with the raw scope: set LETHE_API_KEY, or LETHE_ADMIN_KEY")
        ladder = tuple(name.split("+"))
        try:
            # What an offset subtracts, each set's own policy says; the server refuses one that does not.
            DEFAULT_POLICY.with_changes({"on_match": list(ladder), "assistant": "of-the-set"})
        except PolicyError as error:
            raise ArmError(
                f"'{name}' is no arm: there are {', '.join(served)}, and ladders such as instruct+refuse ({error})"
            ) from None
        return cls(name, ladder)


def parsed(listed: str, served: Collection[str] = (RAW, GUARDED)) -> list[Arm]:
    """Arms from a comma-separated list. Raises ArmError."""
    arms = [Arm.parse(name.strip(), served) for name in listed.split(",") if name.strip()]
    if not arms or len({arm.name for arm in arms}) != len(arms):
        raise ArmError(f"'{listed}' is not a list of different arms, such as raw,guarded")
    return arms


@contextlib.asynccontextmanager
async def in_force(arm: Arm, admin: Admin, folder: RunFolder) -> AsyncIterator[None]:
    """Holds the arm's ladder in force on all forget sets while the block runs. Raises RunError."""
    if not arm.ladder:
        yield
        return
    before = await _policies(admin)
    folder.write(POLICIES, before)
    try:
        for name, policy in before.items():
            await _put(admin, name, {**policy, "on_match": list(arm.ladder)})
        yield
    finally:
        await put_back(admin, folder)


async def put_back(admin: Admin, folder: RunFolder) -> None:
    """Gives the sets that there still are the policies that the run found. Raises RunError, after having tried all."""
    before = folder.find(POLICIES)
    if before is None:
        return
    there = await _policies(admin)
    left = []
    for name, policy in before.items():
        try:
            if name in there:
                await _put(admin, name, policy)
        except RunError:
            left.append(name)
    if left:
        raise RunError(
            f"sets still have the policy of an arm ({', '.join(left)}): start the run again with --out {folder.path}"
        )
    folder.remove(POLICIES)


async def _policies(admin: Admin) -> dict[str, dict[str, Any]]:
    return {one["id"]: one["policy"] for one in (await admin.call("GET", "/sets"))["data"]}


async def _put(admin: Admin, name: str, policy: dict[str, Any]) -> None:
    await admin.call("PATCH", f"/sets/{quote(name, safe='')}", {"policy": policy})
