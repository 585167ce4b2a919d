"""`lethe forget import|export`: entries of a running server from a file of JSON lines, and into one."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import click
import orjson

from proxy.cli.admin_client import AdminClient, AdminError, admin_options
from proxy.cli.bulk import Bulk
from proxy.cli.entries import ensure_set, entries_of, set_option, tell_behind
from proxy.cli.import_lines import BadLines, check_lines, lines_of, rewindable
from proxy.cli.output import FAILED, count, fail, json_option, print_json, say, warnings
from proxy.cli.working import Working

SHOWN_LINES, MAX_SHOWN = 5, 10_000  # numbers of duplicate lines for people, and for programs


@click.command("import")
@set_option
@click.argument("file", type=click.File("rb"))
@admin_options
@json_option
def import_(admin: AdminClient, set_id: str, file: BinaryIO, as_json: bool) -> None:
    """Import entries from JSON lines; '-' reads standard input.

    Each line is one entry and holds what 'lethe forget add' takes, for example {"question": "...", "answer": "..."}.
    All lines are checked before the first is sent. Lines that say what the set, or a line before, says already are left
    out, however they are spelt. The others go in batches that are applied whole, so an import that was interrupted is
    started again with the same file.

    \b
    lethe forget import --set authors entries.jsonl
    """
    with rewindable(file) as lines, Working(warnings) as shown:
        try:
            total = 0
            for total in check_lines(lines, set_id):
                shown.checked(total)
        except BadLines as bad:
            fail(f"{bad}\nnothing was imported")
        lines.seek(0)
        made = ensure_set(admin, set_id)
        bulk = Bulk(admin, set_id)
        try:
            bulk.send(lines_of(lines), lambda count: shown.sent(count, total))
        except (AdminError, BadLines) as error:
            entries = count(bulk.done, "entry", "entries")
            fail(f"{error}\n{entries} of the file are in; run it again to go on", getattr(error, "code", FAILED))
    if as_json:
        told = {"added": bulk.added, "there_already": len(bulk.duplicates), "duplicates": bulk.duplicates[:MAX_SHOWN]}
        print_json(told | {"generation": bulk.generation, "behind": sorted(bulk.behind)})
        return
    tell_behind({"behind": sorted(bulk.behind)})
    there = len(bulk.duplicates)
    before = f"; {there} {'was' if there == 1 else 'were'} there already ({_lines(bulk.duplicates)})" if there else ""
    where = f"'{set_id}', a new set" if made else f"'{set_id}'"
    say(f"imported {count(bulk.added, 'entry', 'entries')} into {where}{before}; generation {bulk.generation}")


def _lines(numbers: Sequence[int]) -> str:
    """`line 3`, `lines 3, 4, 5, …`."""
    shown = ", ".join(map(str, numbers[:SHOWN_LINES]))
    return f"{'line' if len(numbers) == 1 else 'lines'} {shown}{', …' if len(numbers) > SHOWN_LINES else ''}"


@click.command()
@set_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@admin_options
def export(admin: AdminClient, set_id: str, file: Path) -> None:
    """Write a set as JSON lines, for 'lethe forget import'.

    The lines hold forget text: a file is made readable for its owner only. Sealed entries have no text and are left
    out; 'lethe ledger backup' keeps them.

    \b
    lethe forget export --set authors authors.jsonl
    """
    if str(file) == "-":
        _export(entries_of(admin, set_id), sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        with _replaced(file) as out:
            written = _export(entries_of(admin, set_id), out)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
    say(f"wrote {count(written, 'entry', 'entries')} to {file}")


def _export(entries: Iterator[dict[str, Any]], out: IO[bytes]) -> int:
    """Writes entries as they come, for there may be a million; how many."""
    keep = ("id", "kind", "texts", "names", "answers", "label", "threshold", "state", "reference", "expires_at")
    written = sealed = 0
    for entry in entries:
        if entry["storage"] == "clear":
            out.write(orjson.dumps({name: entry[name] for name in keep}) + b"\n")
            written += 1
        else:
            sealed += 1
    if sealed:
        left = count(sealed, "sealed entry is", "sealed entries are")
        warnings.print(f"note: {left} left out, for want of text", soft_wrap=True, highlight=False)
    return written


@contextmanager
def _replaced(file: Path) -> Iterator[IO[bytes]]:
    """What takes a file's place when the block ends well, readable for its owner only; else nothing is left of it."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.touch(mode=0o600, exist_ok=False)
        with part.open("wb") as out:
            yield out
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
