"""What all processes on a ledger share beside entries: documents by kind and name, and what they count together."""

from collections.abc import Callable, Mapping, Sequence

from indexes.ledger.records import Documents, Observation, Per, Tally
from indexes.ledger.tables import SqlTables

Change = Callable[[dict[str, str]], Mapping[str, str]]
COUNTER = "documents"
"""The mark that tells how often documents were changed."""


class SqlShared(SqlTables):
    """Implements this part of `Ledger`, written once for all dialects."""

    def documents(self) -> Documents:
        found: dict[str, dict[str, str]] = {}
        for kind, name, body in self._all("SELECT kind, name, body FROM documents ORDER BY kind, name"):
            found.setdefault(kind, {})[name] = body
        return found

    def change_documents(self, kind: str, change: Change, *, actor: str, action: str) -> int:
        with self._transaction():
            before: dict[str, str] = dict(self._all("SELECT name, body FROM documents WHERE kind = ?", (kind,)))
            after = dict(change(dict(before)))
            for name in before.keys() - after.keys():
                self._run("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))
            written = [(kind, name, body) for name, body in after.items() if before.get(name) != body]
            self._many(
                "INSERT INTO documents (kind, name, body) VALUES (?, ?, ?) ON CONFLICT (kind, name) DO UPDATE "
                "SET body = excluded.body",
                written,
            )
            if not written and before.keys() <= after.keys():
                return self.generation()
            counted = self._all("SELECT value FROM marks WHERE name = ?", (COUNTER,))
            self._put_mark(COUNTER, str(int(counted[0][0]) + 1 if counted else 1))
            return self._log(actor, [(action, None, None)])

    def observe(self, kind: str, name: str, seen: Sequence[Observation]) -> bool:
        with self._transaction():
            if not self._all("SELECT 1 FROM documents WHERE kind = ? AND name = ?", (kind, name)):
                return False
            first = self._new_units(kind, name, seen)
            sums: dict[tuple[str, str, str], Tally] = {}
            for place, one in enumerate(seen):
                per = (Per.PAIR,) if one.unit is None else (Per.REQUEST, Per.UNIT) if place in first else (Per.REQUEST,)
                for what in per:
                    for metric, value in one.values.items():
                        key = (one.arm, what.value, metric)
                        so_far = sums.get(key, Tally())
                        sums[key] = Tally(so_far.n + 1, so_far.total + value)
            self._many(
                "INSERT INTO tallies (kind, name, arm, per, metric, n, total) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (kind, name, arm, per, metric) DO UPDATE SET n = tallies.n + excluded.n, "
                "total = tallies.total + excluded.total",
                [(kind, name, *key, tally.n, tally.total) for key, tally in sums.items()],
            )
            return True

    def tallies(self, kind: str, name: str) -> dict[tuple[str, str, str], Tally]:
        rows = self._all("SELECT arm, per, metric, n, total FROM tallies WHERE kind = ? AND name = ?", (kind, name))
        return {(arm, per, metric): Tally(int(n), float(total)) for arm, per, metric, n, total in rows}

    def _new_units(self, kind: str, name: str, seen: Sequence[Observation]) -> set[int]:
        """The places of the observations that are the first of their unit; these are remembered."""
        places: dict[str, int] = {}
        for place, one in enumerate(seen):
            if one.unit is not None:
                places.setdefault(one.unit, place)
        known = self._in("SELECT unit FROM units WHERE kind = ? AND name = ? AND unit IN", places, (kind, name))
        for (unit,) in known:
            del places[unit]
        self._many("INSERT INTO units (kind, name, unit) VALUES (?, ?, ?)", [(kind, name, unit) for unit in places])
        return set(places.values())
