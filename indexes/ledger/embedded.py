"""What embedders made of entries and retain examples: vectors by owner, and by the name of the embedder."""

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from indexes.ledger.records import CHOICE, CHOICES, Conflict, set_owner
from indexes.ledger.tables import SqlTables
from indexes.vectors import Vectors


class SqlVectors(SqlTables):
    """Implements this part of `Ledger`, written once for all dialects."""

    def vectors(self, owner: str, model: str) -> Vectors | None:
        return self.vectors_of([owner], model).get(owner)

    def vectors_of(self, owners: Iterable[str], model: str) -> dict[str, Vectors]:
        rows = self._in("SELECT owner, count, rows FROM vectors WHERE model = ? AND owner IN", owners, (model,))
        return {owner: _matrix(count, content) for owner, count, content in rows}

    def keep_vectors(self, owners: Iterable[tuple[str, Vectors]], model: str, as_of: int | None = None) -> None:
        with self._transaction():
            kept = owners if as_of is None else self._unchanged(list(owners), as_of)
            self._put_vectors(kept, model)

    def sealed_without(self, model: str) -> int:
        rows = self._all(
            "SELECT count(*) FROM entries WHERE storage = 'sealed' "
            "AND NOT EXISTS (SELECT 1 FROM vectors WHERE owner = entries.id AND model = ?) "
            "AND EXISTS (SELECT 1 FROM vectors WHERE owner = entries.id AND count > 0)",
            (model,),
        )
        return int(rows[0][0])

    def _unchanged(self, owners: Sequence[tuple[str, Vectors]], as_of: int) -> list[tuple[str, Vectors]]:
        """Those that are there, and that nobody has changed after a generation. Inside a transaction."""
        changed = self._all("SELECT DISTINCT set_id, entry_id FROM changes WHERE generation > ?", (as_of,))
        touched = {entry_id or set_owner(str(set_id)) for set_id, entry_id in changed}
        asked = [owner for owner, _ in owners]
        there = {row[0] for row in self._in("SELECT id FROM entries WHERE id IN", asked)}
        there |= {set_owner(row[0]) for row in self._all("SELECT id FROM sets")}
        return [(owner, rows) for owner, rows in owners if owner in there - touched]

    def _put_vectors(self, owners: Iterable[tuple[str, Vectors]], model: str) -> None:
        self._many(
            "INSERT INTO vectors (owner, model, count, rows) VALUES (?, ?, ?, ?) ON CONFLICT (owner, model) DO UPDATE "
            "SET count = excluded.count, rows = excluded.rows",
            ((o, model, len(rows), np.ascontiguousarray(rows, np.float32).tobytes()) for o, rows in owners),
        )

    def _put_also(self, owners: Iterable[tuple[str, Mapping[str, Vectors]]]) -> None:
        """Vectors of further embedders, by their names."""
        by_model: dict[str, list[tuple[str, Vectors]]] = {}
        for owner, also in owners:
            for model, rows in also.items():
                by_model.setdefault(model, []).append((owner, rows))
        for model, held in by_model.items():
            self._put_vectors(held, model)

    def _refuse_unready(self, models: Iterable[str]) -> None:
        """Sealed entries must come with vectors of the chosen embedder: nobody can make them later. Raises Conflict."""
        rows = self._all("SELECT body FROM documents WHERE kind = ? AND name = ?", (CHOICES, CHOICE))
        if rows and json.loads(rows[0][0])["embedder"] not in models:
            raise Conflict(
                "another embedder was chosen, which this process does not have yet, and a sealed entry needs its "
                "vectors: try again when 'lethe embedder show' says that it is in force"
            )


def _matrix(count: int, content: bytes) -> Vectors:
    return np.frombuffer(content, np.float32).reshape(count, -1) if count else np.empty((0, 0), np.float32)
