"""The audit log: every change of the ledger as a signed record in an append-only file.

It follows the ledger, whose change log is committed with each change: a record that a crash kept from being written is
written at the next start, and none is written for a change that did not happen. A ledger that was restored from a
backup, or begun anew, lacks changes that the log has, and numbers others like them: the log says so and follows it.

Of the processes on one state folder one writes, whoever holds the lock; the others read what it wrote, and one of them
takes over when it ends. Machines of their own keep logs of their own, each of them whole.
"""

import asyncio
import fcntl
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog

from indexes.entries import Entry, ForgetSet, State, Storage
from indexes.ledger.records import Change, LedgerError, Missing
from proxy.admin.models import entry_json, set_json
from proxy.audit.append import append
from proxy.audit.chain import EMPTY, RESTORED, Head, Record, canonical, hash_of, read, standing
from proxy.audit.key import SigningKey
from proxy.catalogue.catalogue import Catalogue

LOG, KEY, LOCK = "audit.jsonl", "audit.key", "audit.lock"
READ = frozenset(("generation", "at", "action", "set", "entry"))
"""What of a record is read again."""
ACTING = ("kind", "texts", "names", "answers", "threshold")
"""What of an entry decides what it acts on."""

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
        self._agrees = False

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
            try:
                await self.follow()
            except LedgerError:  # the next look tries again
                pass
            except OSError as error:  # a full disk, for one: the ledger keeps the changes until they can be written
                _log.error("audit_log_not_written", fault=error.strerror or type(error).__name__, file=str(self.path))
            await asyncio.sleep(LOOK_EVERY_S)

    async def follow(self) -> Head:
        """Writes what has changed since the last record; returns the last one then."""
        async with self._turn:
            if not await asyncio.to_thread(self._may_write):
                return await self._as_written()
            if not self._agrees:
                await self._agree()
            while self._catalogue.current.number > self._generation:
                changes = await self._catalogue.log(self._generation, PAGE)
                if not changes:
                    break
                written = [_record(change, *await self._left(change)) for change in changes]
                await asyncio.to_thread(self._append, written)
            return self._head

    async def _agree(self) -> None:
        """Goes back to the last change that log and ledger have in common, where the ledger is another than it was."""
        last = await asyncio.to_thread(self._last_standing)
        if last is not None and not await self._has(last):
            records = await asyncio.to_thread(self._parsed)
            known = await self._times(last["generation"])
            common = [one for one in standing(records) if known.get(one["generation"]) == one["at"]]
            generation = common[-1]["generation"] if common else 0
            _log.warning("ledger_restored", generation=generation, known=last["generation"])
            told = Change(generation, datetime.now(UTC).isoformat(), "lethe", RESTORED, None, None)
            await asyncio.to_thread(self._append, [_record(told, None, None)])
        self._agrees = True

    def _last_standing(self) -> Record | None:
        """The last record of a change that the ledger had when the log was written."""
        lines = self.lines()
        last = read(lines[-1]) if lines and self._head.hash else None
        if last is None or (last.keys() >= READ and last["action"] != RESTORED):
            return last
        return next(reversed(standing(self._parsed())), None)

    async def _has(self, record: Record) -> bool:
        """Whether the ledger's change of that generation is the one of the record."""
        changes = await self._catalogue.log(record["generation"] - 1, 1)
        return bool(changes) and (changes[0].generation, changes[0].at) == (record["generation"], record["at"])

    async def _times(self, until: int) -> dict[int, str]:
        """When the ledger's changes were made, by generation."""
        found: dict[int, str] = {}
        after = 0
        while after < until and (changes := await self._catalogue.log(after, PAGE)):
            found |= {change.generation: change.at for change in changes}
            after = changes[-1].generation
        return found

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
        """All records, or those of one set, and those that say that the ledger is another."""
        await self.follow()
        records = await asyncio.to_thread(self._parsed)
        return [one for one in records if set_id is None or one["set"] == set_id or one["action"] == RESTORED]

    def lines(self) -> list[bytes]:
        """The log as it stands, without a line that is being written."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return []
        return raw[: raw.rfind(b"\n") + 1].splitlines()

    def _parsed(self) -> list[Record]:
        """Records that can be read. What was damaged is found by `lethe audit verify`, and ends nothing here."""
        return [record for line in self.lines() if (record := read(line)) is not None and record.keys() >= READ]

    async def _left(self, change: Change) -> tuple[str | None, str | None]:
        """Hashes of what the change left behind, and of what of it acts; None where it was removed, or has changed
        again since."""
        if change.set_id is None:
            return None, None
        if change.entry_id is None:
            found = self._catalogue.current.sets.get(change.set_id)
            if found is None or "remove" in change.action:
                return None, None
            return self.of_set(found), self.acting_set(found)
        try:
            entry = await self._catalogue.entry(change.set_id, change.entry_id)
        except Missing:
            return None, None
        return (self.of_entry(entry), self.acting(entry)) if entry.generation == change.generation else (None, None)

    def of_entry(self, entry: Entry) -> str:
        """What stands for an entry in records and receipts."""
        return self.key.content_hash(canonical(_plain(entry_json(entry))))

    def acting(self, entry: Entry) -> str | None:
        """What stands for that of an entry by which requests and answers are judged; None where it is not enforced.

        Of a sealed entry, whose texts are not there, it is the whole: any change counts.
        """
        if entry.state is not State.ACTIVE:
            return None
        if entry.storage is Storage.SEALED:
            return self.of_entry(entry)
        shown = _plain(entry_json(entry))
        return self.key.content_hash(canonical({name: shown[name] for name in ACTING}))

    def of_set(self, forget_set: ForgetSet) -> str:
        """What stands for a set."""
        return self.key.content_hash(canonical(_plain(set_json(forget_set))))

    def acting_set(self, forget_set: ForgetSet) -> str | None:
        """What stands for a set whose policy acts on what matches its entries; None for one that only looks on.

        The part of its policy that the configuration says leaves no record when that is read again.
        """
        acts = self._catalogue.policies.of(forget_set.id, self._catalogue.current).ladder
        return self.key.content_hash(canonical({"set": forget_set.id})) if acts else None

    def _append(self, records: Sequence[Record]) -> None:
        """Numbers, chains and signs records, and writes them."""
        head = self._head
        written = []
        for one in records:
            record = {"number": head.number + 1, **one, "previous": head.hash}
            record["hash"] = hash_of(record)
            record["signature"] = self.key.sign(record["hash"].encode())
            head = Head(record["number"], record["hash"])
            written.append(orjson.dumps(record) + b"\n")
        append(self.path, b"".join(written))
        self._head, self._generation = head, records[-1]["generation"]


def _record(change: Change, content: str | None, acts: str | None) -> Record:
    return {
        "generation": change.generation,
        "at": change.at,
        "actor": change.actor,
        "action": change.action,
        "set": change.set_id,
        "entry": change.entry_id,
        "content": content,
        "acts": acts,
    }


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
