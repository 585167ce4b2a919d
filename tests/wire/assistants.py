"""Assistants of a server between scripted engine and clients: loading them, and seeing what came of it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.wire.harness import Lethe

SLOTS = {"engine": {"auxiliaries": ["layers:8", "layers:8"]}}
LADDER = {"on_match": ["offset", "instruct", "refuse"], "assistant": "uld"}
TOGETHER = {"on_match": ["offset_instruct", "refuse"], "assistant": "uld"}


async def load(lethe: Lethe, folder: Path) -> dict[str, Any]:
    reply = await lethe.admin("POST", "/assistants", {"folder": str(folder)})
    assert reply.status == 201, reply.raw
    found: dict[str, Any] = reply.body
    return found


async def listing(lethe: Lethe) -> dict[str, Any]:
    found: dict[str, Any] = (await lethe.admin("GET", "/assistants")).body
    return found


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something that is seen from outside holds."""
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 - as an operator sees it
            await asyncio.sleep(0.01)


async def until_ready(lethe: Lethe) -> None:
    async def ready() -> bool:
        return (await lethe.get("/readyz")).status == 200

    await until(ready)


async def until_not_ready(lethe: Lethe, because: str) -> None:
    async def says_so() -> bool:
        reply = await lethe.get("/readyz")
        return reply.status == 503 and because in reply.body["reason"]

    await until(says_so)


async def until_unloaded(lethe: Lethe, *adapters: str) -> None:
    async def gone() -> bool:
        return not set(adapters) & set(lethe.engine.composite.adapters)

    await until(gone)


def sent(lethe: Lethe) -> dict[str, Any]:
    """The last request that reached the engine."""
    return lethe.engine.seen[-1].body


def adapter_of(lethe: Lethe) -> str:
    (name,) = lethe.engine.composite.adapters
    return name
