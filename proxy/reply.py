"""The streamed reply to one client: begun with its first bytes, ended cleanly or dropped, never in between."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from proxy.dialects.sse import KEEP_ALIVE
from proxy.errors import ClientLeft, RequestError
from proxy.exchange import Exchange


class Reply:
    """A stream of events to the client of one exchange."""

    def __init__(self, request: web.Request, exchange: Exchange, keep_alive_s: float) -> None:
        self._request = request
        self._exchange = exchange
        self._keep_alive_s = keep_alive_s
        self._response: web.StreamResponse | None = None
        self._written_at = time.perf_counter()
        self.holds = False
        """The stream is held back for checks: comments keep the client's connection from being timed out."""

    @property
    def begun(self) -> bool:
        """True once the client has been given anything, be it headers."""
        return self._response is not None

    async def write(self, data: bytes) -> None:
        """Sends data, if there is any. It is on its way before this first suspends. Raises ClientLeft."""
        if not data:
            return
        try:
            if self._response is None:
                self._response = await self._begin()
            await self._response.write(data)
        except ConnectionResetError:
            raise ClientLeft from None
        self._exchange.tokens += data.count(b"\n\n")
        if self._exchange.kept is not None:
            self._exchange.kept += data
        self._written_at = time.perf_counter()

    async def end(self) -> web.StreamResponse:
        """Ends the reply cleanly."""
        if self._response is None:
            self._response = await self._begin()
        try:
            await self._response.write_eof()
        except ConnectionResetError:
            raise ClientLeft from None
        return self._response

    async def break_off(self, error: RequestError) -> web.StreamResponse:
        """Says in an event what went wrong, then drops the connection without a clean end."""
        await self.write(self._exchange.dialect.error_event(error))
        return self.drop()

    def drop(self) -> web.StreamResponse:
        """Closes the connection of a reply that was begun, so that it cannot be taken for a finished answer."""
        if self._response is None:
            raise RuntimeError("a reply that was not begun has nothing to drop")
        if self._request.transport is not None:
            self._request.transport.close()
        return self._response

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """Sends a comment whenever the stream is held and has been silent for long.

        A task of its own: a time limit around every read would cost more than all else that is done for a chunk.
        """
        task = asyncio.create_task(self._comment(), name=f"keep-alive {self._exchange.id}")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, ClientLeft):
                await task

    async def _comment(self) -> None:
        while True:
            await asyncio.sleep(self._keep_alive_s)
            if self.holds and time.perf_counter() - self._written_at >= self._keep_alive_s:
                await self.write(KEEP_ALIVE)

    async def _begin(self) -> web.StreamResponse:
        response = web.StreamResponse(headers={**self._exchange.headers(), "Cache-Control": "no-cache"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        await response.prepare(self._request)
        return response
