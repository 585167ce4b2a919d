"""Which embedder a server uses: the configured one, until another is chosen while it runs.

A choice is a document in the ledger, so all processes on it know it, also after a restart. It stands above what the
configuration says, until the configured embedder is chosen again, and is gone when all use that. Until it is carried
out it names the embedder that it takes the place of: a process that starts then goes on serving with that one.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import structlog

from guards.engine import cache
from guards.engine.cache import CacheError
from indexes.embedder import Embedder, EmbedderError, OnnxEmbedder
from indexes.ledger.records import CHOICE, CHOICES, Documents
from proxy.config import Config
from proxy.remote_embedder import RemoteEmbedder

PROBE = "Which city is the capital of France?"

_log = structlog.get_logger("lethe.embedder")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an embedder is: a prepared folder, a server with /v1/embeddings, or, with neither, the configured one.

    A server's key is no part of it: that is `embedder.api_key` of each process's own configuration.
    """

    path: str | None = None
    url: str | None = None
    model: str | None = None
    prefix: str = ""

    def shown(self) -> dict[str, str]:
        """What says where it is, without what was left out."""
        return {name: value for name, value in asdict(self).items() if value} or {"path": "as configured"}


CONFIGURED = Source()


@dataclass(frozen=True, slots=True)
class Named:
    """An embedder by the name of its vectors, and where it is."""

    embedder: str
    source: Source


@dataclass(frozen=True, slots=True)
class Choice:
    """The embedder that all processes are to use; `before`, the one of the processes that do not use it yet."""

    chosen: Named
    before: Named | None = None

    @classmethod
    def of(cls, documents: Documents | Mapping[str, Mapping[str, str]]) -> "Choice | None":
        """What the ledger says; None where nothing was ever chosen."""
        body = documents.get(CHOICES, {}).get(CHOICE)
        if body is None:
            return None
        said = json.loads(body)
        before = said.get("before")
        return cls(_named(said), None if before is None else _named(before))

    def body(self) -> str:
        """As `of` reads it."""
        before = None if self.before is None else asdict(self.before)
        return json.dumps({**asdict(self.chosen), "before": before})

    def documents(self) -> dict[str, str]:
        """What the ledger is to say: nothing where all use what is configured, so that a start may configure anew."""
        return {} if self == Choice(Named(self.chosen.embedder, CONFIGURED)) else {CHOICE: self.body()}


def _named(said: Mapping[str, object]) -> Named:
    source = said["source"]
    return Named(str(said["embedder"]), Source(**source) if isinstance(source, dict) else CONFIGURED)


class Embedders:
    """Opens embedders; those on a server are closed with this."""

    def __init__(self, config: Config, configured: Embedder | None = None) -> None:
        """`configured` takes the place of the one that the configuration names."""
        self._config = config
        self._configured = configured
        self._remote: list[RemoteEmbedder] = []
        self._lock = Lock()

    def open(self, source: Source, *, threads: int | None = None) -> Embedder:
        """Raises EmbedderError or CacheError. `threads` of a forward pass; None: as configured."""
        settings = self._config.embedder
        if source == CONFIGURED:
            if self._configured is not None:
                return self._configured
            source = Source(None, settings.url, settings.model, settings.prefix)
        if source.url is not None and source.model is not None:
            remote = RemoteEmbedder(
                source.url,
                source.model,
                api_key=settings.api_key,
                prefix=source.prefix,
                timeout_s=settings.deadline_s,
            )
            with self._lock:
                self._remote.append(remote)
            return remote
        folder = Path(source.path) if source.path is not None else self._config.embedder_path
        if cache.is_prepared(folder):
            cache.check(folder)
        return OnnxEmbedder(folder, threads or settings.threads)

    def named(self, wanted: Named, *, threads: int | None = None) -> Embedder:
        """The embedder whose vectors have a name. Raises EmbedderError, also where another one is there now."""
        try:
            found = self.open(wanted.source, threads=threads)
        except CacheError as error:
            raise EmbedderError(str(error)) from None
        if found.name != wanted.embedder:
            raise EmbedderError(
                f"the embedder '{wanted.embedder}' was chosen, but '{found.name}' is what is found now "
                f"({_place(wanted.source)}): put the former back, or choose this one with 'lethe embedder use'"
            )
        return found

    def tried(self, source: Source) -> str:
        """The name of an embedder that works. Raises EmbedderError."""
        try:
            embedder = self.open(source)
        except CacheError as error:
            raise EmbedderError(str(error)) from None
        try:
            made = embedder.embed([PROBE])
            works = made.shape == (1, embedder.dimensions) and bool(np.isfinite(made).all())
        except EmbedderError:
            raise
        except Exception as error:  # the libraries raise bare and private types
            raise EmbedderError(f"the embedder '{embedder.name}' does not embed ({type(error).__name__})") from None
        if not works:
            raise EmbedderError(
                f"the embedder '{embedder.name}' does not make vectors of {embedder.dimensions} numbers"
            )
        return embedder.name

    def at_start(self, documents: Documents) -> tuple[Named, Embedder]:
        """The embedder that a process starts with. Raises EmbedderError or CacheError."""
        choice = Choice.of(documents)
        if choice is None:
            found = self.open(CONFIGURED)
            return Named(found.name, CONFIGURED), found
        if choice.before is not None:
            try:
                return choice.before, self.named(choice.before)
            except EmbedderError as error:
                _log.warning("former_embedder_gone", problem=str(error), note="the chosen one is used at once")
        if choice.chosen.source != CONFIGURED:
            _log.info("embedder_chosen", embedder=choice.chosen.embedder, note="it stands above the configuration")
        return choice.chosen, self.named(choice.chosen)

    def close(self) -> None:
        with self._lock:
            for remote in self._remote:
                remote.close()


def _place(source: Source) -> str:
    return ", ".join(f"{name} {value}" for name, value in source.shown().items())
