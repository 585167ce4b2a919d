"""The arithmetic of logit offsets: pure functions of tensors, the one place where published formulas are computed.

Rules
1. A row that is not armed keeps its logits bit for bit, and so does an armed one within its dead zone.
2. A token that is −inf on arrival (grammar, bias, bad words) is −inf on departure.
3. Faults of an auxiliary (NaN, infinities) close: the tokens they touch are removed, and no dead zone spares the row.
   A row where nothing is left becomes uniform over the tokens that were allowed: gibberish, never the base model's
   knowledge, never NaN.
4. No device-to-host copy on an accelerator, so nothing here stalls its queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from guards.engine.contract import Arming

NEG_INF = float("-inf")


@dataclass(frozen=True, slots=True)
class Settings:
    """The armings of n rows as tensors on the logits' device.

    weights: [n, k] float32, one column for each auxiliary of the engine; NaN closes the row (rule 3).
    rank_k: [n] int64, tokens to remove; 0 = linear.
    filter_rate, dead_zone: [n] float32, 0 = off.
    armed: [n] bool.
    top_k, top_kept: the largest `rank_k` and the largest ⌊filter_rate·V⌋ on the host; 0 when no row needs them.
    zoned: whether any row has a dead zone, on the host.
    """

    weights: Tensor
    rank_k: Tensor
    filter_rate: Tensor
    dead_zone: Tensor
    armed: Tensor
    top_k: int
    top_kept: int
    zoned: bool

    def at(self, rows: Tensor) -> "Settings":
        """The settings of `rows` ([m] int64 indices, repetition allowed): one request may own several logits rows."""
        return replace(
            self,
            weights=self.weights[rows],
            rank_k=self.rank_k[rows],
            filter_rate=self.filter_rate[rows],
            dead_zone=self.dead_zone[rows],
            armed=self.armed[rows],
        )


def settings(armings: Sequence[Arming | None], names: Sequence[str], vocab: int, device: torch.device) -> Settings:
    """Lay out `armings`, one a row (None = not armed), for an engine whose auxiliaries are `names`.

    An arming that names an auxiliary the engine does not have cannot be carried out: its weights become NaN, which
    closes the row. The caller logs it; raising here would end the engine for every other request.
    """
    weights = [[0.0] * len(names) for _ in armings]
    for row, arming in zip(weights, armings, strict=True):
        if arming is None:
            continue
        unknown = set(arming.weights) - set(names)
        row[:] = [float("nan")] * len(names) if unknown else [arming.weights.get(name, 0.0) for name in names]
    ks = [arming.k or 0 if arming else 0 for arming in armings]
    rates = [arming.filter_rate if arming else 0.0 for arming in armings]
    zones = [arming.dead_zone if arming else 0.0 for arming in armings]
    return Settings(
        weights=torch.tensor(weights, dtype=torch.float32).reshape(len(armings), len(names)).to(device),
        rank_k=torch.tensor(ks, dtype=torch.int64).to(device),
        filter_rate=torch.tensor(rates, dtype=torch.float32).to(device),
        dead_zone=torch.tensor(zones, dtype=torch.float32).to(device),
        armed=torch.tensor([arming is not None for arming in armings], dtype=torch.bool).to(device),
        top_k=min(max(ks, default=0), vocab),
        top_kept=max((max(1, int(rate * vocab)) for rate in rates if rate), default=0),
        zoned=any(zones),
    )


def combine(base: Tensor, auxiliaries: Sequence[Tensor], rows: Settings) -> Tensor:
    """The logits to sample from: [n, V] float32, a new tensor.

    base: [n, V] float32, as left by grammar, bias and bad words. auxiliaries: k tensors [n, Vᵢ] of any float type.

    linear: l_b + Σ wᵢ·lᵢ (ULD, arXiv 2406.08607; δ-unlearning, arXiv 2404.11045; DExperts, arXiv 2105.03023; UCD and
    Divergence Decoding linear are the same form with a clean and a forget model).
    rank: l_b, but −inf at the k tokens where Σ wᵢ·lᵢ is most negative (Divergence Decoding, rank).
    dead zone (ours): where the auxiliaries' `divergence` is below it, the row stays l_b, its filter included.
    """
    offset = weighted_sum(auxiliaries, rows.weights, base.shape[-1])
    sound = torch.isfinite(offset)
    out = base + offset
    if rows.top_k:
        removed = most_negative(offset, rows.rank_k, rows.top_k)
        ranked = torch.where(removed, NEG_INF, base)
        out = torch.where((rows.rank_k > 0)[:, None], ranked, out)
    out = torch.where(sound, out, NEG_INF)
    if rows.top_kept:
        out = torch.where(plausible(base, rows.filter_rate, rows.top_kept), out, NEG_INF)
    acts = rows.armed
    if rows.zoned:
        faulty = (~sound & (base > NEG_INF)).any(dim=-1)
        acts = acts & (faulty | ~(divergence(auxiliaries, rows.weights) < rows.dead_zone))
    return torch.where(acts[:, None], _never_empty(out, base, offset), base)


def weighted_sum(auxiliaries: Sequence[Tensor], weights: Tensor, vocab: int) -> Tensor:
    """Σ wᵢ·auxᵢ as [n, vocab] float32. weights: [n, k].

    A weight of 0 takes an auxiliary out of a row whatever it says, NaN included. Models of one family pad their
    vocabulary differently: columns that an auxiliary lacks add nothing, surplus ones are dropped.
    """
    total = weights.new_zeros((weights.shape[0], vocab))
    for column, auxiliary in enumerate(auxiliaries):
        weight = weights[:, column, None]
        width = min(vocab, auxiliary.shape[-1])
        term = torch.where(weight == 0, 0.0, weight * auxiliary[:, :width])  # float32: the weights are
        total[:, :width] += term
        if width < vocab:
            total[:, width:] += torch.where(weight.isnan(), weight, 0.0)  # a closed row is closed in every column
    return total


def divergence(auxiliaries: Sequence[Tensor], weights: Tensor) -> Tensor:
    """[n] float32 from 0 to 1: how differently the two sides of an offset would go on, whatever the base would do.

    The total variation ½ Σ |p₊ − p₋| of p₊ = softmax(Σ wᵢ·lᵢ / Σ wᵢ over wᵢ > 0) and p₋, the same over wᵢ < 0; a side
    without an auxiliary knows nothing, and is uniform. So of a pair it is how far its parts are apart, of ULD's
    assistant how far it is from knowing nothing, and neither strength nor sampling changes it. NaN after a fault.
    Columns that an auxiliary lacks (see `weighted_sum`) are left out.
    """
    width = min(auxiliary.shape[-1] for auxiliary in auxiliaries)
    sides = []
    for side in (weights.clamp(min=0), (-weights).clamp(min=0)):
        share = side / torch.where(side.sum(-1, keepdim=True) > 0, side.sum(-1, keepdim=True), 1.0)
        sides.append(weighted_sum(auxiliaries, share, width).softmax(-1))
    return 0.5 * (sides[0] - sides[1]).abs().sum(-1)


def most_negative(offset: Tensor, rank_k: Tensor, top_k: int) -> Tensor:
    """[n, V] bool: the `rank_k` tokens of each row with the smallest offset, as far as it is below 0.

    offset: [n, V] float32; NaN counts as largest. Tokens at 0 or above are not more likely under the forget model:
    keeping them is what makes two equal auxiliaries remove nothing.
    """
    values, tokens = torch.topk(offset, top_k, dim=-1, largest=False)
    place = torch.arange(top_k, device=offset.device)
    hit = (place < rank_k[:, None]) & (values < 0)
    return torch.zeros_like(offset, dtype=torch.bool).scatter_(-1, tokens, hit)


def plausible(base: Tensor, rate: Tensor, top_kept: int) -> Tensor:
    """[n, V] bool: tokens that ULD's filter keeps; all of them where the rate is 0.

    A token stays when log p ≥ min(max log p + log r, log p of the token at rank ⌊r·V⌋): at least ⌊r·V⌋ of them, and one
    (ULD, `relative_top_filter` in the authors' code, after DoLa, arXiv 2309.03883). Both bounds move with the softmax's
    normaliser, so logits serve as well as log-probabilities. The others are not sampled.
    """
    best = torch.topk(base, top_kept, dim=-1).values
    rank = (rate * base.shape[-1]).long().clamp(1, top_kept)
    at_rank = best.gather(-1, rank[:, None] - 1)
    threshold = torch.minimum(best[:, :1] + rate.log()[:, None], at_rank)
    return ~(base < threshold)  # a NaN threshold keeps all: the base's own faults are not this function's to judge


def _never_empty(out: Tensor, base: Tensor, offset: Tensor) -> Tensor:
    """Rule 3: rows of `out` in which no token is left get one token, or a uniform choice, among those allowed.

    The one token is the least divergent of the allowed: k removals under a grammar with few legal tokens end there.
    """
    empty = ~(out > NEG_INF).any(dim=-1, keepdim=True)
    if out.device.type == "cpu" and not empty.any():  # free on a CPU; on an accelerator the check itself would wait
        return out
    allowed = base > NEG_INF
    order = torch.where(allowed & torch.isfinite(offset), offset, NEG_INF)
    least = order.max(dim=-1, keepdim=True).values
    single = torch.where((order == least) & (least > NEG_INF), base, NEG_INF)
    uniform = torch.where(allowed, 0.0, NEG_INF)
    refuge = torch.where(least > NEG_INF, single, uniform)
    return torch.where(empty, refuge, out)
