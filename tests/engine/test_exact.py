"""Against transformers in float32: the tokens and logits of every request, whatever company it keeps in the batch."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from serving import Request, engine, serve, watched
from tiny import FAMILIES, VOCAB, apart, follow, load, write_checkpoint
from vllm.exceptions import VLLMValidationError

from guards.engine.contract import Arming
from guards.engine.launch import Auxiliary, EngineConfig

TOLERANCE = 1e-3
CLOSE_CALL = 1e-4  # where the reference's two best tokens are this near, either may win
RETAIN, FORGET, BOTH = {"retain": 0.75}, {"forget": -0.75}, {"retain": 1.5, "forget": -1.5}


def prompt(seed: int, length: int) -> list[int]:
    return torch.randint(3, VOCAB, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """family → folders of a base and two auxiliaries of other depths, one of another width."""
    made: dict[str, dict[str, object]] = {}

    def make(family: str):
        if family not in made:
            root = tmp_path_factory.mktemp(family)
            made[family] = {
                "base": write_checkpoint(root / "base", family, 1),
                "retain": write_checkpoint(root / "retain", family, 2, num_hidden_layers=2),
                "forget": write_checkpoint(root / "forget", family, 3, num_hidden_layers=1, intermediate_size=64),
            }
        return made[family]

    return make


def pair(folders) -> EngineConfig:
    return EngineConfig([Auxiliary(name, "checkpoint", model=str(folders[name])) for name in ("retain", "forget")])


def assert_exact(folders, requests: list[Request]) -> None:
    base, auxiliaries = load(folders["base"]), {name: load(folders[name]) for name in ("retain", "forget")}
    for request in requests:
        assert len(request.tokens) == request.steps
        rows = follow(base, auxiliaries, request.prompt, request.tokens, request.arming)
        assert_greedy(request.tokens, rows)
        if request.logits:
            assert torch.equal(request.rows.isinf(), rows.isinf())
            assert (request.rows - rows).nan_to_num(0.0).abs().max() < TOLERANCE


def assert_greedy(tokens: list[int], rows: torch.Tensor) -> None:
    best = rows.topk(2)
    clear = best.values[:, 0] - best.values[:, 1] > CLOSE_CALL
    assert torch.tensor(tokens)[clear].tolist() == best.indices[clear, 0].tolist()
    assert clear.float().mean() > 0.97


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_mixed_batch_of_every_family(models, family: str):
    folders = models(family)
    requests = [
        Request(prompt(1, 9), None),
        Request(prompt(2, 70), Arming(FORGET)),
        Request(prompt(3, 5), Arming(RETAIN)),
        Request(prompt(4, 100), Arming(BOTH), arrives=3),
        Request(prompt(5, 17), Arming(BOTH, "rank", 20)),
        Request(prompt(6, 33), Arming(FORGET, filter_rate=0.05), arrives=5),
    ]
    with engine(folders["base"], pair(folders), max_num_batched_tokens=32) as llm:
        serve(llm, requests)
    assert_exact(folders, requests)


def crowd() -> list[Request]:
    """Requests that come, go, share prefixes within and across arms, and want more cache than there is."""
    shared = prompt(20, 64)
    return [
        Request(prompt(11, 40), None, steps=150),
        Request(prompt(12, 90), Arming(FORGET), steps=220),
        Request([*shared, *prompt(13, 9)], None, steps=60),
        Request([*shared, *prompt(14, 9)], Arming(BOTH), steps=90, arrives=4),
        Request([*shared, *prompt(15, 21)], Arming(FORGET), steps=60, arrives=8),
        Request([*shared, *prompt(16, 5)], None, steps=40, arrives=12),
        Request(prompt(17, 30), Arming(BOTH, "rank", 12), steps=200, arrives=2),
        Request(prompt(18, 30), Arming(FORGET), steps=400, arrives=6, leaves=30, logits=False),
        Request(prompt(19, 120), Arming(RETAIN, filter_rate=0.1), steps=100, arrives=50),
        Request(prompt(21, 3), None, steps=100, arrives=90),
        Request([*shared, *prompt(22, 7)], Arming(BOTH), steps=30, arrives=300),
    ]


def test_crowded_for_hundreds_of_steps(models):
    folders, requests = models("llama"), crowd()
    options = {"max_num_batched_tokens": 48, "block_size": 32, "num_gpu_blocks_override": 20, "max_num_seqs": 6}
    with engine(folders["base"], pair(folders), **options) as llm:
        seen = watched(llm)
        serve(llm, requests)
    assert seen["preempted"], "the cache is too large for this test"
    assert seen["chunked"]
    assert seen["cached"], "no prefix was shared"
    assert_exact(folders, [request for request in requests if request.leaves is None])
    assert len(next(request for request in requests if request.leaves).tokens) < 30


def test_strength_zero_is_plain_vllm_bit_for_bit(models):
    folders = models("llama")
    script = [
        (prompt(31, 12), Arming(FORGET)),
        (prompt(32, 50), Arming({"retain": 0.0, "forget": 0.0})),
        (prompt(33, 7), None),
        (prompt(34, 80), Arming(BOTH, "rank", 5)),
    ]
    plain = [Request(tokens, None, steps=80) for tokens, _ in script]
    mixed = [Request(tokens, arming, steps=80) for tokens, arming in script]
    quiet = [Request(tokens, None, steps=80) for tokens, _ in script]
    with engine(folders["base"], None, max_num_batched_tokens=32) as llm:
        serve(llm, plain)
    with engine(folders["base"], pair(folders), max_num_batched_tokens=32) as llm:
        serve(llm, mixed)
        serve(llm, quiet)
    for index in range(len(script)):
        assert quiet[index].tokens == plain[index].tokens
        assert torch.equal(quiet[index].rows, plain[index].rows)
    for index in (1, 2):
        assert mixed[index].tokens == plain[index].tokens
        assert torch.equal(mixed[index].rows, plain[index].rows)
    for index in (0, 3):
        assert not torch.equal(mixed[index].rows, plain[index].rows)


def test_a_dead_zone_leaves_some_tokens_to_the_base_and_not_others(models):
    """Each zone is the middle of what the auxiliaries do; tokens as good as on it may fall either way."""
    folders = models("llama")
    base, auxiliaries = load(folders["base"]), {name: load(folders[name]) for name in ("retain", "forget")}
    armings = [Arming(FORGET), Arming(RETAIN, filter_rate=0.05), Arming(BOTH), Arming(BOTH, "rank", 20)]
    prompts = [prompt(51 + place, 12) for place in range(len(armings))]
    requests = [
        Request(ids, replace(arming, dead_zone=diverging(auxiliaries, ids, ids[1:], arming).median().item()), steps=60)
        for ids, arming in zip(prompts, armings, strict=True)
    ]
    with engine(folders["base"], pair(folders), max_num_batched_tokens=32) as llm:
        serve(llm, [*requests, Request(prompt(60, 30), None)])
    for request in requests:
        divergence = diverging(auxiliaries, request.prompt, request.tokens, request.arming)
        clear = (divergence - request.arming.dead_zone).abs() > TOLERANCE
        rests = divergence < request.arming.dead_zone
        assert rests[clear].any(), "this test shows nothing"
        assert not rests[clear].all(), "this test shows nothing"
        want = follow(base, auxiliaries, request.prompt, request.tokens, request.arming)[clear]
        got = request.rows[clear]
        assert_greedy([token for token, sure in zip(request.tokens, clear, strict=True) if sure], want)
        assert torch.equal(got.isinf(), want.isinf())
        assert (got - want).nan_to_num(0.0).abs().max() < TOLERANCE


@torch.inference_mode()
def diverging(auxiliaries: dict, ids: list[int], tokens: list[int], arming: Arming) -> torch.Tensor:
    """[steps]: the divergence from which each of `tokens` was chosen."""
    whole, first = torch.tensor([[*ids, *tokens]]), len(ids) - 1
    tables = {name: auxiliaries[name](input_ids=whole).logits[0, first:-1].float() for name in arming.weights}
    return torch.stack([apart({n: t[i] for n, t in tables.items()}, arming) for i in range(len(tokens))])


@pytest.fixture
def counted(models):
    """The composite, and a counter of its auxiliaries' forward passes."""
    folders, passes = models("llama"), Counter()

    def count(model):
        for index, auxiliary in enumerate(model.aux):
            forward = auxiliary.forward
            auxiliary.forward = lambda *args, i=index, f=forward, **kw: (passes.update({i: 1}), f(*args, **kw))[1]

    with engine(folders["base"], pair(folders), block_size=32) as llm:
        llm.apply_model(count)
        yield llm, folders, passes


def test_auxiliaries_rest_while_nobody_is_armed(counted):
    llm, folders, passes = counted
    serve(llm, [Request(prompt(41, 20), None, steps=10), Request(prompt(42, 20), None, steps=10)])
    assert not passes
    requests = [Request(prompt(43, 20), None, steps=40), Request(prompt(44, 20), Arming(FORGET), steps=10, arrives=5)]
    serve(llm, requests)
    assert passes == {0: 10, 1: 10}
    assert_exact(folders, requests)


def test_an_armed_request_does_not_find_the_blocks_of_an_unarmed_one(counted):
    llm, folders, _ = counted
    tokens = prompt(45, 100)
    first, second = Request(tokens, None, steps=5), Request(tokens, Arming(FORGET), steps=20)
    serve(llm, [first])
    serve(llm, [second])
    assert_exact(folders, [first, second])


def test_without_its_salt_it_would(counted, monkeypatch):
    """The rule has a reason, and the test above can fail."""
    llm, folders, _ = counted
    monkeypatch.setattr("serving.request_fields", lambda arming: {"cache_salt": None})
    tokens = prompt(46, 100)
    serve(llm, [Request(tokens, None, steps=5)])
    spoiled = Request(tokens, Arming(FORGET), steps=20)
    serve(llm, [spoiled])
    with pytest.raises(AssertionError):
        assert_exact(folders, [spoiled])


def test_a_request_that_names_a_stranger_gets_no_knowledge(counted):
    llm, folders, _ = counted
    stranger, honest = Request(prompt(47, 9), Arming({"stranger": -1.0}), steps=5), Request(prompt(48, 9), steps=5)
    serve(llm, [stranger, honest])
    assert stranger.rows.abs().max() == 0
    assert_exact(folders, [honest])


def test_a_malformed_arming_is_refused_at_the_door(counted):
    llm, _, _ = counted
    params = Request([5]).params()
    params.extra_args = {"lethe_weights": [1.0]}
    with pytest.raises(VLLMValidationError, match="missing fields"):
        llm.generate({"prompt_token_ids": [5, 6]}, params)
