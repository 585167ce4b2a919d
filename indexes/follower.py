"""Brings a forget index to what its ledger says, whoever wrote it: from nothing, or from an older generation.

What is applied in one go becomes visible in one go, as the generation that the ledger had when it was read. A
generation is never left out, and never shown in part: what fails half-way is applied again, as a whole, by the next
call.

An index that nobody reads yet is read from the ledger page by page (`build`), while others write: what they touched
meanwhile is applied once more by `catch_up`. So nobody waits for it however long it takes, and vectors that had to be
made are kept page by page: killed in between, the next build goes on from there.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

import numpy as np

from indexes.embedder import Embedder
from indexes.entries import Entry, ForgetSet
from indexes.forget_index import ForgetIndex
from indexes.ledger.records import Ledger, LedgerError, set_owner
from indexes.told import cues
from indexes.vectors import Vectors

PAGE = 1000  # entries, or lines of the change log, that are read at a time
BUILT = 200  # entries that a build reads, embeds and keeps at a time: what a kill costs
CONDENSED = 32768  # entries after which a build puts what it has in arrays: some 100 MB until then

Progress = Callable[[int, int, int], None]
"""Told how many entries were read, of how many, and how many of these had to be embedded."""


class IndexFollower:
    """One index and the ledger that it follows. Calls come from one thread at a time, the one that writes to both."""

    def __init__(self, ledger: Ledger, index: ForgetIndex, embedder: Embedder) -> None:
        self._ledger = ledger
        self._index = index
        self._embedder = embedder
        self._made: list[tuple[str, Vectors]] = []  # vectors that the ledger lacks
        self._built = 0  # the generation of which nothing is missing in an index that was not published yet

    def build(self, progress: Progress = lambda *_: None, shuffled: Random | None = None) -> None:
        """Fills an empty index from the ledger; nothing is published before `catch_up`. Not inside a snapshot.

        Several processes that build share the embedding when each takes the pages in an order of its own (`shuffled`).
        Raises LedgerError, or whatever the embedder raises; then another build must begin with another index.
        """
        self._refuse_lost()
        begun = as_of = self._ledger.generation()
        for forget_set in self._ledger.sets():
            self._put_set(forget_set, as_of)
        self._keep(as_of)
        ends = self._ledger.page_ends(BUILT)
        pages = list(zip(["", *ends], [*ends, None], strict=True))
        if shuffled is not None:
            shuffled.shuffle(pages)
        total, read, embedded = self._ledger.entry_count(), 0, 0
        for after, until in pages:
            as_of = self._ledger.generation()
            page = self._ledger.entries_between(after, until)
            self._put_entries(page, as_of)
            self._index.condense(CONDENSED)
            read, embedded = read + len(page), embedded + len(self._made)
            self._keep(as_of)
            progress(read, max(read, total), embedded)
        self._built = begun

    def catch_up(self) -> None:
        """Publishes the ledger's newest generation, if the index is behind. Embeds only what has no vectors there.

        Raises LedgerError, or whatever the embedder raises; then the generation in force is what it was.
        """
        with self._ledger.snapshot():
            head, served = self._ledger.generation(), self._index.current.number or self._built
            if head < served:
                raise LedgerError(
                    f"the ledger is at generation {head}, but {served} was served: was it restored from a backup? "
                    "Restart the server"
                )
            if head > served:
                self._apply(served, head)
        if head > self._index.current.number:
            self._index.publish(head)
        self._keep(head)

    def _keep(self, as_of: int) -> None:
        if self._made:
            made, self._made = self._made, []
            self._ledger.keep_vectors(made, self._embedder.name, as_of)

    def _refuse_lost(self) -> None:
        """Raises LedgerError where sealed entries have no vectors of the embedder: before hours of embedding."""
        if lost := self._ledger.sealed_without(self._embedder.name):
            raise self._lost(lost)

    def _lost(self, number: int) -> LedgerError:
        return LedgerError(
            f"{number} sealed entries have no vectors of the embedder '{self._embedder.name}', and no text to make "
            "them of: use the embedder that they were sealed with, or import them again"
        )

    def _apply(self, served: int, head: int) -> None:
        if served == 0:
            touched, pages = {forget_set.id for forget_set in self._ledger.sets()}, self._all_entries()
        else:
            touched, ids = self._changed_after(served, head)
            pages = self._entries_of(ids, head)
        for forget_set in self._ledger.sets():
            if forget_set.id in touched:
                self._put_set(forget_set, head)
        for page in pages:
            self._put_entries(page, head)

    def _put_set(self, forget_set: ForgetSet, generation: int) -> None:
        owner = set_owner(forget_set.id)
        self._index.put_set(forget_set, self._vectors({owner: list(forget_set.retain)})[owner], generation)

    def _put_entries(self, page: Sequence[Entry], generation: int) -> None:
        vectors = self._vectors({entry.id: cues(entry) for entry in page if entry.sealed is None})
        vectors |= self._sealed_vectors({entry.id: entry.sealed.rows for entry in page if entry.sealed is not None})
        for entry in page:
            self._index.put_entry(entry, vectors[entry.id], generation)

    def _changed_after(self, served: int, head: int) -> tuple[set[str], list[str]]:
        """Sets and entries that were touched. Sets that were removed, be it to be made anew, are dropped at once."""
        sets: set[str] = set()
        ids: dict[str, None] = {}
        after = served
        while changes := self._ledger.changes(after, PAGE):
            after = changes[-1].generation
            for change in changes:
                if change.entry_id is not None:
                    ids[change.entry_id] = None
                elif change.set_id is not None:
                    sets.add(change.set_id)
                    if change.action == "set.remove":
                        self._index.drop_set(change.set_id, head)
        return sets, list(ids)

    def _all_entries(self) -> Iterator[Sequence[Entry]]:
        after = ""
        while page := self._ledger.entries(None, after, PAGE):
            yield page
            after = page[-1].id

    def _entries_of(self, ids: Sequence[str], head: int) -> Iterator[Sequence[Entry]]:
        """The entries of some ids that are there; the others are dropped."""
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            page = self._ledger.entries_of(some)
            for gone in set(some) - {entry.id for entry in page}:
                self._index.drop_entry(gone, head)
            yield page

    def _vectors(self, texts: dict[str, list[str]]) -> dict[str, Vectors]:
        """Vectors by owner: those that are stored where they fit, else made and remembered."""
        stored = self._ledger.vectors_of(texts, self._embedder.name)
        found: dict[str, Vectors] = {}
        for owner, cued in texts.items():
            rows = stored.get(owner)
            if rows is None or len(rows) != len(cued):
                rows = self._embed(cued)
                self._made.append((owner, rows))
            found[owner] = rows if len(rows) else self._none()
        return found

    def _sealed_vectors(self, rows: dict[str, int]) -> dict[str, Vectors]:
        """Vectors of sealed entries. Raises LedgerError: there is no text to make them of anew."""
        stored = self._ledger.vectors_of(rows, self._embedder.name)
        if lost := sum(len(stored.get(owner, ())) != count for owner, count in rows.items()):
            raise self._lost(lost)
        return {owner: stored[owner] if count else self._none() for owner, count in rows.items()}

    def _embed(self, texts: Iterable[str]) -> Vectors:
        asked = list(texts)
        return self._embedder.embed(asked) if asked else self._none()

    def _none(self) -> Vectors:
        return np.empty((0, self._embedder.dimensions), np.float32)
