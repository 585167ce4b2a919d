"""Cards: what is written is read, everything else is refused by name, and a strength becomes the arming it means."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.engine import fingerprint
from guards.engine.card import LATER, Card, CardError, Part
from guards.engine.contract import MAX_WEIGHT, Arming, ContractError

BASE = "ab" * 32
ULD = Card(
    name="authors",
    version=3,
    objective="uld",
    kind="layers",
    base=BASE,
    layers=8,
    rank=16,
    parts=[Part(0, "assistant", -1.0)],
    filter_rate=0.01,
    strength=0.75,
    max_strength=2.0,
    hashes={"forget": "0" * 64},
    settings={"seed": 0, "learning_rate": 1e-3},
    metrics={
        moment: {"forget": {"probability": 0.5}, "retain": {"probability": 0.9}} for moment in ("before", "after")
    },
    sweep=[{"strength": 0.75, "forget": 0.2}],
)
PAIR = replace(ULD, objective="divergence", parts=[Part(0, "retain", 1.0), Part(1, "forget", -1.0)])
RANK = replace(PAIR, combine="rank", k=20, filter_rate=0.0, strength=1.0)


ZONED = replace(PAIR, dead_zone=0.25)


@pytest.mark.parametrize("card", [ULD, PAIR, RANK, ZONED])
def test_what_is_written_is_read(card: Card, tmp_path: Path) -> None:
    card.write(tmp_path)
    assert Card.read(tmp_path) == card
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


@pytest.mark.parametrize("name", sorted(set(ULD.to_json()) - set(LATER)))
def test_a_field_that_is_missing_is_named(name: str) -> None:
    raw = ULD.to_json()
    del raw[name]
    with pytest.raises(CardError, match=name):
        Card.from_json(raw)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 2),
        ("name", "a/b"),
        ("version", 0),
        ("version", True),
        ("objective", "magic"),
        ("kind", "shared"),
        ("base", "AB" * 32),
        ("layers", None),
        ("rank", 0),
        ("parts", []),
        ("parts", {"slot": 0}),
        ("parts", [{"slot": 1, "role": "assistant", "weight": -1.0}]),
        ("parts", [{"slot": "0", "role": "assistant", "weight": -1.0}]),
        ("parts", [{"slot": 0, "role": "assistant", "weight": 0.0}]),
        ("parts", [{"slot": 0, "role": "assistant", "weight": math.nan}]),
        ("parts", [{"slot": 0, "role": "assistant"}]),
        ("combine", "mean"),
        ("k", 20),
        ("k", "20"),
        ("filter_rate", 1.0),
        ("filter_rate", "0"),
        ("dead_zone", 1.0),
        ("dead_zone", -0.1),
        ("dead_zone", None),
        ("strength", 0),
        ("strength", 2.5),
        ("max_strength", MAX_WEIGHT * 2),
        ("max_strength", None),
        ("hashes", {"forget": "text"}),
        ("hashes", []),
        ("settings", None),
        ("metrics", {"before": {}}),
        ("metrics", {"before": 1, "after": 2}),
        ("metrics", {"before": {"forget": {}, "retain": {}}, "after": {"forget": {"a": "b"}, "retain": {}}}),
        ("sweep", {}),
        ("sweep", [{"strength": "much"}]),
    ],
)
def test_a_field_that_is_wrong_is_named(name: str, value: object) -> None:
    with pytest.raises(CardError, match=name):
        Card.from_json(ULD.to_json() | {name: value})


def test_a_card_from_before_dead_zones_has_none() -> None:
    raw = ULD.to_json()
    del raw["dead_zone"]
    assert Card.from_json(raw) == ULD
    assert ULD.dead_zone == 0


def test_a_dead_zone_goes_with_every_strength() -> None:
    for card in (ZONED, replace(RANK, dead_zone=0.25)):
        assert {card.arming(strength, ["r", "f"]).dead_zone for strength in (0.5, 1, 2)} == {0.25}


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(CardError, match="alpha"):
        Card.from_json(ULD.to_json() | {"alpha": 1})
    with pytest.raises(CardError, match=r"parts\.layer"):
        Card.from_json(ULD.to_json() | {"parts": [{"slot": 0, "role": "a", "weight": 1.0, "layer": 3}]})


def test_what_is_no_card_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=str(tmp_path)):
        Card.read(tmp_path)
    (tmp_path / "card.json").write_text("[1")
    with pytest.raises(CardError, match=r"card\.json"):
        Card.read(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps([1]))
    with pytest.raises(CardError, match="object"):
        Card.read(tmp_path)


@given(st.floats(0, 2))
def test_a_linear_strength_scales_the_weights(strength: float) -> None:
    assert PAIR.arming(strength, ["r", "f"]) == Arming({"r": strength, "f": -strength}, filter_rate=0.01)
    assert PAIR.arming(0, ["r", "f"]).inert


@given(st.floats(0, 2, exclude_min=True))
def test_a_rank_strength_scales_how_many_are_removed(strength: float) -> None:
    arming = RANK.arming(strength, ["r", "f"])
    assert arming.weights == {"r": 1.0, "f": -1.0}
    assert arming.k == math.ceil(20 * strength) >= 1
    assert RANK.arming(0, ["r", "f"]).inert


def test_an_engine_with_more_auxiliaries_serves_it_and_one_with_fewer_does_not() -> None:
    assert set(ULD.arming(1, ["a", "b"]).weights) == {"a"}
    with pytest.raises(ContractError, match="needs 2"):
        PAIR.arming(1, ["a"])


def _checkpoint(folder: Path, weights: bytes = bytes(1000), config: str = "{}") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + weights)
    return folder


def test_a_fingerprint_tells_models_apart_and_not_copies(tmp_path: Path) -> None:
    one = fingerprint.of(_checkpoint(tmp_path / "one"))
    assert one == fingerprint.of(_checkpoint(tmp_path / "copy"))
    others = [
        fingerprint.of(_checkpoint(tmp_path / "trained", weights=b"\x01" * 1000)),
        fingerprint.of(_checkpoint(tmp_path / "other", config='{"model_type": "llama"}')),
        fingerprint.of(_checkpoint(tmp_path / "longer", weights=bytes(1001))),
    ]
    assert len({one, *others}) == 4
    (tmp_path / "one" / "tokenizer.json").write_text("{}")
    assert fingerprint.of(tmp_path / "one") != one


def test_a_folder_without_weights_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        fingerprint.of(tmp_path)
