"""`/admin/v1/experiments`: start, look at, stop and remove experiments."""

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from proxy.admin.calls import Wait, admin_of, body_of, json_reply
from proxy.errors import BadRequest
from proxy.exchange import GUARDED, RAW
from proxy.experiments.definition import Experiment


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
    server, caller = admin_of(request)
    wait = Wait.of(request)
    experiment = await body_of(request, Experiment)
    known = (RAW, GUARDED, *server.catalogue.policies.arms)
    for arm in experiment.arms:
        if arm not in known:
            raise BadRequest(f"there is no arm '{arm}'; known are {', '.join(known)}", param="arms")
    generation = await server.experiments.start(experiment, caller.key_id)
    return await wait.reply(server, generation, await server.experiments.report(experiment.id), 201)


async def list_experiments(request: web.Request) -> web.Response:
    """All experiments, the newest first, without their figures."""
    server, _ = admin_of(request)
    shown = [
        {
            "id": one.experiment.id,
            "state": "running" if one.runs else "stopped",
            "arms": one.experiment.arms,
            "started_at": one.started_at,
            "stopped_at": one.stopped_at,
            "reason": one.reason,
        }
        for one in server.experiments.all()
    ]
    return json_reply({"data": shown})


async def show_experiment(request: web.Request) -> web.Response:
    """What an experiment shows so far, with intervals that hold however often one looks."""
    server, _ = admin_of(request)
    return json_reply(await server.experiments.report(request.match_info["experiment"]))


async def stop_experiment(request: web.Request) -> web.Response:
    """Stops an experiment; everyone is guarded from the next request on."""
    server, caller = admin_of(request)
    wait = Wait.of(request)
    body = await body_of(request, StopBody) if request.can_read_body else StopBody()
    name = request.match_info["experiment"]
    generation = await server.experiments.stop(name, body.reason, caller.key_id)
    return await wait.reply(server, generation, await server.experiments.report(name))


async def remove_experiment(request: web.Request) -> web.Response:
    """Forgets a stopped experiment and its figures."""
    server, caller = admin_of(request)
    wait = Wait.of(request)
    name = request.match_info["experiment"]
    generation = await server.experiments.remove(name, caller.key_id)
    return await wait.reply(server, generation, {"removed": name})
