"""The catalogue: what this server knows of what must be forgotten, in one place.

Its parts, each in a file of its own
- `enforcing`  ledger and index, kept together by one thread
- `changes`    adding, changing and removing sets and entries
- `keys`       API keys as they are stored
- `policies`   the policies in force, and the guards that they make
- `embedding`  makes the vectors of what is stored
- `embedder_change`, `choice`  another embedder for a server that serves
- `snapshots`  the index in files, so that the next start takes seconds
- `shared`     what all processes know beside entries: experiments, assistants in use
"""

from collections.abc import Callable, Sequence

from guards.policy import Policy
from indexes.entries import Entry, Storage
from indexes.ledger.records import Change, Ledger, Missing
from indexes.sealed.keys import SealingKeys
from proxy.catalogue.changes import Changes
from proxy.catalogue.enforcing import Enforcing
from proxy.catalogue.keys import StoredKeys
from proxy.catalogue.policies import NO_ARMS, Arms, Policies
from proxy.catalogue.shared import Shared
from proxy.catalogue.snapshots import Kept, Snapshots
from proxy.keys import KeyRing
from proxy.metrics import Metrics
from proxy.reading import Reading, Served


class Catalogue:
    """What is in force is read at once, without waiting; what is stored is looked up in the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        reading: Reading,
        default: Policy,
        metrics: Metrics,
        *,
        anonymous: bool = True,
        arms: Arms = NO_ARMS,
        sealing: SealingKeys | None = None,
        storage: Storage = Storage.CLEAR,
        snapshots: Kept | None = None,
    ) -> None:
        """`anonymous` clients may ask while there is no key for clients. `sealing` are the keys of sealed entries, and
        `storage` is that of entries that do not say themselves. `snapshots` are where the index is kept in files.
        """
        self.sealing = sealing
        self.storage = storage
        self.enforcing = Enforcing(ledger, reading, metrics, anonymous=anonymous, sealing=sealing)
        self.policies = Policies(default, arms)
        self.changes = Changes(self.enforcing, self.policies, sealing)
        self.stored_keys = StoredKeys(self.enforcing)
        self.shared = Shared(self.enforcing)
        self._snapshots = Snapshots(snapshots, self.enforcing) if snapshots is not None else None

    async def start(self, alive: Callable[[], None] = lambda: None) -> None:
        """Builds the index from the ledger; embeds only what it holds no vectors for, and calls `alive` while that
        takes long. Raises LedgerError.
        """
        await self.enforcing.start(alive)
        if self._snapshots is not None:
            self._snapshots.start()

    async def close(self) -> None:
        await self.changes.close()
        if self._snapshots is not None:
            await self._snapshots.close()
        await self.enforcing.close()

    # -- what is in force

    @property
    def current(self) -> Served:
        """The generation in force; answers in flight decide anew when it is another one than before."""
        return self.enforcing.current

    @property
    def broken(self) -> str | None:
        """Why nothing may be checked, and the server is not ready; None when all is well."""
        return self.enforcing.broken

    @property
    def keys(self) -> KeyRing:
        """The keys in force."""
        return self.enforcing.keys

    def use_policies(self, default: Policy, arms: Arms) -> None:
        """Replaces the global policy and the arms. Raises PolicyError, and changes nothing, when a set does not fit."""
        self.policies.use(default, arms, self.current.sets)

    # -- looking things up in the ledger

    async def entry(self, set_id: str, entry_id: str) -> Entry:
        """Raises Missing."""
        return await self.enforcing.ask(lambda ledger: ledger.entry(set_id, entry_id))

    async def entries_of(self, ids: Sequence[str]) -> list[Entry]:
        """Those that are there, by id."""
        return await self.enforcing.ask(lambda ledger: ledger.entries_of(ids))

    async def entries(self, set_id: str | None, after: str, limit: int) -> list[Entry]:
        """Entries by id, after a given one. Raises Missing."""

        def read(ledger: Ledger) -> list[Entry]:
            if set_id is not None and set_id not in self.current.sets:
                raise Missing(f"there is no set '{set_id}'")
            return ledger.entries(set_id, after, limit)

        return await self.enforcing.ask(read)

    async def log(self, after: int, limit: int) -> list[Change]:
        """The change log after a generation."""
        return await self.enforcing.ask(lambda ledger: ledger.changes(after, limit))

    async def mark(self, name: str, first: str) -> str:
        """A value that all processes on the ledger share."""
        return await self.enforcing.ask(lambda ledger: ledger.mark(name, first))
