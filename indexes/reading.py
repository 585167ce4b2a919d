"""Reads texts with an embedder: first whole, at the price of one forward pass, then sharper where it is worth it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from indexes.embedder import ContextEmbedder, Embedder, WordEmbedder
from indexes.generation import Generation
from indexes.matches import Match
from indexes.scan import Look, Scan, looks_of, scan_of_look, with_views
from indexes.spelling import Spelling
from indexes.views import view_of
from indexes.windows import Window, windows_of

MISSPELT = "spelling"
"""The step of a view in which slips of the hand are mended."""

TOGETHER = "together"
"""The step of a view in which words that are written together are set apart."""

SLIP_LOSS = 0.45
"""How much nearer to an entry a window may be without its slips (most questions with slips in 6 % of letters)."""

MENDED = 4
"""Windows of a text that are read without slips, the nearest first."""


class Reader:
    """Turns texts into scans. May be called from several threads."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._in_context = embedder if isinstance(embedder, ContextEmbedder) and embedder.reads_context else None
        self._spelling = Spelling(embedder.words if isinstance(embedder, WordEmbedder) else ())

    def read(self, texts: Sequence[str]) -> list[Scan]:
        """A scan for each text. Windows that only a context has said something about are left rough."""
        looks = [[*looks_of(text), *self._parted(text)] for text in texts]
        flat = [look for ways in looks for look in ways]
        scans = iter(self._scans(flat))
        return [with_views([next(scans) for _ in ways]) for ways in looks]

    def _parted(self, text: str) -> list[Look]:
        """A view of a text in which words are written together."""
        apart = self._spelling.parted(text)
        if apart == text:
            return []
        view = view_of(text, apart, (TOGETHER,))
        return [Look(view.text, tuple(windows_of(view.text)), view.steps, (view.start, view.end))]

    def matched(
        self, scans: Sequence[Scan], generation: Generation, threshold: float
    ) -> tuple[list[Scan], list[list[Match]]]:
        """Everything in each text that is near an entry, and the scans with what that took.

        The matches of a text have its number as their source. Scores of `threshold` and more are complete.
        """
        remembering = generation.remembering()
        sharp = self.sharpened(scans, remembering, threshold)
        return sharp, [remembering.matches(source, scan) for source, scan in enumerate(sharp)]

    def sharpened(self, scans: Sequence[Scan], generation: Generation, threshold: float) -> list[Scan]:
        """The scans with every window embedded that could be a match of an entry of the generation.

        `threshold` is the lowest score that counts. Returns the scans themselves where nothing is in doubt.
        """
        return self._mended(self._embedded(scans, generation, threshold), generation, threshold)

    def _embedded(self, scans: Sequence[Scan], generation: Generation, threshold: float) -> list[Scan]:
        views = [(scan, *scan.views) for scan in scans]
        chosen = [[generation.doubtful(view, threshold) for view in each] for each in views]
        texts = [
            view.rough.windows[number].text
            for each, numbers in zip(views, chosen, strict=True)
            for view, some in zip(each, numbers, strict=True)
            if view.rough is not None
            for number in some
        ]
        if not texts:
            return list(scans)
        vectors = self._embedder.embed(texts)
        sharp, start = [], 0
        for each, numbers in zip(views, chosen, strict=True):
            done = []
            for view, some in zip(each, numbers, strict=True):
                done.append(view.sharpened(some, vectors[start : start + len(some)]))
                start += len(some)
            sharp.append(replace(done[0], views=tuple(done[1:])))
        return sharp

    def _mended(self, scans: list[Scan], generation: Generation, threshold: float) -> list[Scan]:
        """The scans with views of windows in which slips may hide an entry."""
        looks = [self._without_slips(scan, generation, threshold - SLIP_LOSS) for scan in scans]
        texts = [look.text for some in looks for look in some]
        if not texts:
            return scans
        vectors = iter(self._embedder.embed(texts))
        return [
            replace(scan, views=(*scan.views, *(scan_of_look(look, next(vectors)[None]) for look in some)))
            for scan, some in zip(scans, looks, strict=True)
        ]

    def _without_slips(self, scan: Scan, generation: Generation, level: float) -> list[Look]:
        """Windows near an entry that read otherwise when their slips are mended, and were not read so before."""
        windows, vectors = scan.at_a_glance()
        similar = generation.nearest(vectors)
        near = (windows[place] for place in np.argsort(-similar, kind="stable") if similar[place] >= level)
        doubted = islice((window for window in near if self._spelling.doubts(window.text)), MENDED)
        known = {view.origin for view in scan.views if view.steps == (MISSPELT,)}
        looks = []
        for window in doubted:
            text, origin = self._spelling.mended(window.text), (window.start, window.end)
            if text != window.text and origin not in known:
                looks.append(Look(text, (Window(text, 0, len(text)),), (MISSPELT,), origin))
        return looks

    def _scans(self, looks: Sequence[Look]) -> list[Scan]:
        if self._in_context is not None:
            spans = [[(window.start, window.end) for window in look.windows] for look in looks]
            found = self._in_context.embed_in_context([look.text for look in looks], spans)
            return [scan_of_look(look, one.vectors, one.exact.tolist()) for look, one in zip(looks, found, strict=True)]
        flat = [window.text for look in looks for window in look.windows]
        vectors = self._embedder.embed(flat) if flat else np.empty((0, self._embedder.dimensions), np.float32)
        ends = np.cumsum([len(look.windows) for look in looks])
        return [scan_of_look(look, rows) for look, rows in zip(looks, np.split(vectors, ends[:-1]), strict=True)]
