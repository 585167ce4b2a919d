"""Which assistants are in use, and where they lie: one small file in the state folder that survives restarts.

Rules
1. A version never changes: its digest is noted when it is loaded, and a folder that no longer has it is not used.
2. The file is replaced as a whole and synced, so a crash leaves the old one or the new one.
3. Other processes of one server read and write the same file: changes are made one after the other (`update`), and
   `changed` tells when another process made one.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from guards.engine import card as cards
from guards.engine import fingerprint
from guards.engine.card import Card

FILE = "assistants.json"
FORMAT = 1


class RegistryDamaged(Exception):
    """The file cannot be read. The message names it and the cure."""


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


class Registry:
    """The file. Reads and writes block briefly: call them off the event loop."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        self._seen: tuple[int, int] | None = None

    def changed(self) -> bool:
        """Whether the file is another one than was read or written last."""
        return self._stamp() != self._seen

    def read(self) -> dict[str, Registered]:
        """All assistants by name; none where there is no file. Raises RegistryDamaged."""
        self._seen = self._stamp()
        try:
            raw = json.loads(self._path.read_bytes())
            if raw["format"] != FORMAT:
                raise RegistryDamaged(f"{self._path} has format {raw['format']!r}, this version reads {FORMAT}")
            return {name: _registered(name, entry) for name, entry in raw["assistants"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryDamaged(
                f"{self._path} cannot be read ({type(error).__name__}): move it away and load the assistants again"
            ) from error

    def update(self, change: Callable[[dict[str, Registered]], Mapping[str, Registered]]) -> dict[str, Registered]:
        """Makes a change to what is there, whoever wrote it. When this returns it is on the disk.

        Raises RegistryDamaged.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held for as long as it takes to write a page; it dies with its process
            after = dict(change(self.read()))
            self._write(after)
        return after

    def _write(self, assistants: Mapping[str, Registered]) -> None:
        body = {"format": FORMAT, "assistants": {name: _entry(one) for name, one in sorted(assistants.items())}}
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(body, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        with contextlib.suppress(FileNotFoundError):
            status = self._path.stat()
            return status.st_mtime_ns, status.st_ino
        return None


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


def _registered(name: str, entry: Mapping[str, Any]) -> Registered:
    versions = [Version(int(v["version"]), Path(v["folder"]), str(v["digest"])) for v in entry["versions"]]
    former = entry["former"]
    found = Registered(
        name, {v.number: v for v in versions}, int(entry["active"]), None if former is None else int(former)
    )
    if found.active not in found.versions:
        raise ValueError(f"version {found.active} of {name} is in use and not there")
    return found


def _entry(one: Registered) -> dict[str, Any]:
    versions = [
        {"version": v.number, "folder": str(v.folder), "digest": v.digest} for _, v in sorted(one.versions.items())
    ]
    return {"active": one.active, "former": one.former, "versions": versions}
