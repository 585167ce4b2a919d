"""Every route asks for the key but two; what is refused does not reach the server."""

from typing import Any

import pytest

from guards.engine.doors import KEY_VARIABLE, Keyed

KEY = "the-key-of-the-engine"


class Door:
    """The doors before an application that notes what reaches it."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.sent: list[Any] = []
        self._keyed = Keyed(self._app)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached.append(scope.get("path", scope["type"]))

    async def ask(self, path: str, *headers: tuple[bytes, bytes], kind: str = "http") -> int:
        """The status of a refusal, 200 for what reached the application."""

        async def send(message: Any) -> None:
            self.sent.append(message)

        async def receive() -> Any:
            raise AssertionError("a refusal reads nothing")

        before = len(self.reached)
        await self._keyed({"type": kind, "path": path, "headers": list(headers)}, receive, send)
        return 200 if len(self.reached) > before else int(self.sent[0].get("status", self.sent[0].get("code")))


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return Door()


@pytest.mark.parametrize("path", ["/v1/models", "/invocations", "/adapters", "/tokenize", "/", "/health/", "/metricsx"])
@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"authorization", b"Bearer wrong"),),
        ((b"authorization", b"Bearer "),),
        ((b"authorization", KEY.encode()),),
        ((b"authorization", b"Basic " + KEY.encode()),),
        ((b"authorization", b"Bearer \xff\xfe"),),
        ((b"x-authorization", b"Bearer " + KEY.encode()),),
    ],
)
async def test_without_the_key_nothing_is_reached(door: Door, path: str, headers: Any) -> None:
    assert await door.ask(path, *headers) == 401
    assert door.reached == []
    assert KEY.encode() not in b"".join(message.get("body", b"") for message in door.sent)


@pytest.mark.parametrize("path", ["/v1/models", "/invocations", "/adapters"])
@pytest.mark.parametrize("name", [b"authorization", b"Authorization"])
async def test_with_the_key_everything_is(door: Door, path: str, name: bytes) -> None:
    assert await door.ask(path, (name, b"bearer " + KEY.encode())) == 200
    assert door.reached == [path]


@pytest.mark.parametrize("path", ["/health", "/metrics"])
async def test_health_and_metrics_are_open(door: Door, path: str) -> None:
    assert await door.ask(path) == 200


async def test_a_websocket_is_closed(door: Door) -> None:
    assert await door.ask("/v1/realtime", kind="websocket") == 1008


async def test_the_servers_own_start_passes(door: Door) -> None:
    assert await door.ask("", kind="lifespan") == 200


@pytest.mark.parametrize("key", ["", None])
def test_doors_without_a_key_do_not_open(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    if key is not None:
        monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(RuntimeError, match=KEY_VARIABLE):
        Door()
