"""Work that goes on beside the requests for as long as a server runs.

Each piece handles the faults it expects. What nobody foresaw must not end it in silence, for then entries would no
longer expire, or nobody would look at the engine: it is counted, logged by type and place, and begun again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from proxy.logs import raised_at
from proxy.metrics import Metrics

AGAIN_S = 1.0

_log = structlog.get_logger("lethe.background")


@asynccontextmanager
async def going_on(name: str, work: Callable[[], Awaitable[None]], metrics: Metrics) -> AsyncIterator[None]:
    """Does some work, which has no end of its own, as long as the block runs."""
    task = asyncio.create_task(_again_and_again(name, work, metrics), name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _again_and_again(name: str, work: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
    while True:
        try:
            await work()
        except Exception as error:
            metrics.background_faults.labels(name).inc()
            _log.error("background_failed", work=name, fault=type(error).__name__, at=raised_at(error))
        await asyncio.sleep(AGAIN_S)
