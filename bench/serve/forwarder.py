"""The floor for a chunk that passes through another process: a TCP relay that copies bytes and looks at nothing."""

import argparse
import asyncio
from typing import cast

import uvloop


class _Copy(asyncio.Protocol):
    """Writes what it receives to its peer."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Copy | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)
        else:
            self.early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


class _Client(_Copy):
    """The client's side: opens the other side when it is connected."""

    def __init__(self, upstream: int) -> None:
        super().__init__()
        self._upstream = upstream
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.get_running_loop().create_task(self._open(), name="open upstream")

    async def _open(self) -> None:
        other = _Copy()
        other.peer = self
        try:
            await asyncio.get_running_loop().create_connection(lambda: other, "127.0.0.1", self._upstream)
        except OSError:
            cast(asyncio.Transport, self.transport).close()
            return
        self.peer = other
        for data in self.early:
            cast(asyncio.Transport, other.transport).write(data)


async def _serve(port: int, upstream: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Client(upstream), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, arguments.upstream))


if __name__ == "__main__":
    main()
