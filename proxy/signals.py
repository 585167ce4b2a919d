"""Measures signals off the event loop: embeds the texts of a request once and compares them with a generation.

Texts are read by the embedder of the generation that they are compared with (`proxy.reading`).
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Lock
from typing import TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

import numpy as np

from guards.model import Signals
from indexes.scan import Scan, scan_of
from indexes.vectors import Vectors
from proxy.config import EmbedderSettings
from proxy.errors import GuardUnavailable
from proxy.metrics import Metrics
from proxy.reading import Reading, Scans, Served

Measured = tuple[Signals, Scans]

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class SignalMeter:
    """Owns the threads that embed and search. `measure` answers within the deadline or raises GuardUnavailable."""

    def __init__(self, settings: EmbedderSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(settings.workers, "signals")
        self._waiting = 0
        self._seen: WeakKeyDictionary[Reading, _ScanCache] = WeakKeyDictionary()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def waited(self) -> bool:
        """True while somebody waits for an answer."""
        return self._waiting > 0

    async def scan(self, texts: Sequence[str], reading: Reading) -> Scans:
        """Windows, vectors and words of each text. Raises GuardUnavailable."""
        return await self._run(self._scan, tuple(texts), reading, self._cache(reading))

    async def measure(self, texts: Sequence[str], scans: Scans, generation: Served, threshold: float) -> Measured:
        """Everything in the texts that is near an entry of a generation, and the scans with what that took.

        Scores of `threshold` and more are complete. Raises GuardUnavailable.
        """
        if scans.reading is not generation.reading:
            raise ValueError("these texts were read for another index")  # their vectors mean nothing to this one
        seen = self._cache(scans.reading)
        return await self._run(self._compare, tuple(texts), scans, generation, threshold, seen)

    async def reaches(self, scans: Scans, seams: Sequence[str], generation: Served, level: float) -> bool:
        """Whether any of some texts is as near as `level` to an entry, or a name or phrase of one lies on a seam.

        Raises GuardUnavailable.
        """
        return await self._run(_reaches, scans, tuple(seams), generation, level)

    async def embed(self, texts: Sequence[str], reading: Reading) -> Vectors:
        """The embeddings of some texts, as they stand. Raises GuardUnavailable."""
        return await self._run(reading.embedder.embed, list(texts))

    async def similarity(self, one: str, other: str, reading: Reading) -> float:
        """Cosine similarity of two texts, 0 where they are opposed. Raises GuardUnavailable."""
        first, second = await self.embed([one, other], reading)
        return float(np.clip(first @ second, 0.0, 1.0))

    async def _run(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        if self._waiting >= self._settings.queue:
            raise GuardUnavailable("the server is busy checking requests", code="overloaded", retry_after_s=1)
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                return await loop.run_in_executor(self._pool, work, *arguments)
        except TimeoutError:
            self._metrics.guard_faults.labels("embedder", "false").inc()
            raise GuardUnavailable("the request could not be checked in time", retry_after_s=1) from None
        except Exception as error:
            # Whatever failed, nothing was measured, so nothing may pass; the type tells the operator what it was.
            self._metrics.guard_faults.labels("embedder", "false").inc()
            raise GuardUnavailable("the request could not be checked", retry_after_s=1) from error
        finally:
            self._waiting -= 1

    def _cache(self, reading: Reading) -> "_ScanCache":
        return self._seen.setdefault(reading, _ScanCache(self._settings.cache_mib * 1024**2))

    def _scan(self, texts: tuple[str, ...], reading: Reading, seen: "_ScanCache") -> Scans:
        found = {text: seen.get(text) for text in texts}
        new = [text for text, scan in found.items() if scan is None]
        for text, made in zip(new, reading.reader.read(new) if new else (), strict=True):
            seen.put(text, made)
            found[text] = made
        return Scans(reading, tuple(scan for text in texts if (scan := found[text]) is not None))

    def _compare(
        self, texts: tuple[str, ...], scans: Scans, generation: Served, threshold: float, seen: "_ScanCache"
    ) -> Measured:
        sharp, matches = scans.reading.reader.matched(scans.texts, generation, threshold)
        for text, scan, before in zip(texts, sharp, scans.texts, strict=True):
            if scan is not before:
                seen.put(text, scan)
        return Signals(tuple(chain.from_iterable(matches))), Scans(scans.reading, tuple(sharp))


def _reaches(scans: Scans, seams: tuple[str, ...], generation: Served, level: float) -> bool:
    views = [view for scan in scans.texts for view in (scan, *scan.views)]
    rough = [view.rough.vectors for view in views if view.rough is not None]
    vectors = [some for some in (*(view.vectors for view in views), *rough) if len(some)]
    if vectors and float(generation.nearest(np.concatenate(vectors)).max(initial=-1.0)) >= level:
        return True
    none = np.empty((0, scans.reading.embedder.dimensions), np.float32)
    return any(generation.matches(0, scan_of((), none, seam)) for seam in seams)


class _ScanCache:
    """Texts seen before, by hash, least recently used first out: the earlier turns of a conversation cost nothing."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity  # bytes
        self._used = 0
        self._items: OrderedDict[bytes, tuple[Scan, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, text: str) -> Scan | None:
        key = _key(text)
        with self._lock:
            item = self._items.get(key)
            if item:
                self._items.move_to_end(key)
                return item[0]
        return None

    def put(self, text: str, scan: Scan) -> None:
        read = (scan, *scan.views)
        words = sum(len(view.words) for view in read)  # with their windows and details they repeat the text many times
        vectors = sum(view.vectors.nbytes + (view.rough.vectors.nbytes if view.rough else 0) for view in read)
        size = vectors + len(text) * 12 + words * 200 + 200
        key = _key(text)
        with self._lock:
            if size > self._capacity:
                return
            self._used -= self._items.pop(key, (None, 0))[1]
            self._items[key] = (scan, size)
            self._used += size
            while self._used > self._capacity:
                self._used -= self._items.popitem(last=False)[1][1]


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
