"""The ledgers that the contract's tests run against. A further implementation joins by a further opener."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexes.ledger.records import Ledger
from indexes.ledger.sqlite import SqliteLedger

Opener = Callable[[], Ledger]

OPENERS: dict[str, Callable[[Path], Ledger]] = {"sqlite": lambda folder: SqliteLedger(folder / "ledger.db")}


@pytest.fixture(params=OPENERS)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the ledger, closing it first where it is open: a restart of the server."""
    opened: list[Ledger] = []

    def again() -> Ledger:
        for ledger in opened:
            ledger.close()
        opened[:] = [OPENERS[request.param](tmp_path)]
        return opened[0]

    yield again
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(reopen: Opener) -> Ledger:
    return reopen()
