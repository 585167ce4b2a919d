"""The cache of prepared models: where it lies, how a folder is published, how damage is noticed.

Rules of a prepared folder:

1. It is made beside its final place under another name and renamed into place, so what has the final name is complete.
2. Its `manifest.json` is written last, names every other file with size, modification time and SHA-256, and is never
   edited.
3. Readers call `check` before they use it. The quick check compares sizes and times and hashes only what differs;
   `full=True` hashes everything (a flipped bit keeps size and time).
4. Every error names the file and the cure.

Standard library only: the proxy reads this module too, and neither torch nor vllm lives in its environment.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
MODEL = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
CURE = "run `make models` to prepare it again"
_PARTIAL = ".partial-"


class CacheError(Exception):
    """A prepared folder is missing or damaged. The message names the path and the cure."""


class CacheMissing(CacheError):
    """Nothing complete is there: never prepared, or the preparation was interrupted."""


class CacheDamaged(CacheError):
    """What is there is not what was prepared."""


@dataclass(frozen=True)
class FileRecord:
    """One file of a prepared folder. `path` is relative to the folder, with forward slashes."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was prepared. `recipe` changes when the same name would be prepared differently."""

    name: str
    recipe: str
    files: tuple[FileRecord, ...]
    format: int = MANIFEST_FORMAT

    @property
    def size(self) -> int:
        """Bytes of all files together, the manifest not counted."""
        return sum(record.size for record in self.files)


def cache_root(explicit: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The cache folder: `explicit`, else LETHE_CACHE, else ~/.cache/lethe. Absolute; it need not exist."""
    chosen = explicit or (os.environ if environ is None else environ).get("LETHE_CACHE") or "~/.cache/lethe"
    return Path(chosen).expanduser().absolute()


def model_folder(root: Path, name: str = MODEL) -> Path:
    """Where a checkpoint lies under the cache root."""
    return root / "models" / name


def embedder_folder(root: Path, name: str = EMBEDDER) -> Path:
    """Where an embedder lies under the cache root."""
    return root / "embedders" / name


def is_prepared(folder: Path) -> bool:
    """Whether `folder` carries a manifest, so that `check` applies to it (a user's own checkpoint has none)."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder. Raises CacheMissing or CacheDamaged."""
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != MANIFEST_FORMAT:
            raise CacheDamaged(f"{path} has format {raw['format']!r}, this version reads {MANIFEST_FORMAT}; {CURE}")
        files = tuple(FileRecord(**record) for record in raw["files"])
        return Manifest(name=raw["name"], recipe=raw["recipe"], files=files)
    except FileNotFoundError as error:
        raise CacheMissing(f"{folder} is not prepared (no {MANIFEST} there); {CURE}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheDamaged(f"{path} cannot be read ({type(error).__name__}); {CURE}") from error


def check(folder: Path, *, full: bool = False) -> Manifest:
    """Check every file of a prepared folder against its manifest, and return the manifest.

    Quick unless `full`: size first, then the modification time; a file whose time differs (a copied cache) is hashed.
    Raises CacheMissing or CacheDamaged.
    """
    manifest = read_manifest(folder)
    for record in manifest.files:
        path = folder / record.path
        try:
            status = path.stat()
        except OSError as error:
            raise CacheDamaged(f"{path} is missing; {CURE}") from error
        if status.st_size != record.size:
            raise CacheDamaged(f"{path} has {status.st_size} bytes instead of {record.size}; {CURE}")
        if (full or status.st_mtime_ns != record.mtime_ns) and file_sha256(path) != record.sha256:
            raise CacheDamaged(f"{path} is damaged (its SHA-256 differs from the manifest's); {CURE}")
    return manifest


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises CacheDamaged when the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CacheDamaged(f"{path} cannot be read ({error.strerror}); {CURE}") from error


@contextmanager
def publish(folder: Path, *, recipe: str) -> Iterator[Path]:
    """Give a fresh folder to fill; when the block ends well, seal it with a manifest and rename it to `folder`.

    When the block raises or the process dies, `folder` stays as it was. An older `folder` is replaced; whoever has its
    files open keeps them. Call it inside `locked`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}{_PARTIAL}", dir=folder.parent))
    try:
        yield partial
        _seal(partial, name=folder.name, recipe=recipe)
        # mkdtemp and some writers are private to the user; containers run the server as somebody else.
        partial.chmod(0o755)
        if folder.exists():
            # A folder cannot be renamed over a full one; dying between the two lines leaves "not prepared", no mixture.
            folder.rename(Path(tempfile.mkdtemp(prefix=f".{folder.name}{_PARTIAL}", dir=folder.parent)) / "old")
        partial.rename(folder)
        _fsync(folder.parent)
    finally:
        sweep(folder)


def sweep(folder: Path) -> None:
    """Remove what interrupted preparations of `folder` left beside it. Call it inside `locked`."""
    for leftover in folder.parent.glob(f".{folder.name}{_PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def locked(root: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the cache for one writer; `on_wait` is called once if another has it. The lock dies with its process."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _seal(folder: Path, *, name: str, recipe: str) -> None:
    records = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        path.chmod(0o644)
        _fsync(path)
        status = path.stat()
        relative = path.relative_to(folder).as_posix()
        records.append(FileRecord(relative, status.st_size, status.st_mtime_ns, file_sha256(path)))
    manifest = folder / MANIFEST
    body = asdict(Manifest(name=name, recipe=recipe, files=tuple(records)))
    manifest.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    _fsync(manifest)
    _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
