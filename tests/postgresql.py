"""A PostgreSQL server of the tests' own: started once, on a socket in a private folder and on a loopback port.

Tests that need it skip where it is not installed, and say what to install; `make test` installs it where it can.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

START_LIMIT_S = 60
CURE = "install PostgreSQL's server (Debian, Ubuntu: apt install postgresql)"


class NoPostgres(Exception):
    """There is no server to start; the message names the cure."""


@dataclass(frozen=True)
class PostgresServer:
    """A server that runs. Everyone on this machine may connect: it holds nothing but what tests put in."""

    port: int
    folder: Path
    """Everything that it writes."""

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """A database of the server; `port` where something stands between."""
        return f"postgresql://lethe@127.0.0.1:{port or self.port}/{database}"

    def fresh(self, name: str) -> str:
        """The URL of an empty database; one of that name that was there is gone."""
        with psycopg.connect(self.url(), autocommit=True) as db:
            db.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            db.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Starts a server; it is gone, with all its files, when the block ends. Raises NoPostgres."""
    binaries = _binaries()
    with tempfile.TemporaryDirectory(prefix="lethe-pg-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        data, log = Path(folder, "data"), Path(folder, "log")
        data.mkdir()
        log.touch()
        for path in (data, log, Path(folder)):
            os.chown(path, _user(), -1)
        _run(
            binaries / "initdb", "-D", data, "-U", "lethe", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"
        )
        port = _unused_port()
        # Nothing here outlives the tests, so nothing is synced.
        settings = {"fsync": "off", "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder}
        settings |= {"shared_buffers": "32MB", "max_connections": 50}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        _run(binaries / "pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "-t", START_LIMIT_S, "start")
        try:
            yield PostgresServer(port, Path(folder))
        finally:
            _run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _binaries() -> Path:
    """Where the newest server is. Raises NoPostgres."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        raise NoPostgres(f"no PostgreSQL server here: {CURE}")
    return Path(initdb).resolve().parent


def _user() -> int:
    """Who runs the server: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return os.geteuid()
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody'")


def _run(*command: object) -> None:
    user = _user()
    as_user = {"user": user} if user != os.geteuid() else {}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=START_LIMIT_S + 10,
        check=False,
        cwd="/tmp",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        **as_user,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise RuntimeError(f"{Path(str(command[0])).name} failed: {done.stdout[-500:]}{done.stderr[-500:]}")


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
