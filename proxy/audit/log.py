"""The audit log: every change of the ledger as a signed record in an append-only file.

It follows the ledger, whose change log is committed with each change: a record that a crash kept from being written is
written at the next start, and none is written for a change that did not happen.

Of the processes on one state folder one writes, whoever holds the lock; the others read what it wrote, and one of them
takes over when it ends. Machines of their own keep logs of their own, each of them whole.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import structlog

from indexes.entries import Entry, ForgetSet
from indexes.ledger.records import Change, LedgerError, Missing
from proxy.admin.models import entry_json, set_json
from proxy.audit.chain import EMPTY, Head, Record, canonical, hash_of
from proxy.audit.key import SigningKey
from proxy.catalogue.catalogue import Catalogue

LOG, KEY, LOCK = "audit.jsonl", "audit.key", "audit.lock"

PAGE = 1000  # changes read at a time
LOOK_EVERY_S = 0.5  # between looks at the generation in force; the ledger has the change meanwhile
PATIENCE = 20  # looks at what another process writes, before its log is taken as it is

_log = structlog.get_logger("lethe.audit")


class AuditLog:
    """The log of one process. Calls from several tasks follow each other."""

    def __init__(self, state: Path, catalogue: Catalogue) -> None:
        """Raises AuditKeyError."""
        self.path = state / LOG
        self.key = SigningKey.at(state / KEY)
        self._catalogue = catalogue
        self._turn = asyncio.Lock()
        self._head, self._generation = EMPTY, 0
        self._lock: int | None = os.open(state / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        self._writes = False

    @property
    def head(self) -> Head:
        """The last record."""
        return self._head

    def close(self) -> None:
        """Writes no more, and lets another process do it."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock, self._writes = None, False

    async def run(self) -> None:
        """Follows the ledger for ever."""
        while True:
            with contextlib.suppress(LedgerError):  # the next look tries again
                await self.follow()
            await asyncio.sleep(LOOK_EVERY_S)

    async def follow(self) -> Head:
        """Writes what has changed since the last record; returns the last one then."""
        async with self._turn:
            if not await asyncio.to_thread(self._may_write):
                return await self._as_written()
            while self._catalogue.current.number > self._generation:
                changes = await self._catalogue.log(self._generation, PAGE)
                if not changes:
                    break
                contents = [await self._content(change) for change in changes]
                await asyncio.to_thread(self._append, changes, contents)
            return self._head

    def _may_write(self) -> bool:
        """Whether this process is the one that writes; it becomes that when nobody else is."""
        if self._lock is None:
            return False
        if not self._writes:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._head, self._generation = _last(self.path, repair=True)
            self._writes = True
        return True

    async def _as_written(self) -> Head:
        """What the process that writes has written, once it has followed as far as this one."""
        for _ in range(PATIENCE):
            self._head, self._generation = await asyncio.to_thread(_last, self.path)
            if self._generation >= self._catalogue.current.number:
                break
            await asyncio.sleep(LOOK_EVERY_S / 5)
        return self._head

    async def records(self, set_id: str | None = None) -> list[Record]:
        """All records, or those of one set."""
        await self.follow()
        raw = await asyncio.to_thread(self.lines)
        return [one for one in map(orjson.loads, raw) if set_id is None or one["set"] == set_id]

    def lines(self) -> list[bytes]:
        """The log as it stands."""
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []

    async def _content(self, change: Change) -> str | None:
        """Hash of what the change left behind; None where it was removed, or has changed again since."""
        if change.set_id is None:
            return None
        if change.entry_id is None:
            found = self._catalogue.current.sets.get(change.set_id)
            return self.of_set(found) if found and "remove" not in change.action else None
        try:
            entry = await self._catalogue.entry(change.set_id, change.entry_id)
        except Missing:
            return None
        return self.of_entry(entry) if entry.generation == change.generation else None

    def of_entry(self, entry: Entry) -> str:
        """What stands for an entry in records and receipts."""
        return self.key.content_hash(canonical(_plain(entry_json(entry))))

    def of_set(self, forget_set: ForgetSet) -> str:
        """The same for a set."""
        return self.key.content_hash(canonical(_plain(set_json(forget_set))))

    def _append(self, changes: Sequence[Change], contents: Sequence[str | None]) -> None:
        head = self._head
        written = []
        for change, content in zip(changes, contents, strict=True):
            record: Record = {
                "number": head.number + 1,
                "generation": change.generation,
                "at": change.at,
                "actor": change.actor,
                "action": change.action,
                "set": change.set_id,
                "entry": change.entry_id,
                "content": content,
                "previous": head.hash,
            }
            record["hash"] = hash_of(record)
            record["signature"] = self.key.sign(record["hash"].encode())
            head = Head(record["number"], record["hash"])
            written.append(orjson.dumps(record) + b"\n")
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
            file.write(b"".join(written))
            file.flush()
            os.fsync(file.fileno())
        self._head, self._generation = head, changes[-1].generation


def _last(path: Path, *, repair: bool = False) -> tuple[Head, int]:
    """The last whole record and its generation.

    `repair`: what a crash left half written is cut off; it is written again. Only the process that writes may do it.
    """
    try:
        with path.open("r+b") as file:
            raw = file.read()
            whole = raw[: raw.rfind(b"\n") + 1]
            if repair and len(whole) != len(raw):
                file.truncate(len(whole))
    except FileNotFoundError:
        return EMPTY, 0
    if not whole:
        return EMPTY, 0
    try:
        record = orjson.loads(whole.splitlines()[-1])
        return Head(int(record["number"]), str(record["hash"])), int(record["generation"])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        _log.error("audit_log_damaged", file=str(path))
        # Going on would hide it: records that follow a gap are found by `lethe audit verify`.
        return Head(len(whole.splitlines()), ""), 0


def _plain(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))
