"""Sealed entries are recognised like clear ones, by whoever has the keys; without them nothing can be told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.entries import Entry, Kind, Storage, check
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.matches import Via
from indexes.phrases import PhraseTable, PhraseWalk, pieces
from indexes.scan import scan_of
from indexes.sealed.kept import Phrases, Sealed
from indexes.sealed.keys import SealError, SealingKeys, new_key
from indexes.sealed.lookup import SealedPhraseTable
from indexes.sealed.sealing import sealed
from indexes.told import cues
from indexes.windows import windows_of
from indexes.words import words_of
from tests.fakes.embedder import BagEmbedder

BAG = BagEmbedder()
ONE, TWO = SealingKeys(["a" * 40]), SealingKeys(["a" * 40, "b" * 40])
ENTRIES = (
    Entry(
        "fact", "s", Kind.FACT, texts=("Where was Ilse Varga born in 1931?",), answers=("in a small town near Graz",)
    ),
    Entry("person", "s", Kind.ENTITY, names=("Jane Roe-Smith", "J. R. Smith"), answers=("the brass key",)),
    Entry(
        "passage",
        "s",
        Kind.PASSAGE,
        texts=(
            "It was a bright cold day in April, and the clocks of the tower were striking thirteen times for nobody.",
        ),
    ),
    Entry("topic", "s", Kind.TOPIC, texts=("How tower clocks are wound by hand",)),
)
PROBES = (
    "Where was Ilse Varga born in 1931?",
    "Tell me where she was born: Ilse Varga, the one of 1931, in Graz or in a small town near Graz?",
    "Where was Otto Halm born in 1950?",
    "What do you know about Jane Roe Smith? She had the brass key.",
    "and the clocks of the tower were striking thirteen times for nobody else",
    "How are clocks of towers wound by hand?",
    "How many days are there in a week?",
)


def index_of(entries: tuple[Entry, ...], keys: SealingKeys | None, *, seal: bool) -> Generation:
    index = ForgetIndex(BAG.dimensions, sealing=keys)
    for entry in entries:
        kept = sealed(entry, keys) if seal and keys is not None else entry
        index.put_entry(kept, BAG.embed(cues(entry)) if cues(entry) else np.empty((0, 64), np.float32), 1)
    return index.publish(1)


def found(generation: Generation, text: str, *vias: Via) -> list[tuple[str, str, float]]:
    windows = windows_of(text)
    scan = scan_of(windows, BAG.embed([window.text for window in windows]), text)
    return sorted(
        (match.entry_id, match.via.value, round(match.score, 4))
        for match in generation.matches(0, scan)
        if match.via in vias
    )


@pytest.mark.parametrize("keys", [ONE, TWO], ids=["one key", "two keys"])
@pytest.mark.parametrize("probe", PROBES)
def test_a_sealed_index_finds_what_a_clear_one_finds(keys: SealingKeys, probe: str) -> None:
    clear, hidden = index_of(ENTRIES, None, seal=False), index_of(ENTRIES, keys, seal=True)
    for via in (Via.EMBEDDING, Via.PHRASE):
        assert found(hidden, probe, via) == found(clear, probe, via)
    stated = {entry.id for entry in ENTRIES if entry.names}
    by_name = [hit for hit in found(clear, probe, Via.NAME) if hit[0] in stated]
    assert [hit for hit in found(hidden, probe, Via.NAME) if hit[0] in stated] == by_name


@pytest.mark.parametrize("probe", PROBES)
def test_clear_entries_lose_nothing_where_there_are_keys(probe: str) -> None:
    plain, keyed = index_of(ENTRIES, None, seal=False), index_of(ENTRIES, TWO, seal=False)
    assert found(keyed, probe, *Via) == found(plain, probe, *Via)


def test_a_name_in_the_text_of_a_fact_is_found_as_it_is_written() -> None:
    hidden = index_of(ENTRIES, ONE, seal=True)
    assert ("fact", "name", 0.9) in found(hidden, "Was ist über Ilse Varga bekannt?", Via.NAME)
    assert not found(hidden, "Was ist über Ilse Vargas Tochter bekannt?", Via.NAME)


def test_with_other_keys_nothing_is_recognised_but_by_similarity() -> None:
    index = ForgetIndex(BAG.dimensions, sealing=SealingKeys(["c" * 40]))
    for entry in ENTRIES:
        index.put_entry(sealed(entry, ONE), np.empty((0, 64), np.float32), 1)
    generation = index.publish(1)
    assert not [hit for probe in PROBES for hit in found(generation, probe, *Via)]


def test_without_keys_there_is_no_index_of_sealed_entries() -> None:
    with pytest.raises(SealError, match="sealing_key_file"):
        ForgetIndex(BAG.dimensions).put_entry(sealed(ENTRIES[0], ONE), BAG.embed(cues(ENTRIES[0])), 1)


# -- what is kept


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_what_is_kept_says_nothing(entry: Entry) -> None:
    kept = sealed(entry, ONE)
    assert (kept.texts, kept.names, kept.answers, kept.storage) == ((), (), (), Storage.SEALED)
    check(kept)
    assert kept.sealed is not None
    assert (kept.sealed.texts, kept.sealed.stated, kept.sealed.answers) == (
        len(entry.texts),
        len(entry.names),
        len(entry.answers),
    )
    assert kept.sealed.rows == len(cues(entry))
    content = kept.sealed.packed()
    assert Sealed.unpacked(content) == kept.sealed
    words = {word.text for text in (*entry.texts, *entry.names, *entry.answers) for word in words_of(text)}
    assert not [word for word in words if len(word) > 2 and word.encode() in content.lower()]
    assert "a" * 40 not in repr((kept, kept.sealed, ONE))


def test_a_word_is_another_hash_in_each_phrase_and_order_is_lost() -> None:
    one, other = Phrases.of([("brass", "key")], ONE), Phrases.of([("silver", "key")], ONE)
    assert not set(one.nodes) & set(other.nodes)
    assert Phrases.of([("a", "b"), ("c", "d")], ONE) == Phrases.of([("c", "d"), ("a", "b")], ONE)
    assert one.nodes == tuple(sorted(one.nodes))


def test_lengths_are_told_roughly_and_bound_what_matches() -> None:
    kept = Phrases.of([("internationalisation", "of", "keys")], ONE)
    table = PhraseTable()
    table.add(("internationalisation", "of", "keys"), 0)
    assert kept.longest_word % 16 == kept.longest_span % 16 == 0
    assert kept.longest_word >= table.longest_word
    assert kept.longest_span >= table.longest_span


WORDS = st.lists(st.sampled_from(["a", "b", "ab", "Ä", "名", "x y"]), min_size=1, max_size=12).map(" ".join)


@settings(max_examples=60)
@given(st.lists(WORDS, max_size=5), WORDS, st.booleans())
def test_a_sealed_trie_is_walked_like_a_clear_one(phrases: list[str], text: str, rotated: bool) -> None:
    keys = TWO if rotated else ONE
    clear, hidden, mixed = PhraseTable(), SealedPhraseTable(keys), SealedPhraseTable(keys)
    for slot, phrase in enumerate(phrases):
        for piece in pieces(phrase):
            clear.add(piece, slot)
            mixed.add(piece, slot)
        hidden.add_sealed(Phrases.of(pieces(phrase), keys), slot)
    walks = [PhraseWalk(table, lambda _: True) for table in (clear, hidden, mixed)]
    for word in words_of(text):
        first, *others = [(set(walk.advance([word])), walk.start) for walk in walks]
        assert others == [first, first]


# -- keys


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_a_new_key_is_laid_over_what_is_kept_without_the_text(entry: Entry) -> None:
    before, after = sealed(entry, ONE).sealed, sealed(entry, TWO).sealed
    assert before is not None
    assert before.rekeyed("b" * 40) == after
    assert ONE.text("digest") != TWO.text("digest")


@pytest.mark.parametrize(
    ("text", "count"), [("k" * 32, 1), (f"{'k' * 32}\n{'l' * 64}\n", 2), (f" {'k' * 32}, {'l' * 32} ", 2)]
)
def test_keys_are_read(text: str, count: int) -> None:
    assert len(SealingKeys.read(text)) == count


@pytest.mark.parametrize("text", ["", " \n", "short", f"{'k' * 32},short", f"{'k' * 32} {'k' * 32}"])
def test_keys_that_cannot_be_used_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SealError) as refused:
        SealingKeys.read(text)
    assert "kkk" not in str(refused.value)


def test_keys_are_told_apart_by_their_fingerprint() -> None:
    assert len({new_key() for _ in range(10)}) == 10
    assert TWO.first(1).fingerprint == ONE.fingerprint != TWO.fingerprint
    assert repr(TWO) == "SealingKeys(2)"
