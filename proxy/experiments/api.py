"""`/admin/v1/experiments`: start, look at, stop and remove experiments."""

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from proxy.errors import BadRequest
from proxy.exchange import GUARDED, RAW
from proxy.experiments.definition import Experiment
from proxy.server import SERVER, Server
from proxy.validation import parsed


class StopBody(BaseModel):
    """Why an experiment is stopped."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    reason: str = Field("stopped by an admin", max_length=200)


def routes() -> list[web.RouteDef]:
    """The routes of the admin port for experiments."""
    one = "/admin/v1/experiments/{experiment}"
    return [
        web.post("/admin/v1/experiments", start_experiment),
        web.get("/admin/v1/experiments", list_experiments),
        web.get(one, show_experiment),
        web.post(f"{one}:stop", stop_experiment),
        web.delete(one, remove_experiment),
    ]


async def start_experiment(request: web.Request) -> web.Response:
    """Starts an experiment; it divides the requests that name no arm, from the next one on."""
    server = _admin(request)
    experiment = parsed(Experiment, await _body(request))
    known = (RAW, GUARDED, *server.catalogue.policies.arms)
    for arm in experiment.arms:
        if arm not in known:
            raise BadRequest(f"there is no arm '{arm}'; known are {', '.join(known)}", param="arms")
    return _json(await server.experiments.start(experiment), status=201)


async def list_experiments(request: web.Request) -> web.Response:
    """All experiments, the newest first, without their figures."""
    server = _admin(request)
    shown = [
        {
            "id": one.experiment.id,
            "state": "stopped" if one.stopped_at else "running",
            "arms": one.experiment.arms,
            "started_at": one.started_at,
            "stopped_at": one.stopped_at,
            "reason": one.reason,
        }
        for one in await server.experiments.all()
    ]
    return _json({"data": shown})


async def show_experiment(request: web.Request) -> web.Response:
    """What an experiment shows so far, with intervals that hold however often one looks."""
    server = _admin(request)
    return _json(await server.experiments.report(request.match_info["experiment"]))


async def stop_experiment(request: web.Request) -> web.Response:
    """Stops an experiment; everyone is guarded from the next request on."""
    server = _admin(request)
    body = parsed(StopBody, await _body(request) if request.can_read_body else {})
    return _json(await server.experiments.stop(request.match_info["experiment"], body.reason))


async def remove_experiment(request: web.Request) -> web.Response:
    """Forgets a stopped experiment and its figures."""
    server = _admin(request)
    await server.experiments.remove(request.match_info["experiment"])
    return _json({"removed": request.match_info["experiment"]})


def _admin(request: web.Request) -> Server:
    server = request.app[SERVER]
    server.catalogue.keys.admin(request.headers.get("Authorization"))
    return server


async def _body(request: web.Request) -> object:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error.msg} (line {error.lineno})") from None


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
