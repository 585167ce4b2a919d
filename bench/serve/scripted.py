"""An engine of the bench's own that sends a chunk every half millisecond: beside it the proxy's own cost shows."""

import argparse
import asyncio

from aiohttp import web

MODEL = "scripted"
PACE_S = 0.0005
_CHUNK = (
    b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":0,"model":"scripted","choices":'
    b'[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n'
)
_LAST = _CHUNK.replace(b'"finish_reason":null', b'"finish_reason":"stop"')


async def _chat(request: web.Request) -> web.StreamResponse:
    chunks = (await request.json())["max_tokens"]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for i in range(chunks):
        await response.write(_CHUNK if i < chunks - 1 else _LAST)
        await asyncio.sleep(PACE_S)  # chunks that come together would be forwarded together, and cost less
    await response.write(b"data: [DONE]\n\n")
    return response


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": MODEL, "max_model_len": 100_000}]})


async def _tokens(_: web.Request) -> web.Response:
    return web.json_response({"count": 1})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/chat/completions", _chat),
            web.get("/v1/models", _models),
            web.get("/health", _models),
            web.post("/tokenize", _tokens),
        ]
    )
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port, print=None, access_log=None)


if __name__ == "__main__":
    main()
