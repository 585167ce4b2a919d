"""The ledgers that the contract's tests run against. A further implementation joins by a further opener."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from indexes.ledger.postgres import PostgresLedger
from indexes.ledger.records import Ledger
from indexes.ledger.sqlite import SqliteLedger
from tests.postgresql import PostgresServer

Opener = Callable[[], Ledger]


@pytest.fixture(params=["sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the ledger, closing it first where it is open: a restart of the server."""
    opened: list[Ledger] = []
    make: Callable[[], Ledger]
    if request.param == "sqlite":
        make = lambda: SqliteLedger(tmp_path / "ledger.db")  # noqa: E731
    else:
        url = request.getfixturevalue("postgres_url")
        make = lambda: PostgresLedger(url)  # noqa: E731

    def again() -> Ledger:
        for ledger in opened:
            ledger.close()
        opened[:] = [make()]
        return opened[0]

    yield again
    for ledger in opened:
        ledger.close()


@pytest.fixture(scope="session")
def contract_database(postgres: PostgresServer) -> str:
    return postgres.fresh("contract")


@pytest.fixture
def postgres_url(contract_database: str) -> str:
    """A database without a ledger: emptied, which is faster than making one."""
    with psycopg.connect(contract_database, autocommit=True) as db:
        db.execute("SET client_min_messages = error")
        db.execute("DROP SCHEMA IF EXISTS lethe CASCADE")
    return contract_database


@pytest.fixture
def ledger(reopen: Opener) -> Ledger:
    return reopen()
