"""An `/v1/embeddings` server as the embedder, on a real socket."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from indexes.embedder import ContextEmbedder, EmbedderError
from proxy.config import ConfigError, load
from proxy.remote_embedder import BATCH, RemoteEmbedder
from tests.fakes.embedder import BagEmbedder

BAG = BagEmbedder(16)
TEXTS = ["Where was Ilse Varga born?", "How long should I boil an egg?", "", "Хина Амин"]


class Server(ThreadingHTTPServer):
    """Embeds with the bag of words; `seen` are the requests, `spoil` changes a reply, `hang_up` ends connections."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, dict[str, Any], str | None]] = []
        self.spoil: Any = lambda reply: reply
        self.status = 200
        self.hang_up = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.seen.append((self.path, body, self.headers["authorization"]))
        rows = [{"index": i, "embedding": (row * 3).tolist()} for i, row in enumerate(BAG.embed(body["input"]))]
        raw = json.dumps(server.spoil({"data": rows[::-1]})).encode()
        self.send_response(server.status)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
        self.close_connection = server.hang_up

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def connected(server: Server) -> Iterator[Callable[..., RemoteEmbedder]]:
    """Makes embedders that ask the server."""
    made: list[RemoteEmbedder] = []

    def connect(url: str = "", **settings: Any) -> RemoteEmbedder:
        made.append(RemoteEmbedder(url or server.url, "m", **settings))
        return made[-1]

    yield connect
    for embedder in made:
        embedder.close()


Connect = Callable[..., RemoteEmbedder]


def test_vectors_are_those_of_the_texts_and_of_length_one(server: Server, connected: Connect) -> None:
    embedder = connected(api_key="secret", prefix="query: ")
    np.testing.assert_allclose(embedder.embed(TEXTS), BAG.embed([f"query: {t}" for t in TEXTS]), atol=1e-6)
    assert embedder.dimensions == 16
    path, body, key = server.seen[-1]
    assert (path, body["model"], key) == ("/v1/embeddings", "m", "Bearer secret")
    assert "secret" not in repr(embedder) + embedder.name
    assert embedder.embed([]).shape == (0, 16)
    assert not isinstance(embedder, ContextEmbedder)


def test_many_texts_go_in_parts(server: Server, connected: Connect) -> None:
    texts = [f"text {number}" for number in range(2 * BATCH + 1)]
    np.testing.assert_allclose(connected(f"{server.url}/v1/").embed(texts), BAG.embed(texts), atol=1e-6)
    assert [len(body["input"]) for _, body, _ in server.seen[1:]] == [BATCH, BATCH, 1]


def test_threads_may_share_it_and_closed_connections_are_opened_again(server: Server, connected: Connect) -> None:
    server.hang_up = True
    embedder = connected()
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: embedder.embed(TEXTS), range(12)):
            np.testing.assert_allclose(vectors, BAG.embed(TEXTS), atol=1e-6)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda reply: {"data": reply["data"][1:]},
        lambda reply: {"data": [row | {"embedding": row["embedding"][:5]} for row in reply["data"]]},
        lambda reply: {"data": [row | {"embedding": [0.0] * 16} for row in reply["data"]]},
        lambda reply: {"data": [row | {"embedding": [float("nan")] * 16} for row in reply["data"]]},
        lambda reply: {"data": [row | {"embedding": "none"} for row in reply["data"]]},
        lambda _: {"error": "no"},
        lambda _: [],
    ],
)
def test_what_cannot_be_compared_is_refused(server: Server, connected: Connect, spoil: Any) -> None:
    embedder = connected()
    server.spoil = spoil
    with pytest.raises(EmbedderError) as refused:
        embedder.embed(TEXTS)
    assert "Varga" not in str(refused.value)


def test_a_server_that_refuses_or_is_gone_is_named(server: Server) -> None:
    server.status = 404
    with pytest.raises(EmbedderError, match=r"status 404.*embedder\.model"):
        RemoteEmbedder(server.url, "m")
    with pytest.raises(EmbedderError, match=r"127\.0\.0\.1:1 does not answer"):
        RemoteEmbedder("http://127.0.0.1:1", "m")


def test_a_url_needs_a_model_and_no_folder() -> None:
    assert load(None, {"embedder": {"url": "http://e:1", "model": "m"}}, {}).embedder.model == "m"
    for wrong in ({"url": "http://e:1"}, {"url": "http://e:1", "model": "m", "path": "/x"}, {"url": "e", "model": "m"}):
        with pytest.raises(ConfigError, match=r"embedder"):
            load(None, {"embedder": wrong}, {})
