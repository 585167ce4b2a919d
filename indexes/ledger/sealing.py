"""Which sealing keys a ledger's sealed entries are under, and how a further key is laid over them."""

from collections.abc import Callable

from indexes.ledger.records import Ledger, LedgerError
from indexes.ledger.sql import SqlLedger
from indexes.sealed.kept import Sealed
from indexes.sealed.keys import SealingKeys

MARK = "sealing"
PAGE = 500  # entries rewritten at a time

Progress = Callable[[int, int], None]


def bound(ledger: Ledger, keys: SealingKeys | None) -> SealingKeys | None:
    """Those of the configured keys that are in force. The first keys that a ledger sees become its own.

    Raises LedgerError where they are not the ledger's.
    """
    if keys is None:
        return None
    count, fingerprint = _told(ledger.mark(MARK, _mark(keys)))
    if len(keys) < count or keys.first(count).fingerprint != fingerprint:
        raise LedgerError(
            f"the sealing keys are not those of the ledger, which is under {count}: give all of them, oldest first"
        )
    return keys.first(count)


def lay_over(ledger: SqlLedger, keys: SealingKeys, progress: Progress = lambda *_: None) -> int:
    """Lays the last of the keys over all sealed entries; returns how many there are. All or nothing.

    The ledger must be under all keys but the last, and no server may be using it. Raises LedgerError.
    """
    ledger.mark(MARK, _mark(keys))
    with ledger.removing():
        count, fingerprint = _told(ledger.mark(MARK, ""))
        if len(keys) <= count:
            raise LedgerError(
                f"the ledger is under {count} sealing key(s), and no further one is configured: make one with 'lethe "
                "ledger new-key' and add it behind the others"
            )
        if len(keys) > count + 1 or keys.first(count).fingerprint != fingerprint:
            raise LedgerError(f"the ledger is under {count} sealing key(s): give these and one more, oldest first")
        total, done, after = ledger.sealed_count(), 0, ""
        while rows := ledger.sealed_rows(after, PAGE):
            ledger.reseal(
                (Sealed.unpacked(content).rekeyed(keys.newest).packed(), keys.laid_over(digest), entry_id)
                for entry_id, content, digest in rows
            )
            after, done = rows[-1][0], done + len(rows)
            progress(done, total)
        ledger.finish_resealing(MARK, _mark(keys))
        return total


def _mark(keys: SealingKeys) -> str:
    return f"{len(keys)} {keys.fingerprint}"


def _told(mark: str) -> tuple[int, str]:
    count, _, fingerprint = mark.partition(" ")
    return int(count), fingerprint
