"""Files of arrays that are mapped, not read: processes share them, and the system may drop them from memory.

A file holds a head (JSON), then its arrays, each at a place that suits its numbers, with a checksum over each part. It
is written beside its name and renamed, so it is there as a whole or not at all, whenever the process or the machine
stops; one wrong byte is an error, not a wrong answer.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Head = dict[str, Any]

MAGIC_BYTES = 16
PAGE = 4096  # bytes: arrays start at a page, or at a multiple of this part of it
_ALIGNED = 64
_READ = 1 << 20  # bytes read at a time while a checksum is taken: the file's pages need not stay in this process
_SIZES = struct.Struct("<II")  # of the head: bytes, checksum


class MappedError(Exception):
    """A file is damaged, was cut off or is of another kind."""


def write(path: Path, magic: bytes, head: Head, arrays: Mapping[str, Array]) -> None:
    """Writes a file that only its owner may read. Raises OSError."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(unfinished, "wb", opener=_for_the_owner) as file:
            _write_to(file, magic, head, {name: np.ascontiguousarray(array) for name, array in arrays.items()})
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def head_of(path: Path, magic: bytes) -> Head:
    """The head of a file; its arrays are not looked at. Raises MappedError."""
    return _told(path, magic).head


def read(path: Path, magic: bytes) -> tuple[Head, dict[str, Array]]:
    """Maps the arrays of a file, once every checksum is found right. Raises MappedError."""
    told = _told(path, magic)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != told.first + told.size:
                raise MappedError(f"{path.name} was cut off")
            if any(_checksum(file, told.first + one.place, one.size) != one.checksum for one in told.arrays.values()):
                raise MappedError(f"{path.name} is damaged")
        raw = np.memmap(path, np.uint8, "r", told.first) if told.size else np.empty(0, np.uint8)
    except OSError as error:
        raise MappedError(f"{path.name} cannot be read ({type(error).__name__})") from None
    return told.head, {
        name: np.asarray(raw[one.place : one.place + one.size]).view(one.dtype).reshape(one.shape)
        for name, one in told.arrays.items()
    }


def to_disk(folder: Path) -> None:
    """What was renamed in a folder stays so."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Laid:
    """Where an array lies behind the head, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    place: int
    size: int
    checksum: int


@dataclass(frozen=True, slots=True)
class _Told:
    """The beginning of a file: `first` is where the arrays begin, `size` what they take."""

    head: Head
    arrays: dict[str, _Laid]
    first: int
    size: int


def _write_to(file: BufferedWriter, magic: bytes, head: Head, arrays: Mapping[str, Array]) -> None:
    laid: dict[str, _Laid] = {}
    end = 0
    for name, array in arrays.items():
        place = -(-end // _ALIGNED) * _ALIGNED
        laid[name] = _Laid(array.dtype.str, array.shape, place, array.nbytes, zlib.crc32(_bytes(array)))
        end = place + array.nbytes
    raw = json.dumps({"head": head, "arrays": {name: astuple(one) for name, one in laid.items()}, "size": end}).encode()
    first = magic.ljust(MAGIC_BYTES, b"\n") + _SIZES.pack(len(raw), zlib.crc32(raw)) + raw
    file.write(first.ljust(-(-len(first) // PAGE) * PAGE, b"\n"))
    written = 0
    for name, array in arrays.items():
        file.write(bytes(laid[name].place - written))
        file.write(_bytes(array))
        written = laid[name].place + array.nbytes


def _told(path: Path, magic: bytes) -> _Told:
    try:
        with path.open("rb") as file:
            if file.read(MAGIC_BYTES) != magic.ljust(MAGIC_BYTES, b"\n"):
                raise MappedError(f"{path.name} is of another kind")
            length, checksum = _SIZES.unpack(file.read(_SIZES.size))
            raw = file.read(length)
        if len(raw) != length or zlib.crc32(raw) != checksum:
            raise MappedError(f"{path.name} is damaged")
        told = json.loads(raw)
        arrays = {name: _Laid(dtype, tuple(shape), *rest) for name, (dtype, shape, *rest) in told["arrays"].items()}
        first = -(-(MAGIC_BYTES + _SIZES.size + length) // PAGE) * PAGE
        return _Told(told["head"], arrays, first, told["size"])
    except (OSError, struct.error) as error:
        raise MappedError(f"{path.name} cannot be read ({type(error).__name__})") from None


def _checksum(file: BufferedReader, place: int, size: int) -> int:
    file.seek(place)
    found = 0
    while size and (piece := file.read(min(size, _READ))):
        found = zlib.crc32(piece, found)
        size -= len(piece)
    return found


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
