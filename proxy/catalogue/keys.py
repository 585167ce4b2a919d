"""API keys as they are stored, and in force."""

from indexes.ledger.records import Ledger, StoredKey
from proxy.catalogue.enforcing import Enforcing
from proxy.keys import SCOPES, digest_of, new_key


class StoredKeys:
    """Makes and revokes keys, in force when a call returns. Callers are judged by `Catalogue.keys`."""

    def __init__(self, enforcing: Enforcing) -> None:
        self._enforcing = enforcing

    async def all(self) -> list[StoredKey]:
        return await self._enforcing.ask(lambda ledger: ledger.keys())

    async def put(self, key: StoredKey) -> None:
        def commit(ledger: Ledger) -> None:
            ledger.put_key(key)
            self._enforcing.read_keys()

        await self._enforcing.ask(commit)

    async def drop(self, key_id: str) -> None:
        """Raises Missing."""

        def commit(ledger: Ledger) -> None:
            ledger.drop_key(key_id)
            self._enforcing.read_keys()

        await self._enforcing.ask(commit)

    async def make_admin(self, secret: str | None = None) -> str:
        """Makes a key that may do everything, unless it is there; returns its secret."""
        if secret is not None and self._enforcing.keys.holds(digest_of(secret), SCOPES):
            return secret
        secret, key = new_key(SCOPES, "start", secret)
        await self.put(key)
        return secret
