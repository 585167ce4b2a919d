"""A worker's place among the processes of one server: what its parent tells it when it starts it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "LETHE_WORKER"
"""How the parent tells it: as JSON in the environment."""

FIRST = 0
"""The worker that also has the admin port, writes the audit log, and makes keys. It starts before the others."""

ALIVE, LISTENING = b".", b"1"
"""What a worker that starts tells its parent, a byte at a time."""

POLL_S = 0.05
"""How often a worker looks for what the others have written to the SQLite file that they share: 20 reads a second cost
some milliseconds, and a change holds in all workers within this time."""


@dataclass(frozen=True)
class Slot:
    """Worker `number` of `of`. Ports are the ones that all listen on; `folder` holds a socket for each.

    `listening` and `parent` are file descriptors: one is written to when the worker listens, the other ends when the
    parent does.
    """

    number: int
    of: int
    listen_port: int
    admin_port: int
    folder: str
    listening: int
    parent: int

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> "Slot | None":
        """The place of this process; None where it is no worker."""
        told = environ.get(VARIABLE)
        return cls(**json.loads(told)) if told else None

    def told(self) -> str:
        """As `here` reads it."""
        return json.dumps(asdict(self))

    @property
    def is_first(self) -> bool:
        return self.number == FIRST

    def socket(self, number: int | None = None) -> Path:
        """Where a worker of this server, or this one, shows its own metrics to the others."""
        return Path(self.folder, f"{self.number if number is None else number}.sock")

    def tell_alive(self) -> None:
        """Tells the parent that the start takes long, and goes on."""
        os.write(self.listening, ALIVE)

    def tell_listening(self) -> None:
        """Tells the parent that the ports are open."""
        os.write(self.listening, LISTENING)
        os.close(self.listening)
