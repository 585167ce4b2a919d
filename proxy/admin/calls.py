"""What the calls of the admin port share: who asks, the body, waiting for others, the reply."""

import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel

from indexes.entries import Entry
from indexes.ledger.records import Once
from proxy.errors import BadRequest, NotFound, TooLarge
from proxy.keys import Caller
from proxy.server import SERVER, Server
from proxy.validation import parsed

LOCAL, APPLIED = "local", "applied"
WAIT_S, MAX_WAIT_S = 10, 60  # longer than a lease: a process that was cut off is waited for no longer than that
MAX_IDEMPOTENCY_KEY = 200  # characters
Model = TypeVar("Model", bound=BaseModel)


def admin_of(request: web.Request) -> tuple[Server, Caller]:
    server = request.app[SERVER]
    return server, server.catalogue.keys.admin(request.headers.get("Authorization"))


@dataclass(frozen=True)
class Wait:
    """How long a change is waited for, until all enforce it. Read before the change is made."""

    timeout_s: int | None

    @classmethod
    def of(cls, request: web.Request) -> "Wait":
        """What the query asks for. Raises BadRequest."""
        wanted = request.query.get("wait", LOCAL)
        if wanted not in (LOCAL, APPLIED):
            raise BadRequest(f"'wait' is {LOCAL} or {APPLIED}", param="wait")
        timeout_s = number_of(request, "timeout_s", WAIT_S, range(1, MAX_WAIT_S + 1))
        return cls(timeout_s if wanted == APPLIED else None)

    async def reply(self, server: Server, generation: int, body: dict[str, Any], status: int = 200) -> web.Response:
        """The reply to a change that was made. 202: it is durable, and enforced here but not everywhere yet."""
        if self.timeout_s is None:
            return json_reply(body, status)
        if server.following is None:
            return json_reply(body | {"applied": True, "members": 1, "behind": []}, status)
        reach = await server.following.reach(generation, self.timeout_s)
        applied = {"applied": not reach.behind, "members": reach.members, "behind": list(reach.behind)}
        return json_reply(body | applied, 202 if reach.behind else status)


def set_of(server: Server, request: web.Request) -> Any:
    name = request.match_info["set"]
    found = server.catalogue.current.sets.get(name)
    if found is None:
        raise NotFound(f"there is no set '{name}'")
    return found


async def entry_of(server: Server, request: web.Request) -> Entry:
    return await server.catalogue.entry(request.match_info["set"], request.match_info["entry"])


async def json_of(request: web.Request) -> Any:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error.msg} (line {error.lineno})") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge("the request is larger than limits.max_body_mib; use entries:import") from None


async def body_of(request: web.Request, model: type[Model]) -> Model:
    return parsed(model, await json_of(request))


def number_of(request: web.Request, name: str, default: int, allowed: range) -> int:
    """A number of the query. Raises BadRequest."""
    given = request.query.get(name, str(default))
    try:
        number = int(given)
    except ValueError:
        number = -1
    if number not in allowed:
        raise BadRequest(f"'{name}' is a number from {allowed.start} to {allowed.stop - 1}", param=name)
    return number


def idempotency_key(request: web.Request) -> str | None:
    """Raises BadRequest for one that could not be stored."""
    key = request.headers.get("Idempotency-Key")
    if key and not (key.isascii() and len(key) <= MAX_IDEMPOTENCY_KEY):
        raise BadRequest(f"'Idempotency-Key' is ASCII text of at most {MAX_IDEMPOTENCY_KEY} characters")
    return key or None


def once_of(request: web.Request, raw: Any) -> Once | None:
    key = idempotency_key(request)
    if not key:
        return None
    digest = hashlib.sha256(orjson.dumps([request.path, raw], option=orjson.OPT_SORT_KEYS)).hexdigest()
    sealing = request.app[SERVER].catalogue.sealing  # a plain digest would confirm whoever guesses what is sealed
    return Once(key, sealing.text(digest) if sealing else digest)


def json_reply(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
