"""The admin port: forget sets and entries, dry runs, comparisons, keys, change log. Every call needs an admin key."""

from aiohttp import web

from proxy.admin import embedder, entries, keys, looks, sets, state, watch
from proxy.experiments import api as experiments_api


def routes() -> list[web.RouteDef]:
    """All routes for sets, entries, decisions, keys, the embedder, experiments and watches."""
    rooms = (sets, entries, looks, state, keys, embedder, experiments_api, watch)
    return [route for room in rooms for route in room.routes()]
