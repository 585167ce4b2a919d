"""Errors that reach a client, by whose fault it is. Always in OpenAI's shape: {"error": {message, type, param, code}}.

RequestError
├── BadRequest        400  the client's request
├── Unauthenticated   401  no key, or a wrong one
├── Forbidden         403  a key without the scope
├── NotFound          404  no such route, model, set or entry
├── Conflicting       409  it exists already
├── TooLarge          413  the body is larger than the limit
├── UnreadEncoding    415  the body is compressed in a way that is not read here
├── HeadTooLong       431  the request line or a header is longer than the server reads
├── RateLimited       429  a key asked for more than it may
├── UpstreamFailed    502  the engine answered wrongly or not at all
│   └── ModelGone     502  the engine lost a model, or an adapter, that it had
├── UpstreamSlow      504  the engine did not answer in time
├── GuardUnavailable  503  a guard could not decide; nothing passes
└── EngineError       4xx  the engine refused the request; its status and message

ClientLeft                 nobody is there to answer
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from aiohttp import web

TOO_MANY_REQUESTS = 429

PROMPTS = frozenset(("messages", "prompt", "input", "instructions", "system"))
"""Fields in which the proxy's own note may stand."""


class RequestError(Exception):
    """Base of all errors with a reply. The message is written for the client and holds no text of any prompt."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.reply_code = code or self.code
        self.retry_after_s = retry_after_s

    def body(self) -> bytes:
        """The JSON body of the reply."""
        return error_body(self.message, self.type, self.param, self.reply_code)

    @property
    def reply_status(self) -> int:
        """The status of the reply."""
        return self.status

    def response(self, body: bytes | None = None) -> web.Response:
        """The whole reply; `body` where another shape than OpenAI's is expected."""
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else {}
        return web.Response(
            body=body or self.body(), status=self.reply_status, content_type="application/json", headers=headers
        )


class BadRequest(RequestError):
    status = 400
    type = "invalid_request_error"


class Unauthenticated(RequestError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(RequestError):
    status = 403
    type = "permission_error"
    code = "insufficient_scope"


class NotFound(RequestError):
    status = 404
    type = "not_found_error"
    code = "not_found"


class Conflicting(RequestError):
    status = 409
    type = "conflict_error"
    code = "conflict"


class TooLarge(RequestError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnreadEncoding(RequestError):
    status = 415
    type = "invalid_request_error"
    code = "unsupported_encoding"


class HeadTooLong(RequestError):
    status = 431
    type = "invalid_request_error"
    code = "headers_too_long"


class RateLimited(RequestError):
    """`limit` names the allowance that is used up; `headers` tell how much there is of each."""

    status = TOO_MANY_REQUESTS
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, limit: str, headers: Mapping[str, str], retry_after_s: int) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.limit = limit
        self.headers = headers

    def response(self, body: bytes | None = None) -> web.Response:
        """The whole reply, with what the key has left."""
        reply = super().response(body)
        reply.headers.update(self.headers)
        return reply


class UpstreamFailed(RequestError):
    status = 502
    type = "upstream_error"
    code = "upstream_failed"


class ModelGone(UpstreamFailed):
    """The engine's 404: it was started anew, or somebody took the model away."""


class UpstreamSlow(RequestError):
    status = 504
    type = "upstream_error"
    code = "upstream_timeout"


class GuardUnavailable(RequestError):
    status = 503
    type = "server_error"
    code = "guard_unavailable"


class EngineError(RequestError):
    """The engine refused the request: its status and message, in our shape."""

    type = "invalid_request_error"

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code, retry_after_s=retry_after_s)
        self.engine_status = status

    def speaks_of(self, body: Mapping[str, Any]) -> bool:
        """True when it names a setting that the client sent, and not the prompt; or asks to come again later."""
        name = (self.param or "").removeprefix("body.").split(".", 1)[0]
        return (name in body and name not in PROMPTS) or self.engine_status == TOO_MANY_REQUESTS

    @property
    def reply_status(self) -> int:
        return self.engine_status


class ClientLeft(Exception):
    """The client closed its connection while it was being answered."""


def error_body(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    """An error in OpenAI's shape."""
    error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
    return orjson.dumps({"error": error})
