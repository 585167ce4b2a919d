"""Appends to a file whole or not at all: what a full disk cut short would be the start of the next line."""

import os
from contextlib import suppress
from pathlib import Path


def append(path: Path, data: bytes) -> None:
    """Writes data at the end of a file of its owner's alone, and syncs it. Raises OSError, having left nothing then."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(file).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, size)
            raise
    finally:
        os.close(file)
