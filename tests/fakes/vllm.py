"""A scripted vLLM: a real HTTP server on a real socket that answers with the events of vLLM 0.32, and with its faults.

async with FakeVllm.running() as engine:
    engine.answers(Say("Hello"), Say(" there"))            # every request that is not scripted otherwise
    engine.scripts(Script((Say("a"), Stall())))            # one script for each request to come, in order
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from aiohttp import web

from tests.fakes.composite import Composite
from tests.fakes.loopback import served
from tests.fakes.vllm_shapes import (
    MAX_MODEL_LEN,
    MODEL,
    Close,
    Fail,
    Raw,
    Reached,
    Say,
    Script,
    Shape,
    Stall,
    Step,
    Wait,
    as_json,
    tokens_of,
)
from tests.fakes.vllm_typed_shapes import MessagesShape, ResponsesShape, prompt_tokens_of

AnyShape = Shape | ResponsesShape | MessagesShape


@dataclass
class Seen:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes
    cancelled: bool = False
    """The client left before the answer was complete."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    @property
    def text(self) -> str:
        return self.raw.decode()


class FakeVllm:
    """The server. `seen` holds the generations that were asked for, `counted` the calls of /tokenize."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.counted: list[Seen] = []
        self.sent: bytes = b""
        """What the last stream sent, as one piece."""
        self.arrived = asyncio.Event()
        """Set when a generation is asked for; a test may clear it."""
        self.tokenizes = True
        self.tokenizing: asyncio.Event | None = None
        """What /tokenize waits for."""
        self.healthy = True
        self.words: list[str] = []
        """Its vocabulary."""
        self.embeds = True
        """It serves /v1/embeddings; one with a text model does not."""
        self.composite = Composite()
        self.probes: list[Seen] = []
        """The requests of canaries; they are not among `seen`."""
        self.url = ""
        self._default = Script((Say("Hello"), Say(" there"), Say(".")))
        self._scripts: deque[Script] = deque()

    def answers(self, *steps: Step, **how: Any) -> None:
        """The script of every request that has none of its own."""
        self._default = Script(steps, **how)

    def scripts(self, *scripts: Script) -> None:
        """One script for each of the next requests."""
        self._scripts.extend(scripts)

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["FakeVllm"]:
        """The server on a free port of loopback."""
        fake = cls()
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_get("/health", fake._health)
        app.router.add_get("/v1/models", fake._models)
        app.router.add_post("/tokenize", fake._tokenize)
        app.router.add_post("/v1/load_lora_adapter", fake._load)
        app.router.add_post("/v1/unload_lora_adapter", fake._unload)
        app.router.add_post("/v1/chat/completions", fake._generate)
        app.router.add_post("/v1/completions", fake._generate)
        app.router.add_post("/v1/responses", fake._generate)
        app.router.add_post("/v1/messages", fake._generate)
        app.router.add_post("/v1/embeddings", fake._embed)
        app.router.add_post("/detokenize", fake._detokenize)
        app.router.add_route("*", "/{elsewhere:.*}", _not_found)
        async with served(app) as fake.url:
            yield fake

    # -- routes

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _models(self, _: web.Request) -> web.Response:
        card = {"id": MODEL, "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": MAX_MODEL_LEN}
        worn = [
            {"id": name, "object": "model", "created": 1, "owned_by": "vllm", "root": folder, "parent": MODEL}
            for name, folder in self.composite.adapters.items()
            if not self.composite.unlisted
        ]
        self.composite.unlisted = max(0, self.composite.unlisted - 1)
        return web.json_response({"object": "list", "data": [card, *worn]})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, composite = body["lora_name"], self.composite
        composite.begun.set()
        if composite.loading is not None:
            await composite.loading.wait()
        if composite.refuses is not None:
            return _error(500, composite.refuses, "InternalServerError", None)
        if name in composite.adapters:
            return _error(400, f"The lora adapter '{name}' has already been loaded.", "InvalidUserInput", None)
        composite.adapters[name] = body["lora_path"]
        composite.loads.append(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if self.composite.adapters.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError", None)
        self.composite.unloads.append(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def _tokenize(self, request: web.Request) -> web.Response:
        seen = await _seen(request)
        self.counted.append(seen)
        if self.tokenizing is not None:
            await self.tokenizing.wait()
        if not self.tokenizes:
            return web.Response(status=500)
        count = tokens_of(seen.body)
        counted = {"count": count, "max_model_len": MAX_MODEL_LEN, "tokens": list(range(count)), "token_strs": None}
        return web.Response(body=as_json(counted), content_type="application/json")

    async def _detokenize(self, request: web.Request) -> web.Response:
        """Token n is the n-th of `words`; others are nothing, as for vLLM."""
        tokens = (await request.json())["tokens"]
        said = [self.words[token] for token in tokens if token < len(self.words)]
        return web.Response(body=as_json({"prompt": "".join(said)}), content_type="application/json")

    async def _embed(self, request: web.Request) -> web.Response:
        if not self.embeds:
            return await _not_found(request)
        seen = await _seen(request)
        self.seen.append(seen)
        given = seen.body["input"]
        texts = [given] if isinstance(given, str) or isinstance(given[0], int) else given
        rows = [{"index": i, "object": "embedding", "embedding": [0.5, 0.25]} for i in range(len(texts))]
        usage = {"prompt_tokens": 2, "total_tokens": 2, "completion_tokens": 0, "prompt_tokens_details": None}
        answer = {"id": "embd-1", "object": "list", "created": 1, "model": MODEL, "data": rows, "usage": usage}
        self.sent = as_json(answer)
        return web.Response(body=self.sent, content_type="application/json")

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        seen = await _seen(request)
        if seen.body.get("return_tokens_as_token_ids") and "logprob_token_ids" not in seen.body:  # of a canary
            self.probes.append(seen)
            return self._first_token(seen.body)
        self.seen.append(seen)
        self.arrived.set()
        script = self._scripts.popleft() if self._scripts else self._default
        try:
            return await self._answer(request, seen, script)
        except (asyncio.CancelledError, ConnectionResetError):
            seen.cancelled = True
            raise
        finally:
            seen.ended.set()

    async def _answer(self, request: web.Request, seen: Seen, script: Script) -> web.StreamResponse:
        if script.status != 200:
            return web.Response(
                status=script.status, body=script.body, headers={"Content-Type": "application/json", **script.headers}
            )
        problem = _problem(seen.raw, self.composite)
        if problem is not None:
            return _as_anthropic(problem) if seen.path == "/v1/messages" else problem
        shape = _shape_of(seen)
        if seen.body.get("stream"):
            return await self._stream(request, shape, script)
        return await self._whole(request, shape, script)

    # -- answers

    def _first_token(self, body: dict[str, Any]) -> web.Response:
        tops = {f"token_id:{token}": value for token, value in self.composite.logprobs(body).items()}
        choice = {"index": 0, "text": "x", "logprobs": {"top_logprobs": [tops]}, "finish_reason": "length"}
        return web.json_response({"id": "cmpl-1", "object": "text_completion", "created": 1, "choices": [choice]})

    async def _stream(self, request: web.Request, shape: AnyShape, script: Script) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", **script.headers})
        await response.prepare(request)
        self.sent = b""
        for step in shape.stream(script):
            if isinstance(step, bytes):
                await self._send(response, step, script.cuts)
            elif await _pauses(step):
                continue
            else:
                _break(request)
                return response
        await response.write_eof()
        return response

    async def _send(self, response: web.StreamResponse, data: bytes, cuts: tuple[int, ...]) -> None:
        start = len(self.sent)
        self.sent += data
        places = [0, *(cut - start for cut in cuts if 0 < cut - start < len(data)), len(data)]
        for begin, end in pairwise(places):
            await response.write(data[begin:end])
            if len(places) > 2:  # so that each piece is a packet of its own
                await asyncio.sleep(0.001)

    async def _whole(self, request: web.Request, shape: AnyShape, script: Script) -> web.StreamResponse:
        for step in script.steps:
            match step:
                case Raw(data):
                    self.sent = data
                    return web.Response(body=data, content_type="application/json")
                case Fail(message):
                    return _error(500, message, "InternalServerError", None)
                case Wait() | Reached() | Stall() | Close():
                    if not await _pauses(step):
                        response = web.StreamResponse(headers={"Content-Length": "999"})
                        await response.prepare(request)
                        await response.write(b'{"id":"chatcmpl-1","object":')
                        _break(request)
                        return response
                case _:
                    pass
        self.sent = as_json(shape.whole(script))
        return web.Response(body=self.sent, content_type="application/json")


async def _pauses(step: Wait | Reached | Stall | Close) -> bool:
    """Carries a step out that sends nothing; False where the connection is to break."""
    match step:
        case Wait(event):
            await event.wait()
        case Reached(event):
            event.set()
        case Stall():
            await asyncio.Event().wait()
        case Close():
            return False
    return True


def _shape_of(seen: Seen) -> AnyShape:
    if seen.path == "/v1/responses":
        return ResponsesShape(seen.body)
    if seen.path == "/v1/messages":
        return MessagesShape(seen.body)
    return Shape(chat=seen.path.endswith("chat/completions"), body=seen.body)


async def _not_found(_: web.Request) -> web.Response:
    return web.Response(status=404, body=as_json({"detail": "Not Found"}), content_type="application/json")


async def _seen(request: web.Request) -> Seen:
    return Seen(request.path, dict(request.headers), await request.read())


def _problem(raw: bytes, composite: Composite) -> web.Response | None:
    """What vLLM says to a few requests that are wrong."""
    body = json.loads(raw)
    if body["model"] != MODEL and body["model"] not in composite.adapters:
        message = f"The model `{body['model']}` does not exist. Valid aliases: {MODEL}."
        return _error(404, message, "NotFoundError", "model")
    temperature = body.get("temperature", 1.0)
    if not isinstance(temperature, int | float):
        message = (
            "1 validation error:\n  {'type': 'float_parsing', 'loc': 'body.temperature', 'msg': 'Input should be a "
            f"valid number, unable to parse string as a number', 'input': '{temperature}'}}"
        )
        return _error(400, message, "Bad Request", "body.temperature")
    if temperature < 0:
        message = f"temperature must be non-negative, got {temperature}. (parameter=temperature, value={temperature})"
        return _error(400, message, "BadRequestError", "temperature")
    if temperature == 0 and (body.get("n") or 1) > 1:
        return _error(400, f"n must be 1 when using greedy sampling, got {body['n']}.", "BadRequestError", None)
    typed = "input" in body or "system" in body
    count = prompt_tokens_of(body) if typed else tokens_of(body)
    if count > MAX_MODEL_LEN:
        message = (
            f"This model's maximum context length is {MAX_MODEL_LEN} tokens. However, your prompt contains at least "
            f"{count} input tokens, which exceeds this limit even without any output tokens. Please reduce the length "
            f"of the input prompt. (parameter=input_tokens, value={count})"
        )
        return _error(400, message, "BadRequestError", "input_tokens")
    return None


def _error(status: int, message: str, kind: str, param: str | None) -> web.Response:
    error = {"message": message, "type": kind, "param": param, "code": status}
    return web.Response(status=status, body=as_json({"error": error}), content_type="application/json")


def _as_anthropic(problem: web.Response) -> web.Response:
    """The same error as the route for Anthropic's clients says it; a body that cannot be read is said as elsewhere."""
    error = json.loads(problem.body)["error"]  # type: ignore[arg-type]
    if (error["param"] or "").startswith("body."):
        return problem
    said = {"type": "error", "error": {"type": error["type"], "message": error["message"]}}
    return web.Response(status=problem.status, body=as_json(said), content_type="application/json")


def _break(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
