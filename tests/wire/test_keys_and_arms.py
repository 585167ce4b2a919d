"""Who may ask what: keys, scopes, and the two arms."""

from pathlib import Path

import pytest

from proxy.config import ConfigError
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL
from tests.wire.harness import ADMIN, CHAT, HARMLESS, QUESTION, Lethe, by_socket, chat_body, started

ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - what is tested is that it is closed
RAW_ARM = {"x-lethe-arm": "raw"}


async def key_with(lethe: Lethe, *scopes: str) -> dict[str, str]:
    """The header of a fresh key."""
    reply = await lethe.admin("POST", "/keys", {"scopes": list(scopes)})
    assert reply.status == 201
    return {"Authorization": f"Bearer {reply.body['key']}"}


async def test_without_keys_anyone_on_loopback_may_ask_but_not_pass_the_guards(armed: Lethe) -> None:
    assert (await armed.chat()).status == 200
    assert (await armed.chat(headers={"Authorization": "Bearer sk-anything"})).status == 200
    reply = await armed.chat(QUESTION, RAW_ARM)
    assert (reply.status, reply.error["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer caf\u00e9"},
    ],
)
async def test_once_there_is_a_client_key_one_is_needed(armed: Lethe, sent: dict[str, str]) -> None:
    client = await key_with(armed, "client")
    assert (await armed.chat(headers=client)).status == 200
    for path in (CHAT, "/v1/completions"):
        reply = await armed.post(path, chat_body(HARMLESS), sent)
        assert reply.status == 401
        assert reply.error["code"] == "invalid_api_key"
    assert (await armed.get("/v1/models", sent)).status == 401
    assert (await armed.get(f"/v1/models/{MODEL}", sent)).status == 401
    assert len(armed.engine.seen) == 1


async def test_key_that_is_no_text_is_a_wrong_key(armed: Lethe) -> None:
    await key_with(armed, "client")
    for port, line in (("listen", b"GET /v1/models"), ("admin", b"GET /admin/v1/sets")):
        head = line + b" HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\n"
        reply = await by_socket(armed.server.ports[port], head)
        assert reply.status == 401
        assert reply.error["code"] == "invalid_api_key"


async def test_scheme_of_a_key_is_read_as_the_standard_says(armed: Lethe) -> None:
    client = (await key_with(armed, "client"))["Authorization"].split()[1]
    assert (await armed.chat(headers={"Authorization": f"bearer   {client} "})).status == 200


async def test_revoked_key_is_refused_at_once(armed: Lethe) -> None:
    client, _ = await key_with(armed, "client"), await key_with(armed, "client")
    (first, *_) = [key for key in (await armed.admin("GET", "/keys")).body["data"] if key["scopes"] == ["client"]]
    assert (await armed.chat(headers=client)).status == 200
    assert (await armed.admin("DELETE", f"/keys/{first['id']}")).status == 200
    assert (await armed.chat(headers=client)).status == 401


async def test_each_scope_opens_its_own_door(armed: Lethe) -> None:
    client, raw = await key_with(armed, "client"), await key_with(armed, "raw")
    both = await key_with(armed, "client", "raw")
    for key, guarded, raw_arm in ((client, 200, 403), (raw, 403, 200), (both, 200, 200), (ADMIN, 200, 200)):
        assert (await armed.chat(QUESTION, key)).status == guarded
        assert (await armed.chat(QUESTION, key | RAW_ARM)).status == raw_arm


async def test_raw_arm_by_header_and_by_name(armed: Lethe) -> None:
    for headers, model in ((ADMIN | RAW_ARM, MODEL), (ADMIN, f"{MODEL}:raw"), (ADMIN | RAW_ARM, f"{MODEL}:raw")):
        reply = await armed.chat(QUESTION, headers, model=model)
        assert reply.headers["x-lethe-arm"] == "raw"
        assert reply.raw == armed.engine.sent
        assert armed.engine.seen[-1].body["model"] == MODEL
        assert "never read" not in armed.engine.seen[-1].text
    reply = await armed.chat(QUESTION, ADMIN | {"x-lethe-arm": "guarded"})
    assert reply.headers["x-lethe-arm"] == "guarded"
    assert "never read" in armed.engine.seen[-1].text


@pytest.mark.parametrize(
    ("headers", "model", "status", "param"),
    [
        ({"x-lethe-arm": "guarded"}, f"{MODEL}:raw", 400, "x-lethe-arm"),
        ({"x-lethe-arm": "bare"}, MODEL, 400, "x-lethe-arm"),
        ({"x-lethe-arm": ""}, MODEL, 400, "x-lethe-arm"),
        ({"x-lethe-arm": "RAW"}, MODEL, 400, "x-lethe-arm"),
        ({}, "nothing", 404, "model"),
        ({}, "nothing:raw", 404, "model"),
        ({}, f"{MODEL}:raw:raw", 404, "model"),
        ({}, f"{MODEL}:guarded", 404, "model"),
        ({}, ":raw", 404, "model"),
    ],
)
async def test_wrong_or_contradicting_arms(
    armed: Lethe, headers: dict[str, str], model: str, status: int, param: str
) -> None:
    reply = await armed.chat(QUESTION, ADMIN | headers, model=model)
    assert reply.status == status
    assert reply.error["param"] == param
    assert not armed.engine.seen


async def test_models_show_the_raw_name_only_to_those_who_may_use_it(armed: Lethe) -> None:
    client = await key_with(armed, "client")
    assert [card["id"] for card in (await armed.get("/v1/models", client)).body["data"]] == [MODEL]
    assert [card["id"] for card in (await armed.get("/v1/models", ADMIN)).body["data"]] == [MODEL, f"{MODEL}:raw"]
    assert (await armed.get(f"/v1/models/{MODEL}", client)).body["max_model_len"] == 8192
    assert (await armed.get(f"/v1/models/{MODEL}:raw", client)).error["code"] == "model_not_found"
    assert (await armed.get(f"/v1/models/{MODEL}:raw", ADMIN)).status == 200


async def test_an_arm_of_its_own_answers_by_its_own_policy(engine: FakeVllm, state: Path) -> None:
    """Its settings win over the set's; a weaker one would be a way around, so it needs the scope of the raw arm."""
    arms = {"strict": {"on_match": ["refuse"]}, "look-on": {"on_match": ["observe"]}}
    async with started(engine, state, {"arms": arms}) as lethe:
        await lethe.make_set(policy={"on_match": ["instruct", "refuse"]})
        await lethe.forget()
        for headers, model in (({"x-lethe-arm": "strict"}, MODEL), ({}, f"{MODEL}:strict")):
            reply = await lethe.chat(QUESTION, ADMIN | headers, model=model)
            assert reply.headers["x-lethe-arm"] == "strict"
            assert not engine.seen
        reply = await lethe.chat(QUESTION, ADMIN | {"x-lethe-arm": "look-on"})
        assert "never read" not in engine.seen[-1].text
        await lethe.chat(QUESTION, ADMIN)
        assert "never read" in engine.seen[-1].text
        client = await key_with(lethe, "client")
        reply = await lethe.chat(QUESTION, client | {"x-lethe-arm": "look-on"})
        assert (reply.status, reply.error["code"]) == (403, "insufficient_scope")
        assert [card["id"] for card in (await lethe.get("/v1/models", ADMIN)).body["data"]] == [
            MODEL, f"{MODEL}:raw", f"{MODEL}:strict", f"{MODEL}:look-on",
        ]  # fmt: skip
        checked = await lethe.admin("POST", "/check", {"text": QUESTION, "arm": "strict"})
        assert checked.body["rung"] == "refuse"
        assert (await lethe.admin("POST", "/check", {"text": QUESTION, "arm": "raw"})).status == 400
        request = chat_body(QUESTION)
        compared = await lethe.admin("POST", "/compare", {"request": request, "arms": ["strict", "guarded"]})
        rungs = {arm: answer["rung"] for arm, answer in compared.body.items()}
        assert rungs == {"strict": "refuse", "guarded": "instruct"}


async def test_raw_arm_asks_no_guard(armed: Lethe) -> None:
    before = armed.embedder.calls
    armed.embedder.fails = RuntimeError()
    assert (await armed.chat("never seen before", ADMIN | RAW_ARM)).status == 200
    assert armed.embedder.calls == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sets"),
        ("POST", "/sets"),
        ("GET", "/sets/art"),
        ("PATCH", "/sets/art"),
        ("DELETE", "/sets/art"),
        ("GET", "/sets/art/entries"),
        ("POST", "/sets/art/entries"),
        ("POST", "/sets/art/entries:import"),
        ("GET", "/sets/art/entries/x"),
        ("PATCH", "/sets/art/entries/x"),
        ("DELETE", "/sets/art/entries/x"),
        ("POST", "/check"),
        ("POST", "/compare"),
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("DELETE", "/keys/x"),
        ("GET", "/audit"),
        ("GET", "/generations"),
    ],
)
async def test_admin_calls_need_an_admin(armed: Lethe, method: str, path: str) -> None:
    for key, status in (("", 401), ("wrong", 401)):
        assert (await armed.admin(method, path, {}, key=key)).status == status
    client = (await key_with(armed, "client", "raw"))["Authorization"].removeprefix("Bearer ")
    reply = await armed.admin(method, path, {}, key=client)
    assert (reply.status, reply.error["code"]) == (403, "insufficient_scope")
    assert (await armed.admin("GET", "/sets/art")).status == 200


async def test_admin_calls_are_not_on_the_client_port_nor_the_other_way_round(armed: Lethe) -> None:
    assert (await armed.get("/admin/v1/sets", ADMIN)).status == 404
    async with armed.http.post(armed.admin_url + CHAT, json=chat_body(HARMLESS), headers=ADMIN) as response:
        assert response.status == 404


async def test_open_port_needs_a_client_key(engine: FakeVllm, state: Path) -> None:
    open_to_all = {"listen": {"host": ALL_ADDRESSES, "port": 0}}
    with pytest.raises(ConfigError, match="no client key exists"):
        async with started(engine, state, open_to_all):
            pass
    async with started(engine, state) as lethe:
        await key_with(lethe, "client")
    async with started(engine, state, open_to_all) as lethe:
        assert (await lethe.chat()).status == 401


async def test_revoking_the_last_client_key_does_not_open_a_port_to_all(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state) as lethe:
        await key_with(lethe, "client")
    async with started(engine, state, {"listen": {"host": ALL_ADDRESSES, "port": 0}}) as lethe:
        (only,) = [key for key in (await lethe.admin("GET", "/keys")).body["data"] if key["scopes"] == ["client"]]
        assert (await lethe.admin("DELETE", f"/keys/{only['id']}")).status == 200
        assert (await lethe.chat()).status == 401
        assert (await lethe.chat(headers=ADMIN)).status == 200
