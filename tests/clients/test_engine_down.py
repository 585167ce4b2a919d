"""No engine: every answer says so, and says whose fault it is; when the engine comes, the server is ready."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import openai
import pytest

from tests.clients.asking import ask
from tests.clients.system import System, serving, wait_until_ready
from tests.conftest import unused_port

MODEL = "some-model"


class Engine(BaseHTTPRequestHandler):
    """As much of an engine as the proxy looks at; it fails every request."""

    def do_GET(self) -> None:
        self.reply(200, b'{"data": [{"id": "some-model", "max_model_len": 100}]}' if "models" in self.path else b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(500, b'{"error": {"message": "a secret of the engine", "type": "x", "code": 500}}')

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def engine(port: int) -> Iterator[None]:
    """An engine for as long as the block runs."""
    with ThreadingHTTPServer(("127.0.0.1", port), Engine) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def port() -> int:
    return unused_port()


@pytest.fixture
def down(tmp_path: Path, port: int) -> Iterator[System]:
    """Lethe before a port where nobody listens."""
    with serving(tmp_path, f"http://127.0.0.1:{port}", ready=False) as running:
        yield running


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=30)


def test_it_says_so_until_the_engine_comes_and_again_when_it_goes(down: System, port: int):
    deadline = time.monotonic() + 10
    while "ClientConnectorError" not in (ready := get(f"{down.client_url}/readyz")).text:  # before that: not looked yet
        assert time.monotonic() < deadline, ready.text
    assert ready.status_code == 503
    assert ready.json()["reason"] == "the engine does not answer (ClientConnectorError)"
    assert get(f"{down.client_url}/health").status_code == 503
    assert get(f"{down.client_url}/livez").status_code == 200
    assert get(f"{down.client_url}/v1/models").json() == {"object": "list", "data": []}
    assert "does not answer" in (down.state / "serve.out").read_text()

    with openai.OpenAI(base_url=down.base_url, api_key="none", max_retries=0) as client:
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as caught:
                ask(client, "Hello", MODEL)
            assert caught.value.status_code == 502
            assert caught.value.code == "upstream_failed"
            assert caught.value.response.headers["retry-after"] == "2"

        # Adding is possible all the while, and the command line says what is missing.
        assert down.lethe("forget", "add", "-q", "What is this?", "-a", "something").returncode == 0
        compared = down.lethe("compare", "What is this?")
        assert compared.returncode == 1
        assert "no model is served: the engine does not answer" in compared.stderr

        with engine(port):
            wait_until_ready(down.client_url, down.process)
            assert [model.id for model in client.models.list()] == [MODEL]
            with pytest.raises(openai.InternalServerError) as caught:
                ask(client, "Hello", MODEL)
            assert caught.value.status_code == 502
            assert "secret" not in str(caught.value.body)

        # Now the model is known, and the engine has gone.
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, "Hello", MODEL)
        assert caught.value.status_code == 502
        assert "cannot be reached" in caught.value.message
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}], stream=True)
    deadline = time.monotonic() + 10
    while get(f"{down.client_url}/readyz").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
