"""The two ports: an application that listens, and what the HTTP server answers by itself, in OpenAI's error shape.

What cannot be parsed as HTTP reaches no handler and no middleware. aiohttp would answer it as plain text that quotes
the bytes it stopped at, which may be a prompt or a key; here the reply names the kind of fault and nothing of the
request.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, ContentEncodingError, LineTooLong

from proxy.config import Listen
from proxy.errors import BadRequest, HeadTooLong, RequestError
from proxy.logs import of_libraries
from proxy.server import SERVER, Server, errors, not_read, reply_to

LONGEST_LINE = 8190  # bytes of the request line or of a header: keys, names and trace ids take a few hundred


class PortInUse(Exception):
    """A port cannot be listened on; the message names it, the cause, and the option and setting that change it."""

    def __init__(self, listen: Listen, name: str, error: OSError) -> None:
        cause = os.strerror(error.errno).lower() if error.errno else "in use"
        option = "--port" if name == "listen" else f"--{name}-port"
        super().__init__(
            f"port {listen.port} on {listen.host} cannot be used ({cause}): stop what listens there, or give another "
            f"with {option} (or set {name}.port)"
        )


class Connection(web.RequestHandler):
    """aiohttp's connection of one client, with replies to what never reached a handler in our shape."""

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The reply to bytes that are no request, or to a failure outside of all handlers. Closes the connection."""
        super().handle_error(request, status, exc, message)  # logs; raises where an answer has begun
        reply = _fault_of(status, exc).response()
        reply.force_close()
        return reply

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends a reply; what aiohttp raised before any middleware ran (an `Expect` it does not know) in our shape."""
        if isinstance(resp, web.HTTPException):
            resp = reply_to(resp)
        return await super().finish_response(request, resp, start_time)


class Listener(web.Server):
    """aiohttp's server of an application that was set up, whose connections are ours."""

    def __init__(self, made: web.AppRunner) -> None:
        of = made.server
        if of is None:
            raise RuntimeError("the application was not set up")
        super().__init__(
            of.request_handler, request_factory=of.request_factory, handler_cancellation=of.handler_cancellation
        )

    def __call__(self) -> web.RequestHandler:
        """A connection: called by asyncio for each."""
        quiet: Any = None  # aiohttp's own type does not know that there may be no access log
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            logger=of_libraries(),
            access_log=quiet,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )


@asynccontextmanager
async def listening(server: Server, listen: Listen, routes: list[web.RouteDef], name: str) -> AsyncIterator[None]:
    """Listens until the block ends; `Server.ports` tells where. Raises PortInUse."""
    app = web.Application(middlewares=[errors], client_max_size=server.config.limits.max_body_mib * 1024**2)
    app[SERVER] = server
    app.add_routes(routes)
    # A client that leaves must stop the generation in the engine, so its handler is cancelled at once.
    made = web.AppRunner(app, handler_cancellation=True)
    await made.setup()
    outer = web.ServerRunner(Listener(made), shutdown_timeout=server.config.limits.drain_s)
    await outer.setup()
    try:
        site = web.TCPSite(outer, listen.host, listen.port, reuse_port=server.worker is not None)
        try:
            await site.start()
        except OSError as error:
            raise PortInUse(listen, name, error) from None
        server.ports[name] = outer.addresses[0][1]
        yield
    finally:
        await outer.cleanup()
        await made.cleanup()


def _fault_of(status: int, exc: BaseException | None) -> RequestError:
    """What to tell: of errors of the parser only their kind, since their messages quote the request."""
    if status >= 500:
        return RequestError("the server failed; nothing was passed on", code="internal_error")
    match exc:
        case LineTooLong():
            return HeadTooLong(f"the request line and each header have at most {LONGEST_LINE} bytes")
        case ContentEncodingError():
            return not_read()
        case BadHttpMethod():
            message = "this is no HTTP request: its method is unknown (this port speaks http, not https)"
        case _:
            message = "the request cannot be read: its request line, a header or a chunk is not valid HTTP/1.1"
    return BadRequest(message, code="malformed_request")
