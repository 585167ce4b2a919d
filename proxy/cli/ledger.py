"""`lethe ledger …`: the storage itself, without a server: state, backups, migration."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from indexes.ledger.backup import back_up
from indexes.ledger.backup import restore as restore_into
from indexes.ledger.postgres import PostgresLedger
from indexes.ledger.records import LedgerError
from indexes.ledger.schema import COLUMNS, VERSION
from indexes.ledger.sealing import lay_over
from indexes.ledger.sql import SqlLedger
from indexes.ledger.sqlite import SqliteLedger
from indexes.sealed.keys import new_key
from proxy.cli.output import CONFIG_WRONG, count, fail, json_option, print_json, say, warnings
from proxy.config import Config, ConfigError, load

_config_option = click.option(
    "--config",
    "-c",
    "config_path",
    envvar="LETHE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Which ledger: the configuration of its server (LETHE_CONFIG).",
)


@click.group()
def ledger() -> None:
    """Look at, back up, restore and migrate the storage of forget entries."""


@ledger.command()
@_config_option
@json_option
def status(config_path: Path | None, as_json: bool) -> None:
    """Show where the ledger is and what it holds; servers may be running.

    \b
    lethe ledger status --config lethe.yaml
    """
    config = _loaded(config_path)
    with _opened(config, reading=True) as opened:
        found: dict[str, Any] = {
            "kind": "PostgreSQL" if config.ledger.url else "SQLite",
            "place": opened.place,
            "schema": VERSION,
            "generation": opened.generation(),
            **{table: opened.count(table) for table in COLUMNS if table not in ("generations", "changes", "marks")},
            "members": [member.id for member in opened.living(config.ledger.lease_s)],
        }
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        say((f"{name:<11} ", "bold"), ", ".join(value) if isinstance(value, list) else str(value))


@ledger.command()
@_config_option
@json_option
def migrate(config_path: Path | None, as_json: bool) -> None:
    """Bring the ledger to the schema of this version. Stop its servers first.

    A SQLite ledger is also migrated when its server starts.

    \b
    lethe ledger migrate --config lethe.yaml
    """
    with _opened(_loaded(config_path), migrating=True) as opened:
        place = opened.place
    if as_json:
        print_json({"place": place, "schema": VERSION})
    else:
        say(f"the ledger {place} has schema {VERSION}")


@ledger.command()
@_config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def backup(config_path: Path | None, file: Path, as_json: bool) -> None:
    """Write a backup to a file; servers may go on.

    The file holds everything, forget texts included, as of one generation, and only its owner may read it. It is a
    SQLite ledger whatever it was taken from.

    \b
    lethe ledger backup --config lethe.yaml ledger-backup.sqlite3
    """
    with _opened(_loaded(config_path), reading=True) as opened, _progress("backing up") as progress:
        try:
            generation = back_up(opened, file, progress)
        except LedgerError as error:
            fail(str(error))
    if as_json:
        print_json({"file": str(file), "generation": generation, "bytes": file.stat().st_size})
    else:
        say(f"wrote generation {generation} to {file}")


@ledger.command()
@_config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def restore(config_path: Path | None, file: Path, as_json: bool) -> None:
    """Fill an empty ledger from a backup. Stop its servers first.

    The ledger may be of the other kind: this is also how one moves from SQLite to PostgreSQL and back.

    \b
    lethe ledger restore --config lethe.yaml ledger-backup.sqlite3
    """
    config = _loaded(config_path)
    with _opened(config) as opened:
        _unused(opened, config)
        with _progress("restoring") as progress:
            try:
                generation = restore_into(file, opened, progress)
            except LedgerError as error:
                fail(str(error))
        entries = opened.count("entries")
        place = opened.place
    if as_json:
        print_json({"place": place, "generation": generation, "entries": entries})
    else:
        say(f"restored {count(entries, 'entry', 'entries')} into {place}; generation {generation}")


@ledger.command("new-key")
@json_option
def make_key(as_json: bool) -> None:
    """Print a new sealing key. It is stored nowhere: put it into the key file, and keep a copy.

    \b
    lethe ledger new-key >> sealing.keys
    """
    if as_json:
        print_json({"key": new_key()})
    else:
        say(new_key())


@ledger.command("rotate-key")
@_config_option
@json_option
def rotate_key(config_path: Path | None, as_json: bool) -> None:
    """Lay a further sealing key over all sealed entries. Stop the servers first.

    The new key stands behind the others in the key file (or variable). From then on the former keys alone open nothing
    of this ledger, but all stay needed; backups from before are still under the former keys alone.

    \b
    lethe ledger new-key >> sealing.keys
    lethe ledger rotate-key --config lethe.yaml
    """
    config = _loaded(config_path)
    try:
        keys = config.sealing_keys()
    except ConfigError as error:
        fail(str(error), CONFIG_WRONG)
    if keys is None:
        fail("no sealing keys are configured: set ledger.sealing_key_file", CONFIG_WRONG)
    with _opened(config) as opened:
        _unused(opened, config)
        with _progress("sealing") as progress:
            entries = lay_over(opened, keys, progress)
    if as_json:
        print_json({"keys": len(keys), "entries": entries})
    else:
        say(f"{count(entries, 'sealed entry is', 'sealed entries are')} under {len(keys)} keys now")


def _unused(opened: SqlLedger, config: Config) -> None:
    """Ends the command where a server uses the ledger."""
    if running := opened.living(config.ledger.lease_s):
        fail(f"{count(len(running), 'process uses', 'processes use')} the ledger {opened.place}: stop them first")


@contextmanager
def _opened(config: Config, *, reading: bool = False, migrating: bool = False) -> Iterator[SqlLedger]:
    """The configured ledger. `reading`: beside the servers that have it open. Ends the command when it fails."""
    opened: SqlLedger
    try:
        if config.ledger.url is not None:
            opened = PostgresLedger(config.ledger.url, migrating=migrating)
        else:
            if reading and not config.ledger_path.is_file():
                fail(f"there is no ledger {config.ledger_path}: set ledger.path, or state")
            opened = SqliteLedger(config.ledger_path, locked=reading)
    except LedgerError as error:
        fail(str(error))
    try:
        yield opened
    except LedgerError as error:
        fail(str(error))
    finally:
        opened.close()


@contextmanager
def _progress(what: str) -> Iterator[Any]:
    """A bar on a terminal."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=warnings,
        disable=not warnings.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _loaded(path: Path | None) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), CONFIG_WRONG)
