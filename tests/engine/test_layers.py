"""Auxiliaries on the base's first layers: weights shared, keys and values apart, an adapter for each request."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from serving import Request, engine, serve, watched
from test_exact import TOLERANCE, assert_greedy, prompt
from tiny import VOCAB, follow, load, write_checkpoint
from vllm.lora.request import LoRARequest

from guards.engine.contract import Arming
from guards.engine.launch import Auxiliary, EngineConfig, adapter_tensor_name
from guards.engine.layers import _Weightless

LAYERS = 2
PAIR = EngineConfig([Auxiliary(name, "layers", layers=LAYERS) for name in ("retain", "forget")])


def shorten(model, layers: int = LAYERS):
    model.model.layers = model.model.layers[:layers]
    model.config.num_hidden_layers = layers
    return model


def write_adapter(base: Path, folder: Path, seed: int) -> Path:
    """A PEFT adapter on the shortened base, with random weights where PEFT would start from zeros."""
    wrapped = get_peft_model(shorten(load(base)), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    wrapped.save_pretrained(folder)
    return folder


def write_served(parts: dict[int, Path], folder: Path) -> Path:
    """What vLLM loads: the tensors of one adapter for each auxiliary, under the composite's names, in one file."""
    folder.mkdir()
    tensors = {}
    for index, part in parts.items():
        stored = load_file(part / "adapter_model.safetensors")
        tensors |= {adapter_tensor_name(name, index): tensor for name, tensor in stored.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text((next(iter(parts.values())) / "adapter_config.json").read_text())
    return folder


def make(root: Path, family: str):
    """A base, three parts trained on it, and two assistants that the engine loads."""
    base = write_checkpoint(root / "base", family, 1)
    parts = [write_adapter(base, root / f"part{i}", seed=i) for i in range(3)]
    served = {
        "one": write_served({0: parts[0], 1: parts[1]}, root / "one"),
        "two": write_served({0: parts[2], 1: parts[0]}, root / "two"),
    }
    return base, parts, served


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma3_text"])
def made(request, tmp_path_factory):
    return make(tmp_path_factory.mktemp(request.param), request.param)


def reference(base: Path, parts: dict[str, Path]) -> dict:
    return {
        name: PeftModel.from_pretrained(shorten(load(base)), part) if part else shorten(load(base))
        for name, part in parts.items()
    }


def assert_exact(base: Path, parts: dict[str, Path | None], request: Request) -> None:
    assert_rows(request, follow(load(base), reference(base, parts), request.prompt, request.tokens, request.arming))


def assert_rows(request: Request, rows: torch.Tensor) -> None:
    assert_greedy(request.tokens, rows)
    assert torch.equal(request.rows.isinf(), rows.isinf())
    assert (request.rows - rows).nan_to_num(0.0).abs().max() < TOLERANCE


def test_adapters_mix_in_one_batch_and_leave_the_base_alone(made):
    base, parts, served = made
    one, two = LoRARequest("one", 1, str(served["one"])), LoRARequest("two", 2, str(served["two"]))
    both = {"retain": 1.0, "forget": -1.0}
    requests = [
        Request(prompt(1, 11), None, steps=40),
        Request(prompt(2, 60), Arming(both), steps=40, adapter=one),
        Request(prompt(3, 60), Arming({"forget": -0.75}), steps=40, adapter=two, arrives=3),
        Request(prompt(4, 9), Arming(both, "rank", 20), steps=40, adapter=one, arrives=4),
        Request(prompt(5, 9), Arming({"forget": -0.5}), steps=40, arrives=2),  # armed, and wearing none
    ]
    options = {"enable_lora": True, "max_loras": 2, "max_lora_rank": 8, "max_num_batched_tokens": 32}
    with engine(base, PAIR, **options) as llm:
        serve(llm, requests)
        wrapped = llm.apply_model(lambda model: list(model.lora_manager.modules))[0]
    assert_exact(base, {}, requests[0])
    assert_exact(base, {"retain": parts[0], "forget": parts[1]}, requests[1])
    assert_exact(base, {"retain": parts[2], "forget": parts[0]}, requests[2])
    assert_exact(base, {"retain": parts[0], "forget": parts[1]}, requests[3])
    assert_exact(base, {"retain": None, "forget": None}, requests[4])
    assert wrapped
    assert all(name.startswith("aux.") for name in wrapped), "LoRA reached the base"


def test_adapters_in_a_crowd(tmp_path):
    """Requests that come, go, share prefixes within and across adapters, and want more cache than there is."""
    base, parts, served = make(tmp_path, "llama")
    one, two = LoRARequest("one", 1, str(served["one"])), LoRARequest("two", 2, str(served["two"]))
    both, half, shared = Arming({"retain": 1.0, "forget": -1.0}), Arming({"forget": -0.5}), prompt(20, 64)
    requests = [
        Request(prompt(11, 40), None, steps=40),
        Request(prompt(12, 90), both, steps=50, adapter=one),
        Request([*shared, *prompt(13, 9)], half, steps=30, adapter=one),
        Request([*shared, *prompt(14, 9)], both, steps=30, adapter=two, arrives=4),
        Request([*shared, *prompt(15, 21)], both, steps=30, adapter=one, arrives=8),
        Request([*shared, *prompt(16, 5)], None, steps=30, arrives=12),
        Request(prompt(17, 30), Arming({"forget": -1.0}, "rank", 12), steps=40, adapter=two, arrives=2),
        Request(prompt(18, 30), both, steps=120, adapter=two, arrives=6, leaves=30, logits=False),
        Request([*shared, *prompt(19, 7)], half, steps=20, adapter=two, arrives=10),
    ]
    room = {"max_model_len": 160, "block_size": 32, "num_gpu_blocks_override": 14}
    crowded = {"max_num_batched_tokens": 48, "max_num_seqs": 6, **room}
    with engine(base, PAIR, enable_lora=True, max_loras=2, max_lora_rank=8, **crowded) as llm:
        seen = watched(llm)
        serve(llm, requests)
    assert seen["preempted"], "the cache is too large for this test"
    assert seen["chunked"]
    assert seen["cached"], "no prefix was shared"
    worn = {
        one: reference(base, {"retain": parts[0], "forget": parts[1]}),
        two: reference(base, {"retain": parts[2], "forget": parts[0]}),
        None: {},
    }
    plain = load(base)
    for request in (request for request in requests if request.leaves is None):
        assert_rows(request, follow(plain, worn[request.adapter], request.prompt, request.tokens, request.arming))


def test_the_base_is_plain_vllms_bit_for_bit_with_adapters_at_work(made):
    base, _, served = made
    plain, beside = Request(prompt(6, 30), steps=40), Request(prompt(6, 30), steps=40)
    other = Request(
        prompt(7, 30), Arming({"forget": -1.0}), steps=40, adapter=LoRARequest("one", 1, str(served["one"]))
    )
    with engine(base, None) as llm:
        serve(llm, [plain, Request(prompt(7, 30), steps=40)])
    with engine(base, PAIR, enable_lora=True, max_lora_rank=8) as llm:
        serve(llm, [beside, other])
    assert torch.equal(plain.rows, beside.rows)


def test_weights_are_shared_not_copied(made):
    base, _, _ = made

    def storages(module) -> set[int]:
        tensors = [*module.parameters(), *module.buffers()]
        return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel() > VOCAB}

    for options in ({}, {"enable_lora": True, "max_lora_rank": 8}):
        with engine(base, PAIR, **options) as llm:
            own, kernels = llm.apply_model(
                lambda model: (
                    storages(model.aux[0]) - storages(model.base),
                    {id(vars(m).get("cpu_linear")) for m in model.aux.modules() if "cpu_linear" in vars(m)}
                    - {id(vars(m).get("cpu_linear")) for m in model.base.modules() if "cpu_linear" in vars(m)},
                )
            )[0]
            assert not kernels, "a linear layer was packed twice"
            if not options:
                assert not own


def test_more_layers_than_the_base_has_is_refused(made):
    base, _, _ = made
    with (
        pytest.raises(ValueError, match="the base has 4"),
        engine(base, EngineConfig([Auxiliary("a", "layers", layers=5)])),
    ):
        pass


def test_a_shortened_model_takes_no_memory_for_its_weights():
    with _Weightless():
        weights, scale = torch.nn.Linear(8, 8), torch.ones(3)
        prepared = torch.empty(4, 4, device="cpu")
    assert prepared.is_meta
    assert weights.weight.is_meta
    assert not scale.is_meta
