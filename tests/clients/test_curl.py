"""curl: what is on the wire, headers and all."""

import json
import shutil
import subprocess
from typing import Any

import openai
import pytest

from tests.clients.asking import CAPITAL, WEEK, ask, chat
from tests.clients.system import Forgetting, System

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine"),
]


def curl(system: System, path: str, body: Any = None, *options: str, key: str = "client") -> tuple[str, str]:
    """Head and body of a reply."""
    data = ["-d", body if isinstance(body, str) else json.dumps(body)] if body is not None else []
    secret = ["-H", f"Authorization: Bearer {system.keys[key]}"] if key else []
    command = ["curl", "-sSiN", "--max-time", "200", "-H", "content-type: application/json", *secret, *data, *options]
    done = subprocess.run([*command, system.client_url + path], capture_output=True, text=True, check=True, timeout=250)
    head, _, rest = done.stdout.partition("\n\n")
    return head, rest


def status(head: str) -> int:
    return int(head.split()[1])


def test_an_answer(system: System, client: openai.OpenAI):
    head, body = curl(system, "/v1/chat/completions", chat(WEEK, system.model))
    assert status(head) == 200
    assert "content-type: application/json" in head.lower()
    assert "x-lethe-arm: guarded" in head.lower()
    assert json.loads(body)["choices"][0]["message"]["content"] == ask(client, WEEK, system.model)


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_stream(system: System, forget: Forgetting, forgotten: bool):
    if forgotten:
        forget.add(CAPITAL, "Paris")
    head, body = curl(system, "/v1/chat/completions", chat(CAPITAL, system.model, stream=True))
    assert status(head) == 200
    assert "content-type: text/event-stream" in head.lower()
    *events, last, end = body.split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    payloads = [json.loads(event.removeprefix("data: ")) for event in events]
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in payloads)
    assert text
    assert ("Paris" in text) is not forgotten
    assert payloads[0]["choices"][0]["delta"]["role"] == "assistant"
    # What leaks after the first words were shown is cut; the model decides whether it comes to that.
    assert payloads[-1]["choices"][0]["finish_reason"] in (("stop", "content_filter") if forgotten else ("stop",))
    assert len({one["id"] for one in payloads}) == 1


@pytest.mark.parametrize(
    ("path", "body", "code", "said"),
    [
        ("/v1/chat/completions", '{"model": "x", ', 400, "not valid JSON"),
        ("/v1/chat/completions", "[]", 400, "must be a JSON object"),
        ("/v1/chat/completions", "{}", 400, "'model' is missing"),
        ("/v1/chat/completions", "", 400, "not valid JSON"),
        ("/v1/chat/completions", None, 405, "use POST here"),
        ("/v1/embeddings", "{}", 400, "'model' is missing"),
        ("/v1/audio/speech", "{}", 404, "no such route"),
        ("/tokenize", "{}", 404, "no such route"),
        ("/admin/v1/sets", None, 404, "no such route"),
        ("/../v1//chat/completions", "{}", 404, "no such route"),
        ("/v1/chat/completions/batch", "{}", 404, "no such route"),
        ("/invocations", "{}", 404, "no such route"),
    ],
)
def test_what_is_wrong_is_told_in_openais_shape(system: System, path: str, body: str | None, code: int, said: str):
    head, reply = curl(system, path, body, "--path-as-is")
    assert status(head) == code
    error = json.loads(reply)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert said in error["message"]


def test_a_body_that_is_too_large(system: System, tmp_path: Any):
    large = tmp_path / "large.json"
    large.write_bytes(b'{"model": "m", "messages": [{"role": "user", "content": "' + b"a" * 9 * 1024**2 + b'"}]}')
    head, reply = curl(system, "/v1/chat/completions", None, "-H", "Expect:", "--data-binary", f"@{large}")
    assert status(head) == 413
    assert "limits.max_body_mib" in json.loads(reply)["error"]["message"]


def test_keys(system: System):
    head, reply = curl(system, "/v1/models", key="")
    assert status(head) == 401
    assert json.loads(reply)["error"]["code"] == "invalid_api_key"
    assert status(curl(system, "/v1/models")[0]) == 200


def test_health_is_for_everyone(system: System):
    for path in ("/livez", "/readyz", "/health", "/version", "/metrics"):
        head, reply = curl(system, path, key="")
        assert status(head) == 200, path
        assert reply
    assert json.loads(curl(system, "/readyz", key="")[1])["status"] == "ready"
