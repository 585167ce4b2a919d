"""A scripted Lethe for runs and attacks: both ports of a server on one, with answers by question and arm."""

import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.fakes.loopback import served

MODEL = "fiction-1"
KEY = "key-of-the-scripted-server"

Speaks = Callable[[str, str], str]
"""Question and arm to answer."""


class ScriptedLethe:
    """Answers every chat by `speaks`; scores every answer by its length. Remembers what it was asked."""

    def __init__(self, speaks: Speaks) -> None:
        self.speaks = speaks
        self.url = ""
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        """Question, arm and body of each request."""
        self.scored: list[dict[str, Any]] = []
        self.policies: dict[str, dict[str, Any]] = {"art": {"threshold": 0.8}}
        self.ladders: list[tuple[str, ...]] = []
        """The ladder in force at each request."""
        self.failing = 0
        """How many of the next requests get a 503."""
        self.declines: str | None = None
        """A field whose presence is answered with a 400."""
        self.explains = ""
        """What that 400 says beside."""
        self.breaks_off: int | None = None
        """After how many words the connection of a stream breaks, without its end."""
        self.forbids_after: int | None = None
        """After how many answers the key is refused."""
        self.entries: list[dict[str, Any]] = []
        self.stuck: set[str] = set()
        """Sets that cannot be changed."""

    @classmethod
    @asynccontextmanager
    async def running(cls, speaks: Speaks) -> AsyncIterator["ScriptedLethe"]:
        made = cls(speaks)
        app = web.Application()
        app.router.add_get("/v1/models", made._models)
        app.router.add_post("/v1/chat/completions", made._chat)
        app.router.add_post("/v1/completions", made._chat)
        app.router.add_get("/admin/v1/sets", made._sets)
        app.router.add_patch("/admin/v1/sets/{set}", made._patch)
        app.router.add_get("/admin/v1/sets/{set}/entries", made._entries)
        app.router.add_post("/admin/v1/score", made._score)
        async with served(app) as made.url:
            yield made

    async def _models(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(401, "a valid API key is needed", None)
        return web.json_response({"data": [{"id": MODEL}, {"id": f"{MODEL}:raw"}, {"id": f"{MODEL}:strict"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        arm = request.headers["x-lethe-arm"]
        question = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        if self.forbids_after is not None and len(self.asked) >= self.forbids_after:
            return _error(401, "a valid API key is needed", None)
        self.asked.append((question, arm, body))
        self.ladders.append(tuple(self.policies["art"].get("on_match", ())))
        if self.failing:
            self.failing -= 1
            return _error(503, "a guard is unavailable", "guard_unavailable")
        if self.declines and self.declines in body:
            return _error(400, f"'{self.declines}' is not available {self.explains}", "unsupported_parameter")
        text = self.speaks(question, arm)
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            choices = [choice | {"index": index} for index in range(body.get("n") or 1)]
            return web.json_response({"choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
        findings = [{"verdict": "refuse", "enforced": True}] if arm != "raw" else []
        response = web.StreamResponse(headers={"x-lethe-overhead-ms": "1.5", "x-lethe-findings": json.dumps(findings)})
        await response.prepare(request)
        for place, piece in enumerate(text.split(" ")):
            if place == self.breaks_off and request.transport is not None:
                request.transport.abort()
            await _send(response, {"choices": [{"index": 0, "delta": {"content": f"{piece} "}, "finish_reason": None}]})
        await _send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        await _send(response, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(text.split())}})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _sets(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name, "policy": policy} for name, policy in self.policies.items()]})

    async def _patch(self, request: web.Request) -> web.Response:
        if request.match_info["set"] in self.stuck:
            return _error(503, "the ledger cannot be written", "ledger_unavailable")
        self.policies[request.match_info["set"]] = (await request.json())["policy"]
        return web.json_response({})

    async def _entries(self, request: web.Request) -> web.Response:
        if request.match_info["set"] not in self.policies:
            return _error(404, "there is no such set", "not_found")
        return web.json_response({"data": self.entries, "next": None})

    async def _score(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.scored.append(body)
        known = body["arm"] == "raw"
        answers = [_scored(answer) if known else {"logprobs": [None], "ranks": [None]} for answer in body["answers"]]
        return web.json_response({"rung": None if known else "refuse", "answers": answers})


def _scored(answer: str) -> dict[str, Any]:
    """Shorter words are likelier; words of one letter are the likeliest."""
    words = answer.split()
    return {"logprobs": [-math.log(len(w)) for w in words], "ranks": [min(len(w), 9) for w in words]}


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")


def _error(status: int, message: str, code: str | None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)
