"""A server that lives to be killed: `python -m tests.proxy.survivor STATE`.

It adds, changes and removes entries one after the other, is given another embedder again and again, and keeps its index
in files after every few changes. On standard output it says, a line each, what it begins, what it was told is done, and
what the server logs.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from indexes.embedder import Embedder
from indexes.entries import Entry, ForgetSet, Kind, State
from proxy.app import running
from proxy.catalogue import snapshots
from proxy.catalogue.choice import CONFIGURED, Embedders, Source
from proxy.config import Config
from proxy.server import Server
from tests.fakes.embedder import BagEmbedder

SET = "boxes"
NEW = Source(path="/embedders/new")
PAUSE_S = 0.002  # between two changes: requests and snapshots have their turn
LOOK_S = 0.02  # for snapshots, and before the next one after one that failed
LIMIT_S = 60.0
SERVED_S = 0.8  # by one embedder


def config(state: Path) -> Config:
    """A server of its own on free ports, before an engine that is not there."""
    return Config.model_validate(
        {
            "listen": {"port": 0},
            "admin": {"port": 0},
            "state": state,
            "ledger": {"snapshot_every": 5},
            "upstream": {"url": "http://127.0.0.1:1"},
        }
    )


def _opened(_: Embedders, source: Source, *, threads: int | None = None) -> Embedder:
    del threads
    return BagEmbedder(96, "bag-of-words:2") if source == NEW else BagEmbedder()


@contextmanager
def two_embedders() -> Iterator[None]:
    """One is configured, and one lies in a folder."""
    with patch.object(Embedders, "open", _opened):
        yield


def entry(number: int) -> Entry:
    """Every seventh has a name and no vectors."""
    if number % 7 == 0:
        return Entry(f"e{number}", SET, Kind.ENTITY, names=(f"Ann Number{number}",))
    return Entry(f"e{number}", SET, Kind.FACT, texts=(question(number),), answers=(f"marble {number}",))


def question(number: int) -> str:
    return f"What is in box {number}?"


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # in one piece, whichever threads speak at once


def _logged(_: Any, __: str, event: dict[str, Any]) -> Any:
    say("log", event["event"])
    raise structlog.DropEvent


async def _changes(server: Server, first: int) -> None:
    changes = server.catalogue.changes
    for number in itertools.count(first):
        added = await changes.add([entry(number)], actor="survivor")
        say("added", added.ids[0])
        earlier = f"e{number - 3}"
        if number % 5 == 4:
            say("changing", earlier)
            await changes.change(SET, earlier, lambda one: replace(one, state=State.DISABLED), actor="survivor")
            say("disabled", earlier)
        elif number % 11 == 10:
            say("changing", earlier)
            await changes.remove(SET, earlier, actor="survivor")
            say("removed", earlier)
        await asyncio.sleep(PAUSE_S)


async def _embedders(server: Server) -> None:
    for source in itertools.cycle((NEW, CONFIGURED)):
        await asyncio.sleep(SERVED_S)
        await server.embedder.use(source, actor="survivor")
        await server.embedder.applied(LIMIT_S)


async def _live(state: Path) -> None:
    structlog.configure(processors=[_logged])
    with two_embedders(), patch.multiple(snapshots, LOOK_S=LOOK_S, AGAIN_S=LOOK_S):
        async with running(config(state), embedder=None) as server:
            if SET not in server.catalogue.current.sets:
                await server.catalogue.changes.add_set(ForgetSet(SET), actor="survivor")
            there = await server.catalogue.log(0, 1_000_000)
            first = 1 + max((int(str(one.entry_id)[1:]) for one in there if one.entry_id), default=0)
            say("begin")
            await asyncio.gather(_changes(server, first), _embedders(server))


if __name__ == "__main__":
    asyncio.run(_live(Path(sys.argv[1])))
