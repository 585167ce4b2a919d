"""Slots: where each version of each entry stands in an index, and what is known of it besides its words and vectors.

A table of slots is a *base* that does not change (`FrozenSlots`, arrays) and what came after. Slots are numbered
through: those of the base first.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from indexes.columns import Appended, Array, Blobs, Columns, Found, hashed, part, text_of, texts_of, under
from indexes.entries import Kind, State, Storage
from indexes.vectors import Among

KINDS, STATES, STORAGES = tuple(Kind), tuple(State), tuple(Storage)

NO_THRESHOLD = 0.0  # thresholds are above 0
NO_GROUP = -1  # of slots that do not act
READ = 16384  # slots of a base that are kept ready: some four megabytes


Group = tuple[str, bool]
"""A set, and those of its entries that have a threshold of their own (or those that have not)."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A version of an entry, without its text: the fields of `Entry`, and the generation from which it is there.

    `secret` are the words that only its answers hold (`indexes.secret`), packed.
    """

    id: str
    set_id: str
    kind: Kind
    state: State
    storage: Storage
    threshold: float | None
    raised: int
    born: int
    secret: bytes = field(default=b"", repr=False)


def _group_of(slot: Slot) -> Group:
    return slot.set_id, slot.threshold is not None


class FrozenSlots:
    """Slots in arrays; those that were gone when it was made are there, and dead."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._columns = dict(columns)
        self._ids, self._sets = Blobs(part("ids", columns)), Blobs(part("sets", columns))
        self._secrets, self._by_id = Blobs(part("secrets", columns)), Found(part("by_id", columns))
        self._set_ids = [text_of(name) for name in self._sets]
        self._dead, self._kind, self._state = (columns[name].data for name in ("dead", "kind", "state"))
        self._storage, self._raised, self._set = (columns[name].data for name in ("storage", "raised", "set"))
        self._threshold, self._born = columns["threshold"].data, columns["born"].data
        self._read = lru_cache(READ)(self._made)
        self.living = len(self) - int(np.count_nonzero(columns["dead"]))
        """How many are not dead."""

    @classmethod
    def of(cls, slots: Sequence[Slot], dead: Mapping[int, int]) -> "FrozenSlots":
        """Of slots numbered from 0; those in `dead` are dead."""
        sets = list(dict.fromkeys(slot.set_id for slot in slots))
        numbers = {name: number for number, name in enumerate(sets)}
        thresholds = [slot.threshold or NO_THRESHOLD for slot in slots]
        by_id = Found.of_pairs((hashed(slot.id), number) for number, slot in enumerate(slots))
        return cls(
            {
                "dead": np.array([number in dead for number in range(len(slots))], np.uint8),
                "kind": np.array([KINDS.index(slot.kind) for slot in slots], np.uint8),
                "state": np.array([STATES.index(slot.state) for slot in slots], np.uint8),
                "storage": np.array([STORAGES.index(slot.storage) for slot in slots], np.uint8),
                "raised": np.array([slot.raised for slot in slots], np.uint8),
                "set": np.array([numbers[slot.set_id] for slot in slots], np.uint32),
                "threshold": np.array(thresholds, np.float64),
                "born": np.array([slot.born for slot in slots], np.int64),
                **under("ids", texts_of(slot.id for slot in slots).columns()),
                **under("sets", texts_of(sets).columns()),
                **under("secrets", Blobs.of(slot.secret for slot in slots).columns()),
                **under("by_id", by_id.columns()),
            }
        )

    def and_then(self, others: "FrozenSlots", died: Mapping[int, int]) -> "FrozenSlots":
        """With others behind; those in `died` are dead now."""
        sets = list(dict.fromkeys([*self._set_ids, *others._set_ids]))
        renamed = np.array([sets.index(name) for name in others._set_ids] or [0], np.uint32)
        mine, more = self._columns, others._columns
        columns = {
            name: np.concatenate([mine[name], more[name]])
            for name in ("dead", "kind", "state", "storage", "raised", "threshold", "born")
        }
        columns["set"] = np.concatenate([mine["set"], renamed[more["set"]]])
        columns["dead"][[slot for slot in died if slot < len(self)]] = 1
        keys, numbers = others._by_id.pairs()
        by_id = self._by_id.and_then(Found.of(keys, numbers + np.uint32(len(self))))
        return FrozenSlots(
            columns
            | under("ids", self._ids.and_then(others._ids).columns())
            | under("sets", texts_of(sets).columns())
            | under("secrets", self._secrets.and_then(others._secrets).columns())
            | under("by_id", by_id.columns())
        )

    def __len__(self) -> int:
        return len(self._dead)

    def __getitem__(self, slot: int) -> Slot:
        return self._read(slot)

    def is_dead(self, slot: int) -> bool:
        return bool(self._dead[slot])

    def told(self, slot: int) -> tuple[str, State]:
        """The set of a slot's entry and its state, without making a `Slot` of it."""
        return self._set_ids[self._set[slot]], STATES[self._state[slot]]

    def group(self, slot: int) -> Group:
        return self._set_ids[self._set[slot]], self._threshold[slot] != NO_THRESHOLD

    def acting(self, groups: Collection[Group]) -> Among:
        """Which slots are alive and active, of some groups, [slots]."""
        columns = self._columns
        own = columns["threshold"] != NO_THRESHOLD
        wanted: Among = np.zeros(len(self), np.bool_)
        for apart in (False, True):
            numbers = [number for number, name in enumerate(self._set_ids) if (name, apart) in groups]
            if numbers:
                wanted |= np.isin(columns["set"], numbers) & (own == apart)
        found: Among = wanted & (columns["dead"] == 0) & (columns["state"] == STATES.index(State.ACTIVE))
        return found

    def of_entry(self, entry_id: str) -> int | None:
        """The slot of an entry, unless it is dead."""
        for slot in self._by_id.get(hashed(entry_id)):
            if not self._dead[slot] and self._read(slot).id == entry_id:
                return slot
        return None

    def of_set(self, set_id: str) -> Iterator[int]:
        """The slots of a set that are not dead."""
        if set_id in self._set_ids:
            number = self._set_ids.index(set_id)
            yield from np.flatnonzero((self._columns["set"] == number) & (self._columns["dead"] == 0)).tolist()

    def columns(self) -> Columns:
        return self._columns

    def _made(self, slot: int) -> Slot:
        return Slot(
            text_of(self._ids[slot]),
            self._set_ids[self._set[slot]],
            KINDS[self._kind[slot]],
            STATES[self._state[slot]],
            STORAGES[self._storage[slot]],
            self._threshold[slot] or None,
            self._raised[slot],
            self._born[slot],
            self._secrets[slot],
        )


class SlotTable:
    """All slots of an index: base and tail. Append-only, one writer; what died is marked with its generation."""

    def __init__(self, base: FrozenSlots | None = None) -> None:
        self._base = base if base is not None else FrozenSlots.of((), {})
        self._first = len(self._base)
        self._tail: list[Slot] = []
        self._born, self._acting = Appended(np.int64), Appended(np.int32)
        self._groups: dict[Group, int] = {}
        self._died: dict[int, int] = {}
        self._slot_of: dict[str, int] = {}
        self.living = self._base.living
        """Entries that are there, by what was applied so far."""

    def __len__(self) -> int:
        return self._first + len(self._tail)

    @property
    def added(self) -> int:
        """How many are not in the base."""
        return len(self._tail)

    @property
    def gone(self) -> int:
        """How many have died that were alive in the base, or came since."""
        return len(self._died)

    def __getitem__(self, slot: int) -> Slot:
        return self._base[slot] if slot < self._first else self._tail[slot - self._first]

    def told(self, slot: int) -> tuple[str, State]:
        """The set of a slot's entry and its state."""
        if slot < self._first:
            return self._base.told(slot)
        one = self._tail[slot - self._first]
        return one.set_id, one.state

    def group(self, slot: int) -> Group:
        """The set of a slot's entry, and whether it has a threshold of its own."""
        return self._base.group(slot) if slot < self._first else _group_of(self._tail[slot - self._first])

    def acts(self, slot: int, generation: int) -> bool:
        """True when the slot is part of a generation and its entry is active."""
        return self.visible(slot, generation) and self.told(slot)[1] is State.ACTIVE

    def acting(self, groups: Collection[Group], generation: int) -> Among:
        """Which slots are active in a generation, of some groups, [slots]."""
        count = len(self._acting)  # some may be added meanwhile
        wanted = [number for group in groups if (number := self._groups.get(group)) is not None]
        of_tail = np.isin(self._acting.first(count), wanted) & (self._born.first(count) <= generation)
        found = np.concatenate([self._base.acting(groups), of_tail])
        died = [slot for slot, number in tuple(self._died.items()) if number <= generation and slot < len(found)]
        found[died] = False
        return found

    def visible(self, slot: int, generation: int) -> bool:
        """True when the slot is part of a generation, which is not older than the base."""
        if slot < self._first:
            there = not self._base.is_dead(slot)
        else:
            there = self._tail[slot - self._first].born <= generation
        return there and generation < self._died.get(slot, generation + 1)

    def add(self, one: Slot) -> int:
        """The number of a new slot, which stands for its entry from now on."""
        number = len(self)
        self._tail.append(one)
        self._born.extend([one.born])
        group = self._groups.setdefault(_group_of(one), len(self._groups))
        self._acting.extend([group if one.state is State.ACTIVE else NO_GROUP])
        self._slot_of[one.id] = number
        self.living += 1
        return number

    def drop(self, entry_id: str, generation: int) -> None:
        """Marks the slot of an entry as dead, if it is there."""
        slot = self._slot_of.pop(entry_id, None)
        if slot is None:
            slot = self._base.of_entry(entry_id)
        if slot is not None and slot not in self._died:
            self._died[slot] = generation
            self.living -= 1

    def of_set(self, set_id: str) -> list[str]:
        """The entries of a set that are there."""
        of_base = (self._base[slot].id for slot in self._base.of_set(set_id) if slot not in self._died)
        return [*of_base, *(name for name, slot in self._slot_of.items() if self[slot].set_id == set_id)]

    def frozen(self) -> FrozenSlots:
        """Base and tail as one."""
        mine = {slot - self._first: number for slot, number in self._died.items() if slot >= self._first}
        return self._base.and_then(FrozenSlots.of(self._tail, mine), self._died)
