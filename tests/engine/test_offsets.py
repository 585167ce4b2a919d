"""The arithmetic against formulas written out token by token, and its promises as properties."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.engine import offsets
from guards.engine.contract import Arming

NAMES = ("a", "b")
CPU = torch.device("cpu")
INF = math.inf
logit = st.floats(-20, 20, width=32)
masked_logit = logit | st.just(-INF)
any_logit = masked_logit | st.just(math.nan) | st.just(INF)
weight = st.sampled_from([-1.5, -0.75, 0.0, 0.5, 1.0])


def combine(base, auxiliaries, armings):
    base = torch.tensor(base, dtype=torch.float32)
    auxiliaries = [torch.tensor(auxiliary, dtype=torch.float32) for auxiliary in auxiliaries]
    rows = offsets.settings(armings, NAMES, base.shape[-1], CPU)
    return offsets.combine(base, auxiliaries, rows)


def bits(tensor):
    return tensor.view(torch.int32).tolist()


@st.composite
def batches(draw, base_logit=masked_logit, aux_logit=logit):
    rows, vocab = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    matrix = lambda element: draw(  # noqa: E731 - a local shorthand
        st.lists(st.lists(element, min_size=vocab, max_size=vocab), min_size=rows, max_size=rows)
    )
    arming = st.none() | st.builds(
        lambda a, b, k, rate, zone: Arming({"a": a, "b": b}, "rank" if k else "linear", k or None, rate, zone),
        weight,
        weight,
        st.integers(0, 5),
        st.sampled_from([0.0, 0.01, 0.3, 0.9]),
        st.sampled_from([0.0, 0.0, 0.1, 0.6]),
    )
    return matrix(base_logit), [matrix(aux_logit), matrix(aux_logit)], [draw(arming) for _ in range(rows)]


def reference(base, aux, arming):
    """One row in plain Python, float64, straight from methods.md §2. Assumes finite auxiliaries."""
    if arming is None:
        return list(base)
    offset = [sum(arming.weights[name] * aux[i][t] for i, name in enumerate(NAMES)) for t in range(len(base))]
    if arming.combine == "linear":
        out = [b + o for b, o in zip(base, offset, strict=True)]
    else:
        order = sorted(range(len(base)), key=lambda t: offset[t])
        gone = {t for t in order[: arming.k] if offset[t] < 0}
        out = [-INF if t in gone else b for t, b in enumerate(base)]
    if arming.filter_rate:
        descending = sorted(base, reverse=True)
        rank = max(1, int(arming.filter_rate * len(base)))
        threshold = min(descending[0] + math.log(arming.filter_rate), descending[rank - 1])
        out = [-INF if b < threshold else o for b, o in zip(base, out, strict=True)]
    return list(base) if apart(aux, arming) < arming.dead_zone else out


def apart(aux, arming):
    """How far the sides of an offset are apart: half the sum of differences of what each would choose by itself."""
    sides = []
    for sign in (1, -1):
        shares = {name: max(0.0, sign * weight) for name, weight in arming.weights.items()}
        total = sum(shares.values()) or 1.0
        mixed = [sum(shares[name] / total * aux[i][t] for i, name in enumerate(NAMES)) for t in range(len(aux[0]))]
        sides.append(probabilities(mixed))
    return sum(abs(p - q) for p, q in zip(*sides, strict=True)) / 2


def probabilities(row):
    top = max(row)
    total = sum(math.exp(value - top) for value in row)
    return [math.exp(value - top) / total for value in row]


@settings(max_examples=300)
@given(batches())
def test_every_row_follows_its_own_formula(batch):
    base, aux, armings = batch
    got = combine(base, aux, armings).tolist()
    for row, arming in enumerate(armings):
        want = reference(base[row], [a[row] for a in aux], arming)
        if max(want) == -INF:
            continue  # the next properties speak of rows with nothing left
        near = [pytest.approx(value, abs=1e-4) for value in want]
        if near != got[row] and arming is not None:
            # Thresholds and ties within float32's rounding may fall either way; nothing else may differ.
            if abs(apart([a[row] for a in aux], arming) - arming.dead_zone) < 1e-4:
                continue
            assert arming.combine == "rank" or arming.filter_rate
            off = [i for i, value in enumerate(want) if value != pytest.approx(got[row][i], abs=1e-4)]
            assert all(-INF in (want[i], got[row][i]) for i in off)
            assert _near_a_tie(base[row], [a[row] for a in aux], arming), (want, got[row])


def _near_a_tie(base, aux, arming):
    offset = sorted(sum(arming.weights[n] * aux[i][t] for i, n in enumerate(NAMES)) for t in range(len(base)))
    gaps = [abs(x - y) for x, y in pairwise(offset)] + [abs(x) for x in offset]
    top = max(base)
    gaps += [abs(b - top - math.log(arming.filter_rate)) for b in base if b > -INF and arming.filter_rate]
    return any(gap < 1e-4 for gap in gaps)


@settings(max_examples=200)
@given(batches(base_logit=any_logit, aux_logit=any_logit))
def test_an_unarmed_row_is_untouched_bit_for_bit(batch):
    base, aux, armings = batch
    got = combine(base, aux, armings)
    for row, arming in enumerate(armings):
        if arming is None:
            assert bits(got[row]) == bits(torch.tensor(base[row], dtype=torch.float32))


@settings(max_examples=300)
@given(batches(aux_logit=any_logit))
def test_masked_stays_masked_and_no_nan_and_never_nothing(batch):
    base, aux, armings = batch
    got = combine(base, aux, armings)
    assert not got.isnan().any()
    for row in range(len(base)):
        masked = [value == -INF for value in base[row]]
        assert all(value == -INF for value, was in zip(got[row].tolist(), masked, strict=True) if was)
        if not all(masked):
            assert got[row].max() > -INF


@settings(max_examples=100)
@given(batches(), st.integers(0, 3))
def test_rows_do_not_see_each_other(batch, pick):
    base, aux, armings = batch
    row = pick % len(base)
    alone = combine(base[row : row + 1], [a[row : row + 1] for a in aux], armings[row : row + 1])
    assert bits(combine(base, aux, armings)[row]) == bits(alone[0])


# -- the dead zone


@settings(max_examples=200)
@given(batches(aux_logit=any_logit), st.sampled_from([0.05, 0.3, 0.8]))
def test_a_row_within_its_dead_zone_is_the_bases_and_outside_as_without_one(batch, zone):
    base, aux, armings = batch
    armings = [arming or Arming({"a": 1.0}) for arming in armings]
    acting = combine(base, aux, [replace(arming, dead_zone=0.0) for arming in armings])
    got = combine(base, aux, [replace(arming, dead_zone=zone) for arming in armings])
    for row in range(len(base)):
        own = torch.tensor(base[row], dtype=torch.float32)
        assert bits(got[row]) in (bits(own), bits(acting[row]))


@settings(max_examples=200)
@given(batches(), st.sampled_from([0.5, 2.0]))
def test_the_divergence_is_the_auxiliaries_alone_whatever_the_strength(batch, times):
    _, aux, armings = batch
    weights = torch.tensor([[a.weights[name] if a else 0.0 for name in NAMES] for a in armings])
    aux = [torch.tensor(each) for each in aux]
    one, other = offsets.divergence(aux, weights), offsets.divergence(aux, times * weights)
    assert one.tolist() == pytest.approx(other.tolist(), abs=1e-5)
    assert ((one >= 0) & (one <= 1 + 1e-5)).all()
    for row, arming in enumerate(armings):
        if arming:
            assert one[row].item() == pytest.approx(apart([a[row].tolist() for a in aux], arming), abs=1e-5)


@settings(max_examples=200)
@given(batches(aux_logit=any_logit), st.floats(0.01, 0.4), st.floats(0.01, 0.5))
def test_a_wider_dead_zone_spares_every_row_that_a_narrower_one_spares(batch, zone, more):
    base, aux, armings = batch
    armings = [arming or Arming({"a": 1.0}) for arming in armings]
    narrow, wide = (combine(base, aux, [replace(a, dead_zone=z) for a in armings]) for z in (zone, zone + more))
    for row in range(len(base)):
        own = bits(torch.tensor(base[row], dtype=torch.float32))
        assert bits(narrow[row]) != own or bits(wide[row]) == own


def test_where_a_pair_agrees_the_base_is_left_alone_its_filter_too():
    base, retain, forget = [[3.0, 2.9, -4.0]], [[0.0, 1.0, 0.0]], [[0.0, 0.8, 0.0]]
    pair = Arming({"a": 1.0, "b": -1.0}, filter_rate=0.1)
    assert combine(base, [retain, forget], [pair])[0].argmax() == 1
    got = combine(base, [retain, forget], [replace(pair, dead_zone=0.1)])
    assert got.tolist() == torch.tensor(base).tolist()
    apart = [[0.0, -2.0, 0.0]]
    assert combine(base, [retain, apart], [replace(pair, dead_zone=0.1)])[0].argmax() == 1


def test_an_assistant_that_knows_nothing_is_uniform():
    base, silent, knowing = [[3.0, 2.9, 2.8]], [[7.0, 7.0, 7.1]], [[9.0, 0.0, 0.0]]
    uld = Arming({"a": -1.0}, dead_zone=0.5)
    assert combine(base, [silent, silent], [uld]).tolist() == torch.tensor(base).tolist()
    assert combine(base, [knowing, silent], [uld])[0].argmax() == 1


def test_rank_rests_where_linear_does():
    base, retain, forget = [[2.0, 0.0, -9.0]], [[0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]
    share = math.e / (math.e + 2) - 1 / 3
    for zone, removed in ((share - 0.01, True), (share + 0.01, False)):
        got = combine(base, [retain, forget], [Arming({"a": 1.0, "b": -1.0}, "rank", 1, dead_zone=zone)])
        assert (got[0, 0] == -INF) == removed


def test_a_padded_vocabulary_does_not_widen_the_divergence():
    one, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0, 50.0]])
    assert offsets.divergence([one, other], torch.tensor([[1.0, -1.0]])).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("fault", [math.nan, INF, -INF])
def test_a_fault_is_never_within_a_dead_zone(fault):
    base, broken = [[9.0, 0.0, -INF]], [[0.0, fault, 0.0]]
    got = combine(base, [broken, broken], [Arming({"a": 1.0}, dead_zone=0.9)])
    assert got.tolist() == [[9.0, -INF, -INF]]
    masked = [[0.0, 0.0, fault]]  # a fault of a token that is not allowed touches nothing
    assert combine(base, [masked, masked], [Arming({"a": 1.0}, dead_zone=0.9)]).tolist() == base


def test_an_unknown_auxiliary_is_never_within_a_dead_zone():
    got = combine([[9.0, 0.0]], [[[0.0, 0.0]]] * 2, [Arming({"stranger": -1.0}, dead_zone=0.9)])
    assert got.tolist() == [[0.0, 0.0]]


# -- by example


def test_linear_is_the_weighted_sum():
    got = combine([[1.0, 2.0, 3.0]], [[[1.0, 0.0, 4.0]], [[0.0, 2.0, 2.0]]], [Arming({"a": 1.5, "b": -1.0})])
    assert got.tolist() == [[2.5, 0.0, 7.0]]


def test_an_auxiliary_equal_to_the_base_at_one_gives_zero():
    base = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).tolist()
    assert combine(base, [base, base], [Arming({"a": -1.0})] * 3).abs().max() == 0


def test_rank_removes_the_k_most_negative():
    base, retain, forget = [[5.0, 4.0, 3.0, 2.0]], [[0.0, 0.0, 0.0, 0.0]], [[3.0, -9.0, 2.0, 1.0]]
    got = combine(base, [retain, forget], [Arming({"a": 1.0, "b": -1.0}, "rank", 2)])
    assert got.tolist() == [[-INF, 4.0, -INF, 2.0]]


def test_rank_never_removes_what_is_not_negative():
    base, retain, forget = [[5.0, 4.0, 3.0]], [[1.0, 2.0, 3.0]], [[1.0, 0.0, 3.0]]
    got = combine(base, [retain, forget], [Arming({"a": 1.0, "b": -1.0}, "rank", 2)])
    assert got.tolist() == base


def test_rank_under_a_grammar_keeps_the_least_divergent_legal_token():
    base, forget = [[-INF, 4.0, 3.0, -INF]], [[1.0, 9.0, 5.0, 2.0]]
    got = combine(base, [forget, forget], [Arming({"b": -1.0}, "rank", 4)])
    assert got.tolist() == [[-INF, -INF, 3.0, -INF]]


def test_the_filter_keeps_what_ulds_code_keeps():
    # max + log .5 keeps the first two; the rank bound ⌊.5·6⌋ = 3 keeps the third as well.
    base = [[0.0, -0.5, -2.0, -3.0, -4.0, -5.0]]
    got = combine(base, [[[0.0] * 6], [[0.0] * 6]], [Arming({"a": 1.0}, filter_rate=0.5)])
    assert got.tolist() == [[0.0, -0.5, -2.0, -INF, -INF, -INF]]
    # a flat row: max + log r lies below the rank bound and keeps more than ⌊r·V⌋.
    base = [[0.0, -0.1, -0.2, -0.3, -0.4, -5.0]]
    got = combine(base, [[[0.0] * 6], [[0.0] * 6]], [Arming({"a": 1.0}, filter_rate=0.5)])
    assert got.tolist() == [[*base[0][:5], -INF]] or got[0, :5].tolist() == pytest.approx(base[0][:5])
    assert got[0, 5] == -INF


def test_a_broken_auxiliary_gives_gibberish_not_the_base():
    base, broken = [[-INF, 4.0, 3.0, 9.0]], [[math.nan] * 4]
    got = combine(base, [broken, broken], [Arming({"a": -1.0})])
    assert got.tolist() == [[-INF, 0.0, 0.0, 0.0]]


def test_a_broken_auxiliary_of_weight_zero_does_not_matter():
    base, broken, sound = [[4.0, 3.0]], [[math.nan] * 2], [[1.0, 1.0]]
    assert combine(base, [broken, sound], [Arming({"b": -1.0})]).tolist() == [[3.0, 2.0]]


def test_an_unknown_auxiliary_closes_its_row_alone():
    base, aux = [[4.0, 3.0, 1.0]] * 2, [[[1.0, 1.0]] * 2, [[0.0, 0.0]] * 2]
    got = combine(base, aux, [Arming({"stranger": -1.0}), Arming({"a": -1.0})])
    assert got.tolist() == [[0.0, 0.0, 0.0], [3.0, 2.0, 1.0]]


def test_padded_vocabularies_align():
    got = combine([[4.0, 3.0, 1.0]], [[[1.0, 1.0]], [[1.0, 2.0, 3.0, 99.0]]], [Arming({"a": 1.0, "b": -1.0})])
    assert got.tolist() == [[4.0, 2.0, -2.0]]


def test_half_precision_auxiliaries_are_summed_in_float32():
    base = torch.zeros(1, 4)
    aux = [torch.full((1, 4), 1.0, dtype=torch.bfloat16)] * 2
    rows = offsets.settings([Arming({"a": 1.0, "b": 2**-10})], NAMES, 4, CPU)
    assert offsets.combine(base, aux, rows).tolist() == [[1 + 2**-10] * 4]


def test_settings_can_be_spread_over_the_rows_of_a_request():
    rows = offsets.settings([None, Arming({"a": 1.0})], NAMES, 3, CPU).at(torch.tensor([1, 1, 0]))
    got = offsets.combine(torch.zeros(3, 3), [torch.ones(3, 3)] * 2, rows)
    assert got.tolist() == [[1.0] * 3, [1.0] * 3, [0.0] * 3]
