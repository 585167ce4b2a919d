"""The wire contract: what is encoded is decoded, and everything else is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.engine.contract import (
    FIELD_AUXILIARIES,
    FIELD_COMBINE,
    FIELD_K,
    FIELD_WEIGHTS,
    MAX_K,
    MAX_WEIGHT,
    Arming,
    ContractError,
    decode,
    encode,
    request_fields,
)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
weights = st.dictionaries(names, st.floats(-MAX_WEIGHT, MAX_WEIGHT), min_size=1, max_size=4)
rates = st.floats(0, 1, exclude_max=True)
linear = st.builds(Arming, weights=weights, filter_rate=rates, dead_zone=rates)
ks = st.integers(1, MAX_K)
rank = st.builds(Arming, weights=weights, combine=st.just("rank"), k=ks, filter_rate=rates, dead_zone=rates)
armings = linear | rank


@given(armings)
def test_what_is_encoded_is_decoded(arming: Arming):
    assert decode(encode(arming)) == (None if arming.inert else arming)


@given(armings)
def test_strength_zero_leaves_no_field(arming: Arming):
    silent = Arming(dict.fromkeys(arming.weights, 0.0), arming.combine, arming.k, arming.filter_rate)
    assert encode(silent) == {}
    assert decode(encode(silent)) is None


def test_fields_of_other_plugins_are_passed_over():
    assert decode({"kv_transfer_params": 1}) is None
    assert decode(None) is None


@pytest.mark.parametrize(
    "change",
    [
        {"lethe_alpha": 1.0},
        {FIELD_WEIGHTS: None},
        {FIELD_WEIGHTS: [1.0, 2.0]},
        {FIELD_WEIGHTS: ["1.0"]},
        {FIELD_WEIGHTS: [True]},
        {FIELD_WEIGHTS: [math.nan]},
        {FIELD_WEIGHTS: [math.inf]},
        {FIELD_WEIGHTS: [MAX_WEIGHT * 1.01]},
        {FIELD_AUXILIARIES: "forget"},
        {FIELD_AUXILIARIES: [["forget"]]},
        {FIELD_AUXILIARIES: ["for get"]},
        {FIELD_AUXILIARIES: ["forget", "forget"], FIELD_WEIGHTS: [1.0, 1.0]},
        {FIELD_AUXILIARIES: [], FIELD_WEIGHTS: []},
        {FIELD_COMBINE: "product"},
        {FIELD_COMBINE: ["rank"]},
        {FIELD_COMBINE: "rank"},
        {FIELD_COMBINE: "rank", FIELD_K: 0},
        {FIELD_COMBINE: "rank", FIELD_K: True},
        {FIELD_COMBINE: "rank", FIELD_K: MAX_K + 1},
        {FIELD_K: 20},
        {"lethe_filter_rate": 1.0},
        {"lethe_filter_rate": -0.1},
        {"lethe_filter_rate": "0.1"},
        {"lethe_dead_zone": 1.0},
        {"lethe_dead_zone": -0.1},
        {"lethe_dead_zone": math.nan},
        {"lethe_dead_zone": True},
    ],
)
def test_half_an_arming_is_an_error(change: dict):
    fields = encode(Arming({"forget": -1.5})) | change
    with pytest.raises(ContractError):
        decode(fields)


@pytest.mark.parametrize("field", [FIELD_AUXILIARIES, FIELD_WEIGHTS, FIELD_COMBINE])
def test_a_missing_field_is_an_error(field: str):
    fields = encode(Arming({"forget": -1.5}))
    del fields[field]
    with pytest.raises(ContractError, match=field):
        decode(fields)


def test_armed_and_unarmed_requests_never_share_a_prefix():
    armed = request_fields(Arming({"forget": -1.0}), salt="tenant", adapter="v3")
    unarmed = request_fields(None, salt="tenant")
    assert armed["cache_salt"] != unarmed["cache_salt"]
    assert armed["model"] == "v3"
    assert "model" not in unarmed
    assert request_fields(Arming({"forget": 0.0})) == {"vllm_xargs": None, "cache_salt": None}


def test_merging_the_fields_removes_what_a_client_sent():
    body = {"model": "base", "vllm_xargs": {FIELD_WEIGHTS: [0.0]}, "cache_salt": "lethe-armed:"}
    assert body | request_fields(None) == {"model": "base", "vllm_xargs": None, "cache_salt": None}


def test_an_arming_cannot_be_changed_through_the_dict_it_was_made_from():
    mutable = {"forget": -1.0}
    arming = Arming(mutable)
    mutable["forget"] = 0.0
    assert arming.weights == {"forget": -1.0}
    with pytest.raises(TypeError):
        arming.weights["forget"] = 0.0
