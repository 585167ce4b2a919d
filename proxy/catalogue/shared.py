"""What the processes on a ledger know together beside entries: documents, such as experiments and assistants in use.

A document is in force in this process when a change of it returns, and in the others as soon as they follow, before
they say that they enforce its generation.
"""

from collections.abc import Callable, Mapping, Sequence

from indexes.ledger.records import Documents, Ledger, Observation, Tally
from proxy.catalogue.enforcing import Enforcing


class Shared:
    """Reads are of what is in force, and never wait; everything else raises LedgerError."""

    def __init__(self, enforcing: Enforcing) -> None:
        self._enforcing = enforcing

    @property
    def documents(self) -> Documents:
        """All that is in force; another object whenever something has changed."""
        return self._enforcing.documents

    def on_change(self, call: Callable[[], object]) -> None:
        """Calls something, in the ledger's thread, whenever documents have changed, whoever did it."""
        self._enforcing.on_documents.append(call)

    async def change(
        self, kind: str, change: Callable[[dict[str, str]], Mapping[str, str]], *, actor: str, action: str
    ) -> int:
        """Makes the documents of a kind what `change` makes of them; the generation from which that holds.

        Nobody else changes them meanwhile. What `change` raises is raised, and nothing has changed.
        """

        def commit(ledger: Ledger) -> int:
            generation = ledger.change_documents(kind, change, actor=actor, action=action)
            self._enforcing.enforce(generation, None)
            return generation

        return await self._enforcing.change(commit)

    async def observe(self, kind: str, name: str, seen: Sequence[Observation]) -> bool:
        """Adds to what all processes count of a document; False where it is gone."""
        return await self._enforcing.ask(lambda ledger: ledger.observe(kind, name, seen))

    async def tallies(self, kind: str, name: str) -> dict[tuple[str, str, str], Tally]:
        """What all processes have counted, by arm, `Per` and metric."""
        return await self._enforcing.ask(lambda ledger: ledger.tallies(kind, name))
