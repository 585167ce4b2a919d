"""Both runners' adapters over simulated batches: requests come, go and move; every row keeps its own arming."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import offset_row
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

from guards.engine import handoff, v1, v2
from guards.engine.composite import _refuse
from guards.engine.contract import Arming, ContractError, encode
from guards.engine.launch import ARCHITECTURE

NAMES, VOCAB, SLOTS = ("retain", "forget"), 23, 8
ARMINGS = [
    None,
    None,
    Arming({"forget": -0.75}),
    Arming({"retain": 1.5, "forget": -1.5}),
    Arming({"retain": 1.0, "forget": -1.0}, "rank", 3),
    Arming({"forget": -0.5}, filter_rate=0.2),
    Arming({"forget": -0.5}, filter_rate=0.2, dead_zone=0.2),
    Arming({"retain": 1.0, "forget": -1.0}, "rank", 3, dead_zone=0.1),
]


def fake_config() -> SimpleNamespace:
    return SimpleNamespace(
        compilation_config=SimpleNamespace(static_forward_context={}),
        model_config=SimpleNamespace(
            get_vocab_size=lambda: VOCAB,
            hf_config=SimpleNamespace(architectures=[ARCHITECTURE]),
            logprobs_mode="processed_logprobs",
        ),
    )


def step(processor_apply, shared: handoff.Handoff, armings: list[Arming | None], seed: int) -> None:
    """Hand `processor_apply` random logits, one row for each of `armings`, and check every row."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(len(armings), VOCAB, generator=generator)
    auxiliaries = [torch.randn(len(armings), VOCAB, generator=generator) for _ in NAMES]
    shared.put([each.clone() for each in auxiliaries] if shared.armed else None)
    got = processor_apply(base.clone())
    for row, arming in enumerate(armings):
        want = offset_row(base[row], {name: auxiliaries[i][row] for i, name in enumerate(NAMES)}, arming)
        assert torch.allclose(got[row], want, atol=1e-5)
        if arming is None:
            assert torch.equal(got[row], base[row])


def params(arming: Arming | None) -> SamplingParams:
    return SamplingParams(extra_args=encode(arming) or None)


def new_handoff(config) -> handoff.Handoff:
    shared = handoff.Handoff(NAMES, lambda index, states: states)
    handoff.offer(config, shared)
    return shared


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_v1_follows_a_shuffled_batch(rng: random.Random):
    config = fake_config()
    processor = v1.OffsetLogitsProcessor(config, torch.device("cpu"), False)
    shared, batch = new_handoff(config), []
    for turn in range(12):
        batch, update = shuffle(rng, batch)
        processor.update_state(update)
        assert shared.armed == any(batch)
        if batch:
            step(processor.apply, shared, batch, seed=turn)


def shuffle(rng: random.Random, batch: list) -> tuple[list, BatchUpdate | None]:
    """What V1's persistent batch does between two steps, in its order: remove, add into holes, condense, swap."""
    holes = sorted(rng.sample(range(len(batch)), rng.randint(0, len(batch))))
    rows: dict[int, Arming | None] = {i: arming for i, arming in enumerate(batch) if i not in holes}
    added, moved = [], []
    for _ in range(rng.randint(0, 3)):
        index = holes.pop(0) if holes else max(rows, default=-1) + 1
        rows[index] = rng.choice(ARMINGS)
        added.append((index, params(rows[index]), None, []))
    removed = list(holes)
    while holes and rows and holes[0] < max(rows):
        source, hole = max(rows), holes.pop(0)
        rows[hole] = rows.pop(source)
        moved.append((source, hole, MoveDirectionality.UNIDIRECTIONAL))
    if len(rows) > 1 and rng.random() < 0.5:
        a, b = rng.sample(sorted(rows), 2)
        rows[a], rows[b] = rows[b], rows[a]
        moved.append((a, b, MoveDirectionality.SWAP))
    if not (removed or added or moved):
        return batch, None
    batch = [rows[i] for i in range(len(rows))]
    return batch, BatchUpdate(batch_size=len(batch), removed=removed, added=added, moved=moved)


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_v2_follows_slots_whatever_the_rows_are(rng: random.Random):
    config = fake_config()
    shared = new_handoff(config)
    states = SimpleNamespace(device=torch.device("cpu"), vocab_size=VOCAB, max_num_reqs=SLOTS)
    processor = v2.OffsetLogitsProcessor(config, states)
    slots: dict[int, Arming | None] = {}
    for turn in range(12):
        for slot in rng.sample(range(SLOTS), rng.randint(0, 4)):  # slots are recycled without notice
            slots[slot] = rng.choice(ARMINGS)
            assert processor.add_request(slot, params(slots[slot])) == (slots[slot] is not None)
        processor.apply_staged_writes()
        batch = rng.sample(sorted(slots), rng.randint(0, len(slots)))
        if not batch:
            continue
        rows = [slot for slot in batch for _ in range(rng.randint(1, 3))]  # several rows a request
        context = SimpleNamespace(
            idx_mapping_np=np.array(batch), expanded_idx_mapping=torch.tensor(rows, dtype=torch.int32)
        )
        shared.armed = any(slots[slot] for slot in batch)  # as the model state says it
        step(lambda logits, ctx=context: processor.apply(logits, ctx), shared, [slots[s] for s in rows], seed=turn)


def test_v2_model_state_says_who_is_armed(monkeypatch):
    class Plain:
        def add_request(self, req_index, new):
            pass

        def prepare_inputs(self, batch, states):
            return {"positions": 1}

        def prepare_dummy_inputs(self, requests, tokens):
            return {}

    monkeypatch.setattr("vllm.v1.worker.gpu.model_states.resolve_model_state_cls", lambda config, model: Plain)
    shared = new_handoff(fake_config())
    state = v2.model_state_class(None, None, shared)()

    def armed(*slots: int) -> bool:
        assert state.prepare_inputs(SimpleNamespace(idx_mapping_np=np.array(slots)), None) == {"positions": 1}
        return shared.armed

    assert armed(0, 1), "a warm-up must see the whole cost"
    state.add_request(0, SimpleNamespace(sampling_params=params(None)))
    state.add_request(1, SimpleNamespace(sampling_params=params(ARMINGS[2])))
    assert not armed(0)
    assert armed(0, 1)
    state.add_request(1, SimpleNamespace(sampling_params=params(None)))
    assert not armed(0, 1)
    state.prepare_dummy_inputs(1, 1)
    assert shared.armed, "graphs are captured with the auxiliaries"


def test_an_armed_row_never_goes_out_as_the_bases():
    shared = handoff.Handoff(NAMES, lambda index, states: states)
    with pytest.raises(RuntimeError, match="did not run"):
        shared.take(None, expected=1)
    shared.put([torch.zeros(3, VOCAB)] * 2)
    with pytest.raises(RuntimeError, match="3 rows"):
        shared.take(None, expected=2)
    shared.put([torch.zeros(2, VOCAB)] * 2)
    shared.take(None, expected=2)
    with pytest.raises(RuntimeError, match="did not run"):
        shared.take(None, expected=2)  # a step's states serve that step alone
    blind = handoff.Handoff(NAMES, lambda index, states: None)
    blind.put([torch.zeros(2, VOCAB)] * 2)
    with pytest.raises(RuntimeError, match="tensor-parallel"):
        blind.take(None, expected=2)


MAKERS = [
    lambda config: v1.OffsetLogitsProcessor(config, torch.device("cpu"), False),
    lambda config: v2.OffsetLogitsProcessor(config, None),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_processor_without_the_composite_does_not_start(make):
    config = fake_config()
    config.model_config.hf_config.architectures = ["LlamaForCausalLM"]
    with pytest.raises(RuntimeError, match="composite"):
        make(config)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("mode", ["raw_logprobs", "raw_logits"])
def test_an_engine_that_reports_the_bases_logprobs_does_not_start(make, mode: str):
    config = fake_config()
    config.model_config.logprobs_mode = mode
    with pytest.raises(RuntimeError, match="processed_logprobs"):
        make(config)


@pytest.mark.parametrize("processor", [v1.OffsetLogitsProcessor, v2.OffsetLogitsProcessor])
def test_an_armed_request_cannot_ask_for_prompt_logprobs(processor):
    arming = encode(ARMINGS[2])
    processor.validate_params(SamplingParams(extra_args=arming, logprobs=5))
    processor.validate_params(SamplingParams(prompt_logprobs=1))
    with pytest.raises(ContractError, match="prompt_logprobs"):
        processor.validate_params(SamplingParams(extra_args=arming, prompt_logprobs=1))
    with pytest.raises(ContractError, match="missing"):
        processor.validate_params(SamplingParams(extra_args={"lethe_k": 3}))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("", {"speculative_config": object()}),
        ("model_config", {"enable_prompt_embeds": True}),
        ("parallel_config", {"pipeline_parallel_size": 2}),
    ],
)
def test_what_would_be_wrong_is_refused_aloud(part: str, change: dict):
    config = SimpleNamespace(
        speculative_config=None,
        model_config=SimpleNamespace(enable_prompt_embeds=False),
        parallel_config=SimpleNamespace(pipeline_parallel_size=1),
    )
    _refuse(config)
    vars(getattr(config, part) if part else config).update(change)
    with pytest.raises(NotImplementedError):
        _refuse(config)
