"""Embeds what is to be stored, in a thread of its own: by the embedder in force, and by those that entries need as well
while it is being changed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import structlog

from indexes.embedder import Embedder
from indexes.vectors import Vectors
from proxy.catalogue.enforcing import Enforcing
from proxy.errors import GuardUnavailable

Groups = Sequence[Sequence[str]]

_log = structlog.get_logger("lethe.embedding")


@dataclass(frozen=True, slots=True, repr=False)
class Made:
    """What one embedder or several made of groups of texts: by the embedder's name, an array for each group."""

    vectors: Mapping[str, Sequence[Vectors]]

    def model(self, wanted: str) -> str:
        """The embedder whose vectors stand first: the wanted one, where it was among them."""
        return wanted if wanted in self.vectors else next(iter(self.vectors))

    def of(self, place: int, model: str) -> Vectors:
        """What an embedder made of a group."""
        return self.vectors[model][place]

    def beside(self, place: int, model: str) -> dict[str, Vectors]:
        """What the others made of it."""
        return {name: rows[place] for name, rows in self.vectors.items() if name != model}


class Embedding:
    """Owns the thread. Raises GuardUnavailable where the embedder in force fails: nothing is stored without vectors."""

    def __init__(self, enforcing: Enforcing) -> None:
        self._enforcing = enforcing
        self._thread = ThreadPoolExecutor(1, "embed-entries")

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown, True)

    async def of(self, groups: Groups, *, by_all: bool = False) -> Made:
        """Embeds groups of texts in one go. `by_all`: none of the embedders may be left out, since nobody keeps the
        texts; else one that fails only leaves work for later.
        """
        loop = asyncio.get_running_loop()
        made: dict[str, Sequence[Vectors]] = {}
        for embedder in (self._enforcing.reading.embedder, *self._enforcing.also):
            try:
                made[embedder.name] = await loop.run_in_executor(self._thread, _embedded, embedder, groups)
            except Exception as error:  # without vectors an entry would be kept and not enforced
                _log.error("embedder_failed", fault=type(error).__name__, needed=by_all or not made)
                if by_all or not made:
                    raise GuardUnavailable("the embedder failed; nothing was changed", retry_after_s=1) from error
        return Made(made)


def _embedded(embedder: Embedder, groups: Groups) -> list[Vectors]:
    flat = [text for group in groups for text in group]
    if not flat:
        return [np.empty((0, embedder.dimensions), np.float32) for _ in groups]
    ends = np.cumsum([len(group) for group in groups])
    return [np.asarray(rows, np.float32) for rows in np.split(embedder.embed(flat), ends[:-1])]
