"""A text made ready to be compared: its windows with their vectors, its words, and other ways of reading it.

Most texts are near nothing, and that is seen from one forward pass over the whole text: the vectors of its tokens,
averaged over a window, are a *rough* vector of that window. It leans towards the words around it, so it decides
nothing; it says which windows are worth an embedding of their own (`Generation.doubtful`), which alone is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from indexes.calibration import NO_DETAILS
from indexes.names.details import Counts, Held, counted, held_in, ranges, sentences_around
from indexes.vectors import Vectors
from indexes.views import views_of
from indexes.windows import Window, windows_of
from indexes.words import Word, words_of

OUTSHONE = 0.04
"""A window is left rough when one that shares half of it is nearer to the same text by more than this."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True, repr=False)
class Rough:
    """Windows of a text that have no embedding of their own yet, with rough vectors."""

    windows: tuple[Window, ...]
    vectors: Vectors
    inside: tuple[Range, ...]
    around: tuple[Range, ...]

    def only(self, chosen: Sequence[int]) -> "Rough":
        """The windows of these numbers."""
        return Rough(
            tuple(self.windows[i] for i in chosen),
            self.vectors[list(chosen)],
            tuple(self.inside[i] for i in chosen),
            tuple(self.around[i] for i in chosen),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Scan:
    """One text of a request, ready to be compared: its windows with their vectors, and its words.

    `held` are the words that details are compared with, `inside` and `around` which of them stand in each window and in
    the sentences around it. `rough` are the windows that are not compared. `views` are other ways of reading the text,
    `steps` what was undone for this one, and `origin` which characters of the original it stands for.
    """

    windows: tuple[Window, ...]
    vectors: Vectors
    words: tuple[Word, ...]
    held: tuple[Held, ...] = ()
    inside: tuple[Range, ...] = ()
    around: tuple[Range, ...] = ()
    rough: Rough | None = None
    views: tuple["Scan", ...] = ()
    steps: tuple[str, ...] = ()
    origin: Range | None = None

    def at_a_glance(self) -> tuple[tuple[Window, ...], Vectors]:
        """The windows by which it is first looked whether anything is near, rough ones last, and their vectors."""
        if self.rough is None:
            return self.windows, self.vectors
        coarse = self.rough.only([i for i, window in enumerate(self.rough.windows) if window.coarse])
        return (*self.windows, *coarse.windows), np.concatenate([self.vectors, coarse.vectors])

    def counts(self, window: int, entry: bytes) -> Counts:
        """The details of an entry's text in a window."""
        if not self.inside or len(entry) < 8:
            return NO_DETAILS
        (a, b), (c, d) = self.inside[window], self.around[window]
        return counted(self.held[a:b], self.held[c:d], entry)

    def sharpened(self, chosen: Sequence[int], vectors: Vectors) -> "Scan":
        """The same text with some of its rough windows embedded by themselves."""
        if self.rough is None or not len(chosen):
            return self
        taken = self.rough.only(chosen)
        gone = set(chosen)
        return replace(
            self,
            windows=(*self.windows, *taken.windows),
            vectors=np.concatenate([self.vectors, vectors]),
            inside=(*self.inside, *taken.inside),
            around=(*self.around, *taken.around),
            rough=self.rough.only([i for i in range(len(self.rough.windows)) if i not in gone]),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Look:
    """One way of reading a text, with the windows by which it is compared."""

    text: str
    windows: tuple[Window, ...]
    steps: tuple[str, ...] = ()
    origin: Range | None = field(default=None)


def looks_of(text: str) -> list[Look]:
    """A text as it stands, then its views."""
    views = (Look(v.text, tuple(windows_of(v.text)), v.steps, (v.start, v.end)) for v in views_of(text))
    return [Look(text, tuple(windows_of(text))), *views]


def scan_of(windows: Sequence[Window], vectors: Vectors, text: str, exact: Sequence[bool] | None = None) -> Scan:
    """A text as it stands, ready for `Generation.matches`.

    `vectors` are those of its windows; `exact` says which are their embeddings and which are rough, None that all are.
    """
    words = tuple(words_of(text))
    held = held_in(text, words)
    spans = [(window.start, window.end) for window in windows]
    every = Rough(
        tuple(windows), vectors, tuple(ranges(held, spans)), tuple(ranges(held, sentences_around(text, spans)))
    )
    if exact is None or all(exact):
        return Scan(every.windows, every.vectors, words, held, every.inside, every.around)
    known = every.only([i for i, is_exact in enumerate(exact) if is_exact])
    rough = every.only([i for i, is_exact in enumerate(exact) if not is_exact])
    return Scan(known.windows, known.vectors, words, held, known.inside, known.around, rough)


def scan_of_look(look: Look, vectors: Vectors, exact: Sequence[bool] | None = None) -> Scan:
    """One way of reading a text; see `scan_of`."""
    return replace(scan_of(look.windows, vectors, look.text, exact), steps=look.steps, origin=look.origin)


def with_views(scans: Sequence[Scan]) -> Scan:
    """The first scan, with the others as its views."""
    return replace(scans[0], views=tuple(scans[1:]))


def sharper(scan: Scan, exact: Vectors, rough: Vectors, level: float) -> tuple[int, ...]:
    """Which rough windows of a scan are to be embedded by themselves.

    `exact` and `rough` are similarities of its windows and of its rough windows to the same texts, [windows, texts].
    """
    if scan.rough is None or not rough.size:
        return ()
    hopeful = np.flatnonzero(rough.max(axis=1) >= level)
    windows = [*scan.windows, *(scan.rough.windows[i] for i in hopeful)]
    similar = np.concatenate([exact, rough[hopeful]])
    starts, ends = np.array([w.start for w in windows]), np.array([w.end for w in windows])
    chosen = []
    for place, window in enumerate(hopeful, len(scan.windows)):
        shared = np.minimum(ends[place], ends) - np.maximum(starts[place], starts)
        beside = similar[2 * shared >= ends[place] - starts[place]]
        hopes = (similar[place] >= level) & (beside.max(axis=0) <= similar[place] + OUTSHONE)
        if hopes.any():
            chosen.append(int(window))
    return tuple(chosen)
