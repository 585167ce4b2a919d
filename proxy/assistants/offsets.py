"""What the engine can subtract now, lent to requests.

Rules
1. What was not proven in this life of the engine is not lent: a ladder then goes without it.
2. A version is swapped in one assignment; a request keeps what it began with.
3. An adapter that nothing lends any more leaves the engine when the last request that has it has ended (`drained`),
   here and in every other process before the same engine: each tells the others what it `holds`.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from guards.engine.card import Card
from guards.engine.contract import Arming
from guards.model import Assistant, Offset
from proxy.assistants.files import Slots
from proxy.upstream import EngineView, UpstreamClient


@dataclass(frozen=True, slots=True)
class Worn:
    """What a request carries to the engine: the arming, and the adapter that the auxiliaries wear for it."""

    arming: Arming
    adapter: str | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A version that the engine was seen to subtract. `adapter`: the engine's name of it, for kind `layers`."""

    card: Card
    adapter: str | None
    since: float = field(default_factory=time.monotonic)

    @property
    def facts(self) -> Assistant:
        """What gates must know of it."""
        card = self.card
        return Assistant(card.name, card.version, float(card.strength), float(card.max_strength))


class NotArmed(Exception):
    """The assistant that a plan wants cannot be armed now."""


class Offsets:
    """See the head of this file. Written by `proxy.assistants.life` only."""

    def __init__(self, slots: Slots, upstream: UpstreamClient) -> None:
        self.slots = slots
        self._upstream = upstream
        self._ready: Mapping[str, Ready] = MappingProxyType({})
        self._in_use: Counter[str] = Counter()
        self._coming: set[str] = set()
        self._leaving: set[str] = set()
        self._life = 0
        self.unproven: str | None = "the engine was not asked yet"
        """Why nothing is lent; None while all that is ready is proven."""

    # -- what requests need

    @property
    def proven(self) -> bool:
        """Whether this life of the engine was seen to do what it must."""
        return self.unproven is None and self._upstream.view.problem is None and self._life == self._upstream.lives

    @property
    def problem(self) -> str | None:
        """Why the engine's slots cannot be armed; None when they can, or when there are to be none."""
        if not self.slots.names or self.proven:
            return None
        return f"offsets are not proven: {self.unproven or 'the engine was started anew'}"

    @property
    def facts(self) -> Mapping[str, Assistant]:
        """What can be armed now, by `name` and by `name@version`."""
        if not self.proven:
            return {}
        found = {name: ready.facts for name, ready in self._ready.items()}
        return found | {f"{one.name}@{one.version}": one for one in found.values()}

    @contextmanager
    def wearing(self, offset: Offset | None, model: str) -> Iterator[Worn | None]:
        """Lends what a request of `model` needs, for as long as the engine answers it. Raises NotArmed."""
        if offset is None:
            yield None
            return
        ready = self._wanted(offset, model)
        arming = ready.card.arming(min(offset.strength, ready.card.max_strength), self.slots.names)
        if ready.adapter is None:
            yield Worn(arming, None)
            return
        self._in_use[ready.adapter] += 1
        try:
            yield Worn(arming, ready.adapter)
        finally:
            self._in_use[ready.adapter] -= 1

    def _wanted(self, offset: Offset, model: str) -> Ready:
        name, _, version = offset.assistant.partition("@")
        ready = self.ready(name)
        if ready is None or (version and version != str(ready.card.version)):
            raise NotArmed(offset.assistant)
        served = self._upstream.view.models.get(model)
        if ready.adapter and (served is None or served.parent is not None):
            raise NotArmed(offset.assistant)  # a request wears one adapter, and this one has the operator's
        return ready

    # -- what their life needs

    def ready(self, name: str) -> Ready | None:
        """The version that is lent under a name."""
        return self._ready.get(name) if self.proven else None

    def in_use(self, adapter: str | None) -> int:
        """How many answers under way have an adapter."""
        return self._in_use[adapter] if adapter else 0

    def begin(self, life: int, ready: Mapping[str, Ready]) -> None:
        """All that was proven in a life of the engine; what was there before and is not now leaves."""
        self._replace(ready)
        self._life, self.unproven = life, None

    def swap(self, name: str, ready: Ready | None) -> None:
        """Lends another version under a name, or none."""
        kept = {key: one for key, one in self._ready.items() if key != name}
        self._replace(kept | ({name: ready} if ready else {}))

    def keep(self, adapter: str) -> None:
        """It is about to be loaded, perhaps again before it had left."""
        self._leaving.discard(adapter)
        self._coming.add(adapter)

    def drop(self, adapter: str) -> None:
        """It was loaded and is not to be lent."""
        self._coming.discard(adapter)
        if adapter not in self._adapters():
            self._leaving.add(adapter)

    @property
    def holds(self) -> frozenset[str]:
        """Adapters that must stay in the engine because of this process."""
        return frozenset(self._adapters() | self._coming | {name for name, number in self._in_use.items() if number})

    @property
    def leaving(self) -> bool:
        """Whether anything is to be unloaded as soon as nobody has it."""
        return bool(self._leaving)

    def drained(self, held: Collection[str] = ()) -> list[str]:
        """Adapters that no request has and none will get: to be unloaded now, and forgotten here.

        `held` are those that other processes hold; they are asked for again later.
        """
        gone = sorted(adapter for adapter in self._leaving if not self._in_use[adapter] and adapter not in held)
        self._leaving.difference_update(gone)
        for adapter in gone:
            del self._in_use[adapter]
        return gone

    def lost(self, view: EngineView) -> bool:
        """Whether a look at the engine misses an adapter that was there before the look began."""
        expected = {one.adapter for one in self._ready.values() if one.adapter and one.since < view.asked_at}
        return view.problem is None and not expected <= view.adapters

    def _replace(self, ready: Mapping[str, Ready]) -> None:
        before = self._adapters()
        self._ready = MappingProxyType(dict(ready))
        self._coming -= self._adapters()
        self._leaving |= before - self._adapters()

    def _adapters(self) -> set[str]:
        return {one.adapter for one in self._ready.values() if one.adapter}

    def __len__(self) -> int:
        return len(self._ready)
