"""API keys and what they may do. Secrets are never stored or logged: only their SHA-256 is compared."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from indexes.ledger.records import StoredKey
from proxy.errors import BadRequest, Forbidden, Unauthenticated

SCOPES = frozenset({"client", "raw", "admin"})

MIN_SECRET = 16  # characters; an operator's own key must not be guessable


def digest_of(secret: str) -> str:
    """What is stored of a secret. Keys are 256-bit random, so a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_key(scopes: Iterable[str], label: str = "", secret: str | None = None) -> tuple[str, StoredKey]:
    """A key: its secret, shown once, and what is stored of it. Raises BadRequest for an unknown scope."""
    wanted = frozenset(scopes)
    if not wanted or wanted - SCOPES:
        raise BadRequest(f"'scopes' is a list of {', '.join(sorted(SCOPES))}", param="scopes")
    if secret is not None and len(secret) < MIN_SECRET:
        raise BadRequest(f"a key needs at least {MIN_SECRET} characters")
    secret = secret or f"lethe-{secrets.token_urlsafe(32)}"
    made = StoredKey(f"key_{secrets.token_hex(6)}", digest_of(secret), wanted, label, datetime.now(UTC).isoformat())
    return secret, made


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the id of its key, and what the key may do."""

    key_id: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """True when the key has the scope; `admin` includes all."""
        return scope in self.scopes or "admin" in self.scopes

    def require(self, scope: str) -> None:
        """Raises Forbidden unless the key has the scope."""
        if not self.may(scope):
            raise Forbidden(f"this key does not have the '{scope}' scope")


ANONYMOUS = Caller("anonymous", frozenset({"client"}))
"""Who calls a server that has no client keys, which therefore only listens on loopback."""


class KeyRing:
    """The keys in force. Replaced as a whole when one is made or revoked."""

    def __init__(self, keys: Iterable[StoredKey] = (), *, anonymous: bool = True) -> None:
        """`anonymous`: whether a ring without keys for clients lets anyone ask."""
        self._anonymous = anonymous
        self._by_digest = {key.digest: key for key in keys}

    @property
    def open(self) -> bool:
        """True while no key for clients exists: anyone who reaches the port may ask, but not bypass the guards."""
        return not any("client" in key.scopes and "admin" not in key.scopes for key in self._by_digest.values())

    def holds(self, digest: str, scopes: frozenset[str]) -> bool:
        """True when a key is there that may do as much."""
        return digest in self._by_digest and self._by_digest[digest].scopes >= scopes

    @property
    def has_admin(self) -> bool:
        """True when someone holds a key for the admin API."""
        return any("admin" in key.scopes for key in self._by_digest.values())

    def caller(self, authorization: str | None) -> Caller:
        """Who sends a bearer token. Raises Unauthenticated."""
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and secret.strip():
            found = self._find(digest_of(secret.strip()))
            if found:
                return Caller(found.id, found.scopes)
        if self.open and self._anonymous:
            return ANONYMOUS
        raise Unauthenticated("a valid API key is needed: send it as 'Authorization: Bearer KEY'")

    def admin(self, authorization: str | None) -> Caller:
        """Who calls the admin API. Raises Unauthenticated or Forbidden."""
        caller = self.caller(authorization)
        if caller is ANONYMOUS:
            raise Unauthenticated("an admin key is needed: send it as 'Authorization: Bearer KEY'")
        caller.require("admin")
        return caller

    def _find(self, digest: str) -> StoredKey | None:
        for known, key in self._by_digest.items():
            if hmac.compare_digest(known, digest):
                return key
        return None
