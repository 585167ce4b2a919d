"""An index that begins with the newest snapshot that fits its ledger."""

from collections.abc import Container
from pathlib import Path

from indexes.forget_index import ForgetIndex
from indexes.ledger.records import Ledger, set_owner
from indexes.sealed.keys import SealingKeys
from indexes.snapshots.files import SnapshotError, SnapshotFolder, head_of, load
from indexes.snapshots.fitting import MadeOf, history_of


def opened(
    folder: SnapshotFolder, ledger: Ledger, made_of: MadeOf, sealing: SealingKeys | None
) -> tuple[ForgetIndex | None, list[str]]:
    """An index as of the newest snapshot that fits, with the sets that the ledger has now, and why others do not fit.

    Whoever follows the ledger from there (`IndexFollower`) has what he would have built from nothing. Not inside a
    snapshot of the ledger. Raises LedgerError.
    """
    refused: dict[str, str] = {}
    while (path := _newest_but(folder, refused)) is not None:  # another process may put a newer one in its place
        try:
            return _opened(path, ledger, made_of, sealing), list(refused.values())
        except SnapshotError as error:
            refused[path.name] = f"{path.name}: {error}"
    return None, list(refused.values())


def _newest_but(folder: SnapshotFolder, tried: Container[str]) -> Path | None:
    return next((path for path in folder.newest_first() if path.name not in tried), None)


def _opened(path: Path, ledger: Ledger, made_of: MadeOf, sealing: SealingKeys | None) -> ForgetIndex:
    head = head_of(path)
    _refuse(made_of.differs(head))
    _refuse(_foreign(head["generation"], head["history"], ledger))
    index = ForgetIndex(made_of.dimensions, sealing=sealing, base=load(path))
    with ledger.snapshot():  # begun after `load`: databases end transactions in which nothing happens for seconds
        _put_sets(index, ledger, made_of)
    return index


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise SnapshotError(reason)


def _foreign(generation: int, history: str, ledger: Ledger) -> str | None:
    if generation > ledger.generation() or history_of(ledger, generation) != history:
        return "the ledger has another history"
    return None


def _put_sets(index: ForgetIndex, ledger: Ledger, made_of: MadeOf) -> None:
    """A snapshot holds no sets: they are few, and hold texts."""
    sets = ledger.sets()
    vectors = ledger.vectors_of([set_owner(one.id) for one in sets], made_of.embedder)
    for one in sets:
        rows = vectors.get(set_owner(one.id))
        if one.retain and (rows is None or len(rows) != len(one.retain)):
            raise SnapshotError("the ledger lacks vectors of retain examples")
        index.put_set(one, rows if one.retain else None, index.current.number)
    index.publish(index.current.number)
