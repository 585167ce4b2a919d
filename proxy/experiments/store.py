"""Experiments on disk: definitions, and counts that several workers add to. No text, only sums.

A unit is kept as a keyed hash, so that its first request can be told from its later ones. The file is written by one
thread of this process, and by other workers of the same state directory.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.experiments.definition import Experiment
from proxy.experiments.sequential import Tally

_BUSY_MS = 5000  # another worker's commit takes milliseconds

_SCHEMA = """
CREATE TABLE IF NOT EXISTS experiments (
    id TEXT PRIMARY KEY, definition TEXT NOT NULL, started_at TEXT NOT NULL, stopped_at TEXT, reason TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS units (experiment TEXT, unit BLOB, PRIMARY KEY (experiment, unit)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS counts (
    experiment TEXT, arm TEXT, per TEXT, metric TEXT, n INTEGER NOT NULL, total REAL NOT NULL,
    PRIMARY KEY (experiment, arm, per, metric)
) WITHOUT ROWID, STRICT;
"""

REQUEST, UNIT, SHADOW = "request", "unit", "shadow"
"""What a count is per: every request, the first request of each unit, or a pair of answers."""


class ExperimentExists(Exception):
    """An experiment of this id was made before, or another one is running."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An experiment as it stands. `stopped_at` is None while it runs."""

    experiment: Experiment
    started_at: str
    stopped_at: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one request, or of one pair of answers."""

    arm: str
    values: Mapping[str, float]
    unit: bytes | None = None
    """Keyed hash of the unit; None for a pair of answers."""


class Store:
    """The file of experiments. Every method blocks: call it in a thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def start(self, experiment: Experiment, at: str) -> None:
        """Makes an experiment the running one. Raises ExperimentExists."""
        with self._transaction():
            if running := self._one("SELECT id FROM experiments WHERE stopped_at IS NULL"):
                raise ExperimentExists(f"'{running[0]}' is running: stop it first, requests belong to one experiment")
            if self._one("SELECT 1 FROM experiments WHERE id = ?", experiment.id):
                raise ExperimentExists(f"'{experiment.id}' was there before: its figures stay, choose another id")
            self._db.execute(
                "INSERT INTO experiments VALUES (?, ?, ?, NULL, NULL)",
                (experiment.id, experiment.model_dump_json(), at),
            )

    def stop(self, experiment_id: str, at: str, reason: str) -> bool:
        """Ends an experiment; False if it was not running."""
        with self._transaction():
            changed = self._db.execute(
                "UPDATE experiments SET stopped_at = ?, reason = ? WHERE id = ? AND stopped_at IS NULL",
                (at, reason, experiment_id),
            )
            return changed.rowcount > 0

    def remove(self, experiment_id: str) -> bool:
        """Forgets a stopped experiment with its counts; False if there is none, or if it runs."""
        with self._transaction():
            gone = self._db.execute(
                "DELETE FROM experiments WHERE id = ? AND stopped_at IS NOT NULL", (experiment_id,)
            ).rowcount
            if gone:
                for table in ("units", "counts"):
                    self._db.execute(f"DELETE FROM {table} WHERE experiment = ?", (experiment_id,))  # noqa: S608
            return gone > 0

    def all(self) -> list[Stored]:
        """All experiments, the newest first."""
        rows = self._db.execute(
            "SELECT definition, started_at, stopped_at, reason FROM experiments ORDER BY started_at DESC, id"
        )
        return [Stored(Experiment.model_validate(json.loads(row[0])), *row[1:]) for row in rows]

    def add(self, experiment_id: str, seen: Sequence[Observation]) -> None:
        """Adds observations to the counts, all or none; those of a unit's first request count for the unit too."""
        with self._transaction():
            for one in seen:
                per = [SHADOW if one.unit is None else REQUEST]
                if one.unit is not None and self._first_of(experiment_id, one.unit):
                    per.append(UNIT)
                self._db.executemany(
                    "INSERT INTO counts VALUES (?, ?, ?, ?, 1, ?) "
                    "ON CONFLICT DO UPDATE SET n = n + 1, total = total + excluded.total",
                    [(experiment_id, one.arm, kind, name, value) for kind in per for name, value in one.values.items()],
                )

    def counts(self, experiment_id: str) -> dict[tuple[str, str, str], Tally]:
        """Tallies by arm, what they are per, and metric."""
        rows = self._db.execute("SELECT arm, per, metric, n, total FROM counts WHERE experiment = ?", (experiment_id,))
        return {(arm, per, metric): Tally(n, total) for arm, per, metric, n, total in rows}

    # -- inside

    def _first_of(self, experiment_id: str, unit: bytes) -> bool:
        return self._db.execute("INSERT OR IGNORE INTO units VALUES (?, ?)", (experiment_id, unit)).rowcount > 0

    def _one(self, query: str, *arguments: str) -> tuple[object, ...] | None:
        found: tuple[object, ...] | None = self._db.execute(query, arguments).fetchone()
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
