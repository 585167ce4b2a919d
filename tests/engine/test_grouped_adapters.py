"""LoRA by groups of rows, against the formula a row at a time and against what vLLM does by itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from guards.engine.adapters import GroupedAdapters, groups

SLOTS, RANK, IN, OUT, NONE = 3, 4, 10, (6, 2, 2), 0
IDS = [11, 12, None]  # of the adapters in the slots


def module(seed: int):
    """A merged linear module's adapters: tuples over its slices."""
    generator = torch.Generator().manual_seed(seed)
    a = tuple(torch.randn(SLOTS, 1, RANK, IN, generator=generator) for _ in OUT)
    b = tuple(torch.randn(SLOTS, 1, size, RANK, generator=generator) for size in OUT)
    return a, b


def computed(kind, worn: list[int], prefill: bool, seed: int = 1):
    """`y` before and after, and `x`."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(len(worn), IN, generator=generator), torch.randn(len(worn), sum(OUT), generator=generator)
    wrapper = kind(64, 64, "cpu")
    wrapper.update_metadata(LoRAMapping(tuple(worn), tuple(worn), prefill), IDS, SLOTS, 100)
    after = y.clone()
    wrapper.add_lora_linear(after, x, *module(seed), 0.5, OUT)
    return y, after, x


@settings(max_examples=60)
@given(worn=st.lists(st.sampled_from([NONE, 11, 12]), min_size=1, max_size=12), prefill=st.booleans())
def test_each_row_wears_its_own_and_none_where_it_has_none(worn: list[int], prefill: bool):
    before, after, x = computed(GroupedAdapters, worn, prefill)
    a, b = module(1)
    for row, adapter in enumerate(worn):
        if adapter == NONE:
            assert torch.equal(after[row], before[row])
            continue
        slot = IDS.index(adapter)
        pairs = zip(a, b, strict=True)
        want = torch.cat([0.5 * part_b[slot, 0] @ (part_a[slot, 0] @ x[row]) for part_a, part_b in pairs])
        assert torch.allclose(after[row] - before[row], want, atol=1e-4)


@pytest.mark.parametrize("prefill", [True, False])
def test_where_every_row_wears_one_it_is_what_vllm_gives(prefill: bool):
    worn = [11, 11, 12, 11, 12, 12, 12]
    assert torch.allclose(
        computed(GroupedAdapters, worn, prefill)[1], computed(PunicaWrapperCPU, worn, prefill)[1], atol=1e-4
    )


def test_one_adapter_for_all_rows_copies_no_row():
    assert groups(torch.tensor([2, 2, 2])) == [(2, None)]
    assert groups(torch.tensor([-1, -1])) == []


def test_other_rows_than_were_announced_are_refused():
    wrapper = GroupedAdapters(64, 64, "cpu")
    wrapper.update_metadata(LoRAMapping((11,), (11,), False), IDS, SLOTS, 100)
    with pytest.raises(RuntimeError, match="announced for 1"):
        wrapper.add_lora_linear(torch.zeros(2, sum(OUT)), torch.zeros(2, IN), *module(1), 1.0, OUT)
