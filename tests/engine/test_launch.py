"""What an engine is started with: written here, read back inside vLLM."""

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from guards.engine.contract import ContractError
from guards.engine.launch import (
    PROCESSORS,
    Auxiliary,
    EngineConfig,
    adapter_tensor_name,
    engine_arguments,
    engine_environment,
)

pair = EngineConfig([Auxiliary("retain", "checkpoint", model="r"), Auxiliary("ulda", "layers", layers=8)])


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_the_configuration_survives_the_command_line():
    arguments = engine_arguments(pair, runner="v1", hf_overrides={"rope_theta": 1e4})
    assert EngineConfig.from_additional_config(json.loads(option(arguments, "--additional-config"))) == pair
    overrides = json.loads(option(arguments, "--hf-overrides"))
    assert overrides == {"rope_theta": 1e4, "architectures": ["LetheCompositeForCausalLM"]}


def test_the_probability_oracle_is_closed():
    arguments = engine_arguments(pair, runner="v1")
    assert option(arguments, "--logprobs-mode") == "processed_logprobs"


@pytest.mark.parametrize("runner", ["v1", "v2"])
def test_class_and_runner_agree(runner: str):
    assert option(engine_arguments(pair, runner=runner), "--logits-processors") == PROCESSORS[runner]
    assert engine_environment(runner)["VLLM_USE_V2_MODEL_RUNNER"] == ("1" if runner == "v2" else "0")


def test_lora_only_where_an_auxiliary_wears_adapters():
    alone = EngineConfig([Auxiliary("retain", "checkpoint", model="r")])
    assert "--enable-lora" in engine_arguments(pair, runner="v1")
    assert "--enable-lora" not in engine_arguments(alone, runner="v1")


@pytest.mark.parametrize(
    "additional",
    [
        {},
        {"lethe": []},
        {"lethe": {}},
        {"lethe": {"auxiliaries": []}},
        {"lethe": {"auxiliaries": [{"name": "a"}]}},
        {"lethe": {"auxiliaries": [{"name": "a", "kind": "checkpoint"}]}},
        {"lethe": {"auxiliaries": [{"name": "a", "kind": "layers", "layers": 0}]}},
        {"lethe": {"auxiliaries": [{"name": "a", "kind": "layers", "layers": 2, "model": "m"}]}},
        {"lethe": {"auxiliaries": [{"name": "a", "kind": "checkpoint", "model": "m", "layers": 2}]}},
        {"lethe": {"auxiliaries": [{"name": "a", "kind": "checkpoint", "model": "m", "alpha": 2}]}},
        {"lethe": {"auxiliaries": [{"name": "a", "kind": "checkpoint", "model": "m"}] * 2}},
        {"lethe": {"auxiliaries": [{"name": "a", "kind": "checkpoint", "model": "m"}], "skip": True}},
    ],
)
def test_a_configuration_that_says_half_is_refused(additional: dict):
    with pytest.raises(ContractError):
        EngineConfig.from_additional_config(additional)


def test_adapter_tensors_are_named_by_auxiliary():
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    assert adapter_tensor_name(name, 1) == "base_model.model.aux.1.model.layers.0.self_attn.q_proj.lora_A.weight"
    with pytest.raises(ContractError):
        adapter_tensor_name("model.layers.0", 0)


def test_the_installed_project_makes_itself_known_to_vllm():
    found = {entry.value for entry in entry_points(group="vllm.general_plugins") if entry.name == "lethe"}
    assert found == {"guards.engine.plugin:register"}


def test_the_proxy_can_import_the_contract_without_torch():
    code = "import sys, guards.engine.contract, guards.engine.launch; print({'torch', 'vllm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
