"""An `/v1/embeddings` server as the embedder: any model that vLLM, TEI or another server embeds with.

Calls are made from the embedding threads; connections are kept open between calls. What comes back is checked: a vector
of another width or without length would let everything pass.
"""

import http.client
import json
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from indexes.embedder import EmbedderError
from indexes.vectors import Vectors

BATCH = 64  # texts in one call; servers bound theirs


class RemoteEmbedder:
    """Implements `Embedder`. A server that does not answer is an EmbedderError, and the guards fail closed."""

    def __init__(
        self, url: str, model: str, *, api_key: str | None = None, prefix: str = "", timeout_s: float = 10.0
    ) -> None:
        """Asks the server for one vector, to learn how wide they are; raises EmbedderError."""
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        path = parts.path.rstrip("/")
        self._path = f"{path}/embeddings" if path.endswith("/v1") else f"{path}/v1/embeddings"
        self._model, self._prefix, self._timeout_s = model, prefix, timeout_s
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._where = f"{self._host}:{self._port}" if self._port else self._host
        self._idle: deque[http.client.HTTPConnection] = deque()  # taking and giving back are atomic
        self._dimensions = 0
        try:
            self._dimensions = self._asked(["width"]).shape[1]
        except EmbedderError:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connections that wait for the next call."""
        while self._idle:
            self._idle.pop().close()

    @property
    def name(self) -> str:
        return f"{self._model}:{self._dimensions}:{self._prefix}"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Raises EmbedderError."""
        vectors = np.empty((len(texts), self._dimensions), np.float32)
        for first in range(0, len(texts), BATCH):
            part = [self._prefix + text for text in texts[first : first + BATCH]]
            vectors[first : first + BATCH] = self._asked(part)
        return vectors

    def _asked(self, texts: list[str]) -> Vectors:
        body = json.dumps({"model": self._model, "input": texts, "encoding_format": "float"}).encode()
        try:
            status, raw = self._called(body)
        except (OSError, http.client.HTTPException) as error:
            raise EmbedderError(
                f"the embedder at {self._where} does not answer ({type(error).__name__}): start it, or set embedder.url"
            ) from None
        if status != 200:
            raise EmbedderError(f"the embedder at {self._where} answered with status {status}: see embedder.model")
        return self._read(raw, len(texts))

    def _called(self, body: bytes) -> tuple[int, bytes]:
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._exchanged(self._connection(), body)
        try:
            return self._exchanged(kept, body)
        except (OSError, http.client.HTTPException):  # the server closed what was idle: once more on a fresh one
            return self._exchanged(self._connection(), body)

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s)

    def _exchanged(self, connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
        try:
            connection.request("POST", self._path, body, self._headers)
            response = connection.getresponse()
            answer = response.status, response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer

    def _read(self, raw: bytes, count: int) -> Vectors:
        try:
            rows: list[dict[str, Any]] = sorted(json.loads(raw)["data"], key=lambda row: int(row["index"]))
            vectors = np.array([row["embedding"] for row in rows], np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise EmbedderError(
                f"the embedder at {self._where} answered with something else ({type(error).__name__})"
            ) from None
        width = self._dimensions or (vectors.shape[1] if vectors.ndim == 2 else 0)
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        if vectors.shape != (count, width) or not width or not np.isfinite(lengths).all() or not lengths.all():
            raise EmbedderError(f"the embedder at {self._where} answered with vectors that cannot be compared")
        unit: Vectors = vectors / lengths
        return unit
