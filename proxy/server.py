"""What the handlers of both ports share: the server's resources, and how errors become replies."""

import importlib.metadata
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from guards.policy import PolicyError
from indexes.entries import EntryError
from indexes.ledger.records import Conflict, LedgerError, Missing
from proxy.assistants.life import Assistants
from proxy.assistants.offsets import Offsets
from proxy.audit.log import AuditLog
from proxy.catalogue.catalogue import Catalogue
from proxy.catalogue.embedder_change import EmbedderChange
from proxy.config import Config
from proxy.decide import Decider
from proxy.errors import (
    BadRequest,
    ClientLeft,
    Conflicting,
    GuardUnavailable,
    NotFound,
    RequestError,
    UnreadEncoding,
    error_body,
)
from proxy.experiments.running import Experiments
from proxy.experiments.shadow import ShadowTraffic
from proxy.logs import raised_at
from proxy.meaning import Meaning
from proxy.metrics import Metrics
from proxy.rates import Rates
from proxy.upstream import UpstreamClient
from proxy.workers.following import Following
from proxy.workers.slot import Slot

CLIENT_LEFT = 499  # nobody reads it; the connection is gone

READ_ENCODINGS = frozenset(("", "identity", "gzip", "deflate"))
"""Of bodies: what aiohttp undoes. It passes any other on as it came, so that a body of it would not be what it says."""

_log = structlog.get_logger("lethe.server")


@dataclass(frozen=True, repr=False)
class Server:
    """The resources of one running server."""

    config: Config
    catalogue: Catalogue
    assistants: Assistants
    offsets: Offsets
    """What of the assistants the engine can subtract now."""
    decider: Decider
    meaning: Meaning
    upstream: UpstreamClient
    metrics: Metrics
    experiments: Experiments
    shadow: ShadowTraffic
    secret: bytes
    """Keys the choice of refusal wordings and the cache salts; the same in all processes on one ledger."""
    audit: AuditLog
    embedder: EmbedderChange
    """Which embedder is in force, and its change for another."""
    rates: Rates
    """How much each key may ask of this process."""
    following: Following | None = None
    """How it keeps up with the other processes on its ledger; None where it is the only one."""
    worker: Slot | None = None
    """Its place among several processes on the same ports; None where it is the only one."""
    started_at: int = field(default_factory=lambda: int(time.time()))
    version: str = field(default_factory=lambda: importlib.metadata.version("lethe"))
    ports: dict[str, int] = field(default_factory=dict)
    """Where it listens, by the name of the setting: `listen` for clients, `admin`."""

    def problem(self) -> str | None:
        """Why the server is not ready; None when it is."""
        return self.catalogue.broken or self.upstream.view.problem or self.offsets.problem


SERVER = web.AppKey("server", Server)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


ErrorShape = Callable[[RequestError], bytes]

ERROR_SHAPE: web.RequestKey[ErrorShape] = web.RequestKey("error_shape")
"""Where a handler leaves its own `ErrorShape` in the request, when its clients expect another than OpenAI's."""


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure in OpenAI's error shape; what nobody foresaw is a 500 that says nothing of the request."""
    try:
        _check_encoding(request)
        return await handler(request)
    except RequestError as error:
        shape: ErrorShape | None = request.get(ERROR_SHAPE)
        return error.response(shape and shape(error))
    except ClientLeft:
        return web.Response(status=CLIENT_LEFT)
    except (EntryError, PolicyError) as error:
        return BadRequest(str(error)).response()
    except Missing as error:
        return NotFound(str(error)).response()
    except Conflict as error:
        return Conflicting(str(error)).response()
    except LedgerError:
        _log.error("ledger_failed", route=_route(request))
        return GuardUnavailable("the ledger cannot be used").response()
    except web.RequestPayloadError:
        return BadRequest("the body cannot be read: it is not what its headers say").response()
    except web.HTTPException as error:
        return reply_to(error)
    except Exception as error:  # the last line of defence: counted, logged by type and place, never by content
        _log.error("unexpected", route=_route(request), fault=type(error).__name__, at=raised_at(error))
        failure = RequestError("the server failed; nothing was passed on", code="internal_error")
        shape = request.get(ERROR_SHAPE)
        return failure.response(shape and shape(failure))


def reply_to(error: web.HTTPException) -> web.Response:
    """What aiohttp raises by itself, in our shape; its own text may quote the request."""
    if isinstance(error, web.HTTPNotFound):
        return NotFound("there is no such route here", code="unknown_route").response()
    headers = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = error.headers["Allow"]
        body = error_body(f"use {headers['Allow']} here", "invalid_request_error", None, "wrong_method")
    else:
        body = error_body(error.reason, "invalid_request_error", None, None)
    return web.Response(status=error.status, body=body, content_type="application/json", headers=headers)


def _check_encoding(request: web.Request) -> None:
    if ", ".join(request.headers.getall("Content-Encoding", ())).lower() not in READ_ENCODINGS:
        raise not_read()


def not_read() -> UnreadEncoding:
    """The error for a body that this server would not be able to read, and so could not check."""
    return UnreadEncoding("the body's Content-Encoding is not read here: use gzip or deflate, or send it as it is")


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"
