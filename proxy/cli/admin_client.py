"""Calls the admin API of a running server for the command line."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import click
import orjson

from proxy.cli.output import FAILED, NOT_ALLOWED, NOT_FOUND, fail

EVERYWHERE = "wait=applied&timeout_s=30"  # commands answer when all workers and replicas enforce what they changed
_CURE_OF_KEY = (
    "set LETHE_ADMIN_KEY to the key that was printed when the server first started, or that you chose for it; if it is "
    "lost, start the server with LETHE_ADMIN_KEY set to a new one"
)


class AdminError(Exception):
    """A call that failed: what to tell, with the cure, and the exit code that fits."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, repr=False)
class AdminClient:
    """Where the admin API is, and the key for it."""

    url: str
    key: str | None

    def call(self, method: str, path: str, body: Any = None, *, timeout_s: float = 120) -> Any:
        """One call; returns the JSON reply. Ends the command with the server's message when it fails."""
        try:
            return self.attempt(method, path, body, timeout_s=timeout_s)
        except AdminError as error:
            fail(str(error), error.code)

    def attempt(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, timeout_s: float = 120
    ) -> Any:
        """One call; returns the JSON reply. Raises AdminError."""
        status, reply = asyncio.run(self._call(method, path, body, headers or {}, timeout_s))
        if status < 400 and isinstance(reply, dict):
            return reply
        error = reply.get("error") if isinstance(reply, dict) else None
        if not isinstance(error, dict):
            raise AdminError(f"{self.url} is no admin API of Lethe (status {status}): set --admin-url")
        if status == 401:
            what = "the admin key was not accepted" if self.key else "an admin key is needed"
            raise AdminError(f"{what}: {_CURE_OF_KEY}", NOT_ALLOWED)
        if error.get("code") == "unknown_route":
            raise AdminError(f"{self.url} has no admin API (is it the port for clients?): set --admin-url", NOT_FOUND)
        code = {403: NOT_ALLOWED, 404: NOT_FOUND}.get(status, FAILED)
        raise AdminError(str(error.get("message", f"status {status}")), code)

    async def _call(
        self, method: str, path: str, body: Any, headers: dict[str, str], timeout_s: float
    ) -> tuple[int, Any]:
        sent = dict(headers)
        if self.key:
            sent["Authorization"] = f"Bearer {self.key}"
        data = orjson.dumps(body) if body is not None else None
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, self.url.rstrip("/") + path, data=data, headers=sent) as response,
            ):
                raw = await response.read()
        except aiohttp.InvalidURL:
            raise AdminError(f"'{self.url}' is not a URL such as http://127.0.0.1:8081: set --admin-url") from None
        except aiohttp.ClientConnectorError:
            raise AdminError(
                f"no server answers at {self.url}: start one with 'lethe up', or set --admin-url"
            ) from None
        except TimeoutError:
            raise AdminError(f"the server at {self.url} did not answer in time") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise AdminError(f"the call of {self.url} failed ({type(error).__name__}: {error})") from None
        try:
            return response.status, orjson.loads(raw) if raw else {}
        except orjson.JSONDecodeError:
            return response.status, None


def admin_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--admin-url` and the key, as an `AdminClient` in the argument `admin`."""

    @click.option(
        "--admin-url",
        envvar="LETHE_ADMIN_URL",
        default="http://127.0.0.1:8081",
        show_default=True,
        help="Where the admin API listens (LETHE_ADMIN_URL).",
    )
    @click.option("--admin-key", envvar="LETHE_ADMIN_KEY", help="An admin key; better given as LETHE_ADMIN_KEY.")
    @functools.wraps(command)
    def with_client(*args: Any, admin_url: str, admin_key: str | None, **kwargs: Any) -> Any:
        return command(*args, admin=AdminClient(admin_url, admin_key), **kwargs)

    return with_client
