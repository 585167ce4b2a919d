"""An experiment as it stands in the ledger: a document that all processes follow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from proxy.experiments.definition import Experiment

KIND = "experiments"
"""Under which its documents stand in the ledger."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is asked, since when, and how it ended. `stopped_at` is None while it runs."""

    experiment: Experiment
    started_at: str
    stopped_at: str | None = None
    reason: str | None = None

    @property
    def runs(self) -> bool:
        return self.stopped_at is None

    def body(self) -> str:
        """As `read` reads it."""
        times = {"started_at": self.started_at, "stopped_at": self.stopped_at, "reason": self.reason}
        return json.dumps({"experiment": self.experiment.model_dump(mode="json"), **times})


@lru_cache(64)
def read(body: str) -> Stored:
    """An experiment of its document."""
    told = json.loads(body)
    return Stored(Experiment.model_validate(told.pop("experiment")), **told)


def all_of(documents: Mapping[str, str]) -> list[Stored]:
    """All experiments, the newest first."""
    by_name = sorted(map(read, documents.values()), key=lambda one: one.experiment.id)
    return sorted(by_name, key=lambda one: one.started_at, reverse=True)


def running_of(documents: Mapping[str, str]) -> Stored | None:
    """The experiment that runs, if there is one."""
    return next((one for one in map(read, documents.values()) if one.runs), None)
