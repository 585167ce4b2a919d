"""Finding sealed entries again in a text: its words, hashed as theirs were."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from indexes.names.details import Held
from indexes.phrases import FrozenPhrases, PhraseTable
from indexes.sealed.kept import Phrases
from indexes.sealed.keys import NO_KEY, SealError, SealingKeys


def hidden_words(held: Iterable[Held], keys: SealingKeys | None) -> tuple[Held, ...]:
    """The words of a text as the details of sealed entries are compared with them: by hash alone, misspelt by none.

    Raises SealError.
    """
    if keys is None:
        raise SealError(NO_KEY)
    return tuple(
        replace(word, text="", key=keys.number(word.key), sounds=tuple(map(keys.number, word.sounds))) for word in held
    )


class SealedPhraseTable(PhraseTable):
    """A trie that knows words by their keyed hashes only: for sealed phrases, and beside them for clear ones."""

    def __init__(self, keys: SealingKeys, base: FrozenPhrases | None = None) -> None:
        super().__init__(base)
        self._keys = keys

    def add(self, phrase: Sequence[str], slot: int) -> None:
        self.add_sealed(Phrases.of([phrase], self._keys), slot)

    def add_sealed(self, phrases: Phrases, slot: int) -> None:
        """Adds what was made of phrases under the same keys."""
        self._widen(phrases.longest_word, phrases.longest_span)
        self._reached.update(phrases.nodes)
        for end in phrases.ends:
            self._end(end, slot)

    def child(self, node: int, word: str) -> int | None:
        reached = self._keys.step(node, word)
        stored = self._keys.stored(reached)
        return reached if stored in self._reached or self._reached_before(stored) else None

    def ends(self, node: int) -> Sequence[int]:
        return super().ends(self._keys.stored(node))
