"""What is lent, to whom, and when an adapter may leave the engine."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.engine.card import Card
from guards.engine.launch import Auxiliary
from guards.model import Offset
from proxy.assistants.files import Slots
from proxy.assistants.offsets import NotArmed, Offsets, Ready
from proxy.upstream import EngineView, ServedModel
from tests.fakes.assistants import CARD

BASE = ServedModel("base", 8192)
OWN = ServedModel("support-style", None, parent="base")
SLOTS = Slots((Auxiliary("a0", "layers", layers=8),), 32)


@dataclass
class Engine:
    """As much of the upstream client as is read."""

    view: EngineView = field(default_factory=lambda: EngineView({"base": BASE, "support-style": OWN}, None))
    lives: int = 1


def card(version: int = 1, **changes: Any) -> Card:
    return Card.from_json(json.loads(json.dumps({**CARD, "version": version, **changes})))


def lending(*ready: Ready) -> tuple[Offsets, Engine]:
    engine = Engine()
    offsets = Offsets(SLOTS, engine)  # type: ignore[arg-type]
    offsets.begin(1, {one.card.name: one for one in ready})
    return offsets, engine


FIRST, SECOND = Ready(card(1), "lethe:uld@1"), Ready(card(2), "lethe:uld@2")


def test_the_strength_is_bounded_by_the_card_whoever_asks() -> None:
    offsets, _ = lending(FIRST)
    for strength, weight in ((0.5, -0.5), (1.5, -1.5), (8.0, -1.5)):
        with offsets.wearing(Offset("uld", strength), "base") as worn:
            assert worn is not None
            assert (dict(worn.arming.weights), worn.adapter) == ({"a0": weight}, "lethe:uld@1")


def test_nothing_is_lent_for_nothing() -> None:
    offsets, _ = lending()
    with offsets.wearing(None, "base") as worn:
        assert worn is None


@pytest.mark.parametrize(
    ("assistant", "model"), [("other", "base"), ("uld@2", "base"), ("uld", "support-style"), ("uld", "unknown")]
)
def test_what_cannot_be_lent_is_an_error_and_never_nothing(assistant: str, model: str) -> None:
    offsets, _ = lending(FIRST)
    with pytest.raises(NotArmed), offsets.wearing(Offset(assistant, 1.0), model):
        pass


def test_checkpoints_go_with_any_model_of_the_engine() -> None:
    loose = replace(FIRST, adapter=None)
    offsets, _ = lending(loose)
    with offsets.wearing(Offset("uld@1", 1.0), "support-style") as worn:
        assert worn is not None
        assert worn.adapter is None


@pytest.mark.parametrize("change", ["dies", "lives anew", "is in doubt"])
def test_nothing_is_lent_from_a_life_that_was_not_proven(change: str) -> None:
    offsets, engine = lending(FIRST)
    assert sorted(offsets.facts) == ["uld", "uld@1"]
    if change == "dies":
        engine.view = EngineView({}, "the engine does not answer")
    elif change == "lives anew":
        engine.lives = 2
    else:
        offsets.unproven = "the engine lost an assistant"
    assert offsets.facts == {}
    assert offsets.problem
    with pytest.raises(NotArmed), offsets.wearing(Offset("uld", 1.0), "base"):
        pass


def test_an_engine_without_slots_is_no_problem() -> None:
    assert Offsets(Slots((), 32), Engine()).problem is None  # type: ignore[arg-type]


def test_a_lost_adapter_is_noticed_unless_it_came_after_the_look() -> None:
    offsets, _ = lending(replace(FIRST, since=10.0))
    here = frozenset({"lethe:uld@1"})
    assert not offsets.lost(EngineView({}, None, adapters=here, asked_at=11.0))
    assert offsets.lost(EngineView({}, None, adapters=frozenset(), asked_at=11.0))
    assert not offsets.lost(EngineView({}, None, adapters=frozenset(), asked_at=9.0))
    assert not offsets.lost(EngineView({}, "it does not answer", asked_at=11.0))


@given(st.lists(st.sampled_from(["begin", "end", "first", "second", "none", "sweep"]), max_size=40))
def test_an_adapter_leaves_when_nobody_has_it_and_nobody_can_get_it(steps: list[str]) -> None:
    offsets, _ = lending()
    held: list[tuple[Any, str]] = []
    lent: str | None = None
    loaded: set[str] = set()
    for step in steps:
        match step:
            case "begin" if lent is not None:
                wearing = offsets.wearing(Offset("uld", 1.0), "base")
                worn = wearing.__enter__()
                assert worn is not None
                assert worn.adapter == lent
                held.append((wearing, lent))
            case "end" if held:
                held.pop(0)[0].__exit__(None, None, None)
            case "first" | "second" | "none":
                ready = {"first": FIRST, "second": SECOND}.get(step)
                if ready is not None and ready.adapter is not None:
                    offsets.keep(ready.adapter)
                    loaded.add(ready.adapter)
                offsets.swap("uld", ready)
                lent = ready.adapter if ready else None
            case "sweep":
                gone = set(offsets.drained())
                assert gone <= loaded
                loaded -= gone
                assert loaded == {lent} - {None} | {adapter for _, adapter in held}
            case _:
                pass
    for wearing, _ in held:
        wearing.__exit__(None, None, None)
