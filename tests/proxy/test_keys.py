"""Keys: what opens which door, and that secrets are kept by nobody."""

import pytest

from proxy.errors import BadRequest, Forbidden, Unauthenticated
from proxy.keys import ANONYMOUS, SCOPES, KeyRing, digest_of, new_key


def ring(*scopes: tuple[str, ...], anonymous: bool = True) -> tuple[KeyRing, list[str]]:
    """A ring with one key for each group of scopes, and their headers."""
    made = [new_key(group) for group in scopes]
    return KeyRing([key for _, key in made], anonymous=anonymous), [f"Bearer {secret}" for secret, _ in made]


def test_secret_is_long_random_and_not_stored() -> None:
    made = [new_key(["client"]) for _ in range(20)]
    assert len({secret for secret, _ in made}) == len({key.id for _, key in made}) == 20
    for secret, key in made:
        assert len(secret) > 40
        assert key.digest == digest_of(secret)
        assert secret not in f"{key!r} {vars(key)}"


def test_given_secret_must_not_be_guessable() -> None:
    assert new_key(["admin"], secret="x" * 16)[0] == "x" * 16
    with pytest.raises(BadRequest, match="at least 16"):
        new_key(["admin"], secret="x" * 15)


@pytest.mark.parametrize("scopes", [[], ["root"], ["client", "root"], [""]])
def test_scopes_are_known_ones(scopes: list[str]) -> None:
    with pytest.raises(BadRequest, match="admin, client, raw"):
        new_key(scopes)


def test_ring_without_client_keys_is_open_but_not_for_admins() -> None:
    keys, [admin, raw] = ring(("admin",), ("raw",))
    assert keys.open
    assert keys.has_admin
    assert keys.caller(None) is ANONYMOUS
    assert keys.caller("Bearer wrong") is ANONYMOUS
    assert keys.caller(admin).scopes == {"admin"}
    assert keys.caller(raw).scopes == {"raw"}
    with pytest.raises(Unauthenticated):
        keys.admin(None)
    with pytest.raises(Unauthenticated):
        keys.admin("Bearer wrong")
    with pytest.raises(Forbidden):
        keys.admin(raw)
    assert keys.admin(admin).key_id.startswith("key_")


def test_key_for_everything_does_not_close_the_ring() -> None:
    """The admin key of an embedded start must not lock the clients out."""
    keys, [all_doors] = ring(("admin", "client", "raw"))
    assert keys.open
    assert keys.caller(all_doors).scopes == {"admin", "client", "raw"}


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic eA==", "\udcff", "Bearer \udcff"]
)
def test_ring_with_a_client_key_is_closed(sent: str | None) -> None:
    keys, [client] = ring(("client",))
    assert not keys.open
    assert keys.caller(client).scopes == {"client"}
    with pytest.raises(Unauthenticated):
        keys.caller(sent)


def test_a_secret_opens_nothing_unless_it_is_sent_as_a_bearer_token() -> None:
    keys, [client] = ring(("client",))
    secret = client.removeprefix("Bearer ")
    for sent in (f"bearer {secret}", f"BEARER   {secret} "):
        assert keys.caller(sent).scopes == {"client"}
    for sent in (secret, f"Basic {secret}", f"Bearer{secret}", f"Bearer {secret[:-1]}", f"Bearer {digest_of(secret)}"):
        with pytest.raises(Unauthenticated):
            keys.caller(sent)


def test_a_ring_holds_a_key_only_with_all_its_scopes() -> None:
    keys, [client, operator] = ring(("client",), ("admin", "client", "raw"))
    held, all_doors = (digest_of(header.removeprefix("Bearer ")) for header in (client, operator))
    assert keys.holds(held, frozenset({"client"}))
    assert not keys.holds(held, SCOPES)
    assert keys.holds(all_doors, SCOPES)
    assert keys.holds(all_doors, frozenset({"raw"}))
    assert not keys.holds(digest_of("another secret"), frozenset({"client"}))


def test_ring_of_an_open_port_is_never_anonymous() -> None:
    keys, [admin] = ring(("admin",), anonymous=False)
    with pytest.raises(Unauthenticated):
        keys.caller(None)
    assert keys.caller(admin).scopes == {"admin"}


def test_scope_is_required_and_admin_includes_all() -> None:
    keys, [client, admin] = ring(("client",), ("admin",))
    keys.caller(client).require("client")
    with pytest.raises(Forbidden, match="'raw' scope"):
        keys.caller(client).require("raw")
    for scope in ("client", "raw", "admin"):
        keys.caller(admin).require(scope)
    with pytest.raises(Forbidden):
        ANONYMOUS.require("raw")
