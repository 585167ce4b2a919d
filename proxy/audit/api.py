"""The admin port's calls for the audit log and receipts. Every call needs an admin key."""

from aiohttp import web

from indexes.entries import Entry
from proxy.admin.calls import admin_of, body_of, json_reply, set_of
from proxy.admin.models import MAX_BATCH, ReceiptBody
from proxy.audit.chain import Record, standing
from proxy.audit.receipt import receipt
from proxy.errors import Conflicting
from proxy.server import Server

ATTEMPTS = 5  # at a receipt of a set that is being changed


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.get("/admin/v1/audit/log", show_log),
        web.get("/admin/v1/audit/key", show_key),
        web.post("/admin/v1/sets/{set}/receipts", make_receipt),
    ]


async def show_log(request: web.Request) -> web.StreamResponse:
    """The audit log as JSON lines, each record signed and chained to the one before."""
    server, _ = admin_of(request)
    await server.audit.follow()
    if not server.audit.path.exists():
        return web.Response()
    return web.FileResponse(server.audit.path, headers={"Content-Type": "application/jsonl"})


async def show_key(request: web.Request) -> web.Response:
    """The public key that signs log and receipts, and the last record."""
    server, _ = admin_of(request)
    head = await server.audit.follow()
    return json_reply({"key": str(server.audit.key.public), "number": head.number, "hash": head.hash})


async def make_receipt(request: web.Request) -> web.Response:
    """A signed receipt of a set: entries by reference and hash, since when, who changed what. Holds no text."""
    server, _ = admin_of(request)
    body = await body_of(request, ReceiptBody)
    forget_set = set_of(server, request)
    entries, history = await _as_of_one_moment(server, forget_set.id)
    made = receipt(
        server.audit,
        forget_set,
        entries,
        history,
        server.audit.head,
        server={
            "version": server.version,
            "generation": server.catalogue.current.number,
            "models": list(server.upstream.view.models),
        },
        evidence=body.evidence,
    )
    return json_reply(made, status=201)


async def _as_of_one_moment(server: Server, set_id: str) -> tuple[list[Entry], list[Record]]:
    """Entries of a set and the records that led to them. Raises Conflicting while the set does not hold still."""
    for _ in range(ATTEMPTS):
        before = server.catalogue.current.number
        entries = await _all(server, set_id)
        history = await server.audit.records(set_id)
        if all(one["generation"] <= before for one in standing(history)):
            return entries, history
    raise Conflicting(f"'{set_id}' is being changed all the while: ask again when it is not")


async def _all(server: Server, set_id: str) -> list[Entry]:
    found: list[Entry] = []
    while page := await server.catalogue.entries(set_id, found[-1].id if found else "", MAX_BATCH):
        found += page
    return found
