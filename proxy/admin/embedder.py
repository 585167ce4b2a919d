"""The embedder: which one compares texts, and changing it while the server serves."""

from pathlib import Path
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from indexes.embedder import EmbedderError
from proxy.admin.calls import APPLIED, Wait, admin_of, body_of, json_reply
from proxy.catalogue.choice import Source
from proxy.config import checked_url
from proxy.errors import BadRequest

ADVICE = "similarities mean something else with another embedder: run 'lethe calibrate' for each set"


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.get("/admin/v1/embedder", show_embedder),
        web.put("/admin/v1/embedder", use_embedder),
    ]


def _absolute(path: str | None) -> str | None:
    if path is not None and not Path(path).is_absolute():
        raise ValueError("it must be absolute: every process opens the same folder")
    return path


class EmbedderBody(BaseModel):
    """A prepared folder, a server, or, with neither, the configured embedder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str | None, AfterValidator(_absolute)] = Field(
        None, description="a prepared folder, where each process on the ledger finds it"
    )
    url: Annotated[str | None, AfterValidator(checked_url)] = Field(
        None, description="a server with /v1/embeddings; its key is embedder.api_key of the configuration"
    )
    model: str | None = Field(None, description="the model that the server embeds with")
    prefix: str = Field("", description="written before each text that the server embeds")

    @model_validator(mode="after")
    def _one_place(self) -> "EmbedderBody":
        if (self.url is None) != (self.model is None) or (self.url is not None and self.path is not None):
            raise ValueError("with 'url' goes 'model', and no 'path'")
        return self


async def show_embedder(request: web.Request) -> web.Response:
    """The embedder in force, and how far a change of it has come."""
    server, _ = admin_of(request)
    return json_reply(server.embedder.status())


async def use_embedder(request: web.Request) -> web.Response:
    """Changes the embedder of all processes, in the background; 202 while they still use another one."""
    server, caller = admin_of(request)
    body, wait = await body_of(request, EmbedderBody), Wait.of(request)
    try:
        generation = await server.embedder.use(Source(**body.model_dump()), actor=caller.key_id)
    except EmbedderError as error:
        raise BadRequest(f"{error}; nothing was changed") from None
    applied = await server.embedder.applied(wait.timeout_s or 0)
    shown = server.embedder.status() | {"generation": generation, "advice": ADVICE}
    told = {"applied": applied} if request.query.get("wait") == APPLIED else {}
    return json_reply(shown | told, 200 if applied else 202)
