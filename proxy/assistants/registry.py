"""Which assistants are in use, and where they lie: documents in the ledger that survive restarts, which all follow.

A version never changes: its digest is noted when it is loaded, and a folder that no longer has it is not used.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from guards.engine import card as cards
from guards.engine import fingerprint
from guards.engine.card import Card

KIND = "assistants"
"""Under which they stand in the ledger."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an assistant: its folder, and the digest of what lay in it when it was loaded."""

    number: int
    folder: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Registered:
    """An assistant: its versions by number, the one in use, and the one that was before."""

    name: str
    versions: Mapping[int, Version] = field(default_factory=dict)
    active: int = 0
    former: int | None = None

    @property
    def used(self) -> Version:
        """The version in use."""
        return self.versions[self.active]

    def using(self, version: Version) -> "Registered":
        """The same with a version added, if it is new, and in use."""
        former = self.active if self.active not in (0, version.number) else self.former
        return replace(self, versions={**self.versions, version.number: version}, active=version.number, former=former)


def read(documents: Mapping[str, str]) -> dict[str, Registered]:
    """All assistants by name."""
    return {name: _registered(name, body) for name, body in documents.items()}


def body_of(one: Registered) -> str:
    """As `read` reads it."""
    versions = [
        {"version": v.number, "folder": str(v.folder), "digest": v.digest} for _, v in sorted(one.versions.items())
    ]
    return json.dumps({"active": one.active, "former": one.former, "versions": versions})


def _registered(name: str, body: str) -> Registered:
    told = json.loads(body)
    versions = [Version(v["version"], Path(v["folder"]), v["digest"]) for v in told["versions"]]
    return Registered(name, {v.number: v for v in versions}, told["active"], told["former"])


def digest_of(folder: Path, card: Card) -> str:
    """SHA-256 over an assistant's card and weights. Raises OSError for a folder that lacks a part."""
    digest = hashlib.sha256((folder / cards.CARD).read_bytes())
    if card.kind == "checkpoint":
        for part in card.parts:
            digest.update(fingerprint.of(folder / cards.CHECKPOINTS / part.role).encode())
        return digest.hexdigest()
    files = sorted(path for path in (folder / cards.ADAPTER).iterdir() if path.is_file())
    if not any(path.suffix == ".safetensors" for path in files):
        raise FileNotFoundError(f"{folder / cards.ADAPTER} holds no adapter")
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name}\0".encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
