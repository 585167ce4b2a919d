"""An assistant's folder, read and held against the slots of the engine. Blocks: call it off the event loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guards.engine import fingerprint
from guards.engine.card import CHECKPOINTS, Card, CardError
from guards.engine.contract import ContractError
from guards.engine.launch import Auxiliary
from proxy.assistants.registry import Version, digest_of


class NotUsable(Exception):
    """This folder cannot be loaded; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Slots:
    """What the engine was started with. `base`: the folder of its model, where this process can read it."""

    auxiliaries: Sequence[Auxiliary]
    max_lora_rank: int
    base: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.auxiliaries)


def opened(folder: Path, slots: Slots, digest: str | None = None) -> tuple[Card, Version]:
    """The card of an assistant that fits `slots`, and its version. `digest`: what the folder must still hold.

    Raises NotUsable.
    """
    try:
        card = Card.read(folder)
        found = digest_of(folder, card)
    except (CardError, OSError) as error:
        raise NotUsable(f"{folder} holds no complete assistant: {error}") from error
    if digest is not None and found != digest:
        raise NotUsable(f"{folder} is not what was loaded as version {card.version} of '{card.name}': it was changed")
    _check_fit(folder, card, slots)
    return card, Version(card.version, folder, found)


def _check_fit(folder: Path, card: Card, slots: Slots) -> None:
    if not slots.auxiliaries:
        raise NotUsable(f"the engine has no slots for assistants: start it with {_cure(folder, card)}")
    for part in card.parts:
        slot = slots.auxiliaries[part.slot] if part.slot < len(slots.auxiliaries) else None
        if slot is None or not _fits(folder, card, part.role, slot):
            have = " ".join(_option(one) for one in slots.auxiliaries)
            raise NotUsable(
                f"'{card.name}' does not fit the engine's slots ({have}): start the engine with {_cure(folder, card)}"
            )
    if card.rank is not None and card.rank > slots.max_lora_rank:
        raise NotUsable(
            f"'{card.name}' has rank {card.rank}, the engine takes up to {slots.max_lora_rank}: "
            "set engine.max_lora_rank"
        )
    try:
        card.arming(card.max_strength, slots.names)
    except ContractError as error:
        raise NotUsable(f"'{card.name}' cannot be armed: {error}") from error
    if slots.base is not None and _fingerprint(slots.base) not in (card.base, None):
        raise NotUsable(
            f"'{card.name}' was trained for another base model than the engine serves: train it for this one"
        )


def _fingerprint(base: Path) -> str | None:
    """Of the engine's model; None where this process cannot read it, or it is kept in a form without one."""
    try:
        return fingerprint.of(base)
    except OSError:
        return None


def _fits(folder: Path, card: Card, role: str, slot: Auxiliary) -> bool:
    if slot.kind != card.kind:
        return False
    if card.kind == "layers":
        return slot.layers == card.layers
    return Path(slot.model or "").expanduser().absolute() == (folder / CHECKPOINTS / role).absolute()


def _cure(folder: Path, card: Card) -> str:
    parts = sorted(card.parts, key=lambda part: part.slot)
    if card.kind == "layers":
        return " ".join(f"--auxiliary layers:{card.layers}" for _ in parts)
    return " ".join(f"--auxiliary checkpoint:{folder / CHECKPOINTS / part.role}" for part in parts)


def _option(slot: Auxiliary) -> str:
    return f"layers:{slot.layers}" if slot.kind == "layers" else f"checkpoint:{slot.model}"
