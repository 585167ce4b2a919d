"""Sentence embeddings on ONNX Runtime. The only module that knows onnxruntime and tokenizers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Encoding, Tokenizer

from indexes.vectors import Vectors

BATCH = 32  # texts per forward pass: beyond, padding costs more than batching saves on a CPU
ENCODED = 4096  # texts that are split into tokens at a time: beyond, their tokens would take more than their vectors
OVERLAP = 64  # tokens that two neighbouring pieces of a long text share: every window of 24 words lies in one of them

WORD_START = "\u2581"  # marks the beginning of a word in vocabularies that do not mark what continues one

Span = tuple[int, int]


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def name(self) -> str:
        """Identifies model and version: vectors of different names are not comparable."""
        ...

    @property
    def dimensions(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), dimensions], float32, unit length. May be called from several threads."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class InContext:
    """Vectors of spans of one text, [spans, dimensions]; `exact` are those that the span by itself would have."""

    vectors: Vectors
    exact: npt.NDArray[np.bool_]


@runtime_checkable
class ContextEmbedder(Embedder, Protocol):
    """An embedder that can read a text once and say roughly what each of its spans is near to."""

    @property
    def reads_context(self) -> bool: ...

    def embed_in_context(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[InContext]:
        """The mean of the tokens of each span (characters of its text), seen among the tokens around them."""
        ...


@runtime_checkable
class WordEmbedder(Embedder, Protocol):
    """An embedder of which it is known what words it reads whole."""

    @property
    def words(self) -> Sequence[str]:
        """In small Latin letters, the commonest first."""
        ...


class EmbedderError(Exception):
    """The embedder's folder cannot be used; the message says what is wrong and the cure."""


@dataclass(frozen=True)
class EmbedderCard:
    """`embedder.json`: how a model wants to be used."""

    name: str
    dimensions: int
    pooling: str
    normalize: bool
    max_tokens: int
    prefix_query: str = ""

    @classmethod
    def read(cls, folder: Path) -> "EmbedderCard":
        """Raises EmbedderError when the card is missing or not understood."""
        cure = "run 'make models' or point embedder.path at a prepared folder"
        unusable = f"embedder.json in {folder} is not usable"
        try:
            card = json.loads((folder / "embedder.json").read_text("utf-8"))
            read = cls(**{name: card[name] for name in cls.__dataclass_fields__ if name in card})
        except OSError as error:
            raise EmbedderError(f"no embedder in {folder} ({type(error).__name__}): {cure}") from None
        except (ValueError, TypeError) as error:
            raise EmbedderError(f"{unusable} ({type(error).__name__}): {cure}") from None
        if read.pooling not in ("mean", "cls"):
            raise EmbedderError(f"{unusable}: pooling must be 'mean' or 'cls'")
        for name in ("dimensions", "max_tokens"):
            value = getattr(read, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise EmbedderError(f"{unusable}: {name} must be a number above 0")
        return read


class OnnxEmbedder:
    """A sentence-transformers model exported to ONNX (`model.onnx`, `tokenizer.json`, `embedder.json`)."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Loads the model; raises EmbedderError. `threads` are used inside one forward pass."""
        self.card = EmbedderCard.read(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from the engine between two requests.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the libraries raise bare and private types: name the cure whatever it was
            raise EmbedderError(
                f"the embedder in {folder} does not load ({type(error).__name__}): run 'make models' to remake it"
            ) from error
        self._tokenizer.no_padding()  # some files say otherwise; each batch is padded to its own longest text
        self._pieces = Tokenizer.from_str(self._tokenizer.to_str())
        self._pieces.enable_truncation(self.card.max_tokens, stride=min(OVERLAP, self.card.max_tokens // 4))
        self._tokenizer.enable_truncation(self.card.max_tokens)
        self._inputs = {node.name for node in self._session.get_inputs()}
        made = self._session.get_outputs()[0].shape[-1]
        if isinstance(made, int) and made != self.card.dimensions:
            raise EmbedderError(
                f"the model in {folder} makes vectors of {made} numbers, its embedder.json says "
                f"{self.card.dimensions}: run 'make models' to remake it"
            )
        self._name = f"{self.card.name}:{hashlib.sha256((folder / 'embedder.json').read_bytes()).hexdigest()[:12]}"

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimensions(self) -> int:
        return self.card.dimensions

    @cached_property
    def words(self) -> Sequence[str]:
        """The tokens that are whole words; vocabularies are written in the order of how common their tokens are."""
        tokens = self._tokenizer.get_vocab(with_added_tokens=False)
        marked = any(token.startswith(WORD_START) for token in tokens)
        whole = (
            token.removeprefix(WORD_START)
            for token in sorted(tokens, key=tokens.__getitem__)
            if token.startswith(WORD_START) or not marked
        )
        return tuple(dict.fromkeys(word.lower() for word in whole if word.isascii() and word.isalpha()))

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), ENCODED):
            some = texts[start : start + ENCODED]
            encoded = self._tokenizer.encode_batch([self.card.prefix_query + text for text in some])
            order = sorted(range(len(some)), key=lambda i: len(encoded[i].ids))  # neighbours share little padding
            for first in range(0, len(order), BATCH):
                rows = order[first : first + BATCH]
                vectors[[start + row for row in rows]] = self._pooled(*self._states([encoded[row] for row in rows]))
        return vectors

    @property
    def reads_context(self) -> bool:
        """True where a text's vector is the mean of its tokens: only then does a part of them say anything."""
        return self.card.pooling == "mean" and self.card.normalize

    def embed_in_context(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[InContext]:
        prefix = self.card.prefix_query
        pieces = [[e, *e.overflowing] for e in self._pieces.encode_batch([prefix + text for text in texts])]
        order = sorted(
            ((number, place) for number, some in enumerate(pieces) for place in range(len(some))),
            key=lambda at: len(pieces[at[0]][at[1]].ids),
        )
        hidden: dict[tuple[int, int], Vectors] = {}
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            states, _ = self._states([pieces[number][place] for number, place in batch])
            for at, rows in zip(batch, states, strict=True):
                hidden[at] = rows[: len(pieces[at[0]][at[1]].ids)]
        return [
            _spans_of(some, [hidden[number, place] for place in range(len(some))], spans[number], len(prefix))
            for number, some in enumerate(pieces)
        ]

    def _states(self, encoded: Sequence[Encoding]) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """The last hidden states of pieces of text, [pieces, longest, dimensions], and which are of tokens (1)."""
        longest = max(len(e.ids) for e in encoded)
        ids = np.zeros((len(encoded), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, e in enumerate(encoded):
            ids[row, : len(e.ids)], mask[row, : len(e.ids)] = e.ids, 1
        feed = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(mask)
        return self._session.run(None, feed)[0], mask

    def _pooled(self, hidden: Vectors, mask: npt.NDArray[np.int64]) -> Vectors:
        """One vector a text, as the card wants it."""
        if self.card.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weight = mask[:, :, None].astype(np.float32)
            pooled = (hidden * weight).sum(axis=1) / weight.sum(axis=1)
        if self.card.normalize:
            pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        result: Vectors = pooled.astype(np.float32, copy=False)
        return result


def _spans_of(pieces: Sequence[Encoding], states: Sequence[Vectors], spans: Sequence[Span], prefix: int) -> InContext:
    """Vectors of spans of a text from the states of its pieces' tokens. `prefix` characters stand before the text."""
    vectors = np.zeros((len(spans), states[0].shape[1]), np.float32)
    exact = np.zeros(len(spans), np.bool_)
    if not spans:
        return InContext(vectors, exact)
    first = np.array([start for start, _ in spans]) + prefix
    last = np.array([end for _, end in spans]) + prefix
    most = np.zeros(len(spans))
    for piece, rows in zip(pieces, states, strict=True):
        start, end = np.array(piece.offsets, np.int64).reshape(-1, 2).T
        real = end > start
        inside = (start >= first[:, None]) & (end <= last[:, None]) & real
        held = inside.sum(axis=1)
        better = held > most  # a span that is cut by the end of a piece lies whole in the next
        sums = inside[better].astype(np.float32) @ rows
        vectors[better] = sums / held[better, None]
        most = np.maximum(most, held)
        if len(pieces) == 1:
            exact = held == (real & (start >= prefix)).sum()
            vectors[exact] = rows.mean(axis=0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return InContext(vectors / np.maximum(length, 1e-12), exact)
