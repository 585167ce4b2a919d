"""`lethe keys`."""

import re

import httpx

from tests.cli.conftest import Run, out, parsed
from tests.clients.system import System


def test_keys(run: Run, lone: System):
    """A key works from the call that makes it to the call that revokes it."""
    key = parsed(run("keys", "create", "--scope", "client", "--scope", "raw", "--label", "a test", "--json"))
    listed = out(run("keys", "list"))
    [row] = [row for row in listed.splitlines() if row.startswith(key["id"])]
    assert "client, raw" in row
    assert "a test" in row
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", row)
    assert key["key"] not in listed + str(parsed(run("keys", "list", "--json")))

    def models(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.get(f"{lone.base_url}/models", headers=headers, trust_env=False).status_code

    assert models(key["key"]) == 200
    assert models("something-else") == 401
    assert out(run("keys", "revoke", key["id"])) == f"revoked {key['id']}\n"
    assert models("something-else") == 200  # without any key for clients, anyone on this machine may ask

    said = out(run("keys", "create", "--scope", "client"))
    made = re.fullmatch(r"(key_\w+): (lethe-\S+)\n", said)
    assert made
    out(run("keys", "revoke", made[1], "--json"))
    gone = run("keys", "revoke", made[1])
    assert gone.exit_code == 5
    assert f"there is no key '{made[1]}'" in gone.stderr


def test_a_key_that_cannot_be_made_or_revoked(run: Run):
    assert run("keys", "create").exit_code == 2
    assert run("keys", "create", "--scope", "root").exit_code == 2
    [mine] = [one["id"] for one in parsed(run("keys", "list", "--json"))["data"] if "admin" in one["scopes"]]
    itself = run("keys", "revoke", mine)
    assert itself.exit_code == 1
    assert "a key cannot revoke itself" in itself.stderr
