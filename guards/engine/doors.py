"""The engine's doors: every route of its server asks for the key, not only those under `/v1`.

vLLM leaves `/invocations`, `/tokenize` and, where adapters can be loaded at run time, `/adapters` open to whoever
reaches the port. The proxy knows the key and needs nothing else; a stranger on the machine gets past neither the guards
nor the list of adapters. `/health` and `/metrics` stay open: they tell nothing of any request.

Standard library only; an ASGI application around vLLM's own, named on the command line (`--middleware`).
"""

import hashlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

OPEN = frozenset({"/health", "/metrics"})
KEY_VARIABLE = "VLLM_API_KEY"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_REFUSAL = json.dumps({"error": {"message": "a key is needed", "type": "authentication_error", "code": 401}}).encode()


class Keyed:
    """Passes on what is open or carries the key. Raises RuntimeError at start when there is no key to ask for."""

    def __init__(self, app: Application) -> None:
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            raise RuntimeError(f"every route is to ask for a key, but {KEY_VARIABLE} is not set")
        self._app = app
        self._digest = _digest(key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") in OPEN or self._has_key(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_REFUSAL)).encode())]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _has_key(self, scope: Scope) -> bool:
        given = next((value for name, value in scope.get("headers", ()) if name.lower() == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(_digest(key.strip()), self._digest)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
