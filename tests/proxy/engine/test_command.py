"""The command line of vLLM, word by word where it closes a way around the guards."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from guards.engine.launch import ARCHITECTURE, PROCESSORS, Auxiliary, EngineConfig
from proxy.engine.command import Device, EngineOptions, build_command
from proxy.engine.errors import BadEngineOption

PLAIN = EngineOptions(python=Path("/env/bin/python"), model=Path("/models/small"), served_model_name="small", cpus=2)


def arguments(options: EngineOptions) -> list[str]:
    return list(build_command(options, {}).argv)


def value(options: EngineOptions, name: str) -> str:
    found = arguments(options)
    return found[found.index(name) + 1]


def environment(options: EngineOptions, **inherited: str) -> dict[str, str]:
    return dict(build_command(options, inherited).environ)


def test_the_module_is_run_because_the_command_does_not_start_from_the_cpu_distribution():
    assert arguments(PLAIN)[:3] == ["/env/bin/python", "-m", "vllm.entrypoints.openai.api_server"]


@pytest.mark.parametrize("device", Device)
def test_the_ways_around_the_guards_are_closed_on_every_device(device: Device):
    options = replace(PLAIN, device=device)
    assert value(options, "--host") == "127.0.0.1"
    assert value(options, "--logprobs-mode") == "processed_logprobs"
    assert environment(options, VLLM_SERVER_DEV_MODE="1")["VLLM_SERVER_DEV_MODE"] == "0"
    assert environment(options, VLLM_ALLOW_RUNTIME_LORA_UPDATING="1")["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"


def test_a_cpu_computes_in_float32_without_compiling():
    assert value(PLAIN, "--dtype") == "float32"
    assert "--enforce-eager" in arguments(PLAIN)
    assert environment(replace(PLAIN, kv_cache_gib=3))["VLLM_CPU_KVCACHE_SPACE"] == "3"


def test_a_gpu_keeps_what_vllm_thinks_best():
    gpu = replace(PLAIN, device=Device.GPU)
    assert not {"--dtype", "--enforce-eager", "--distributed-executor-backend"} & set(arguments(gpu))
    assert not {"VLLM_CPU_KVCACHE_SPACE", "OMP_NUM_THREADS"} & set(environment(gpu))
    assert value(replace(gpu, dtype="float16"), "--dtype") == "float16"


def test_a_small_machine_runs_the_worker_inside_the_core_with_all_cores():
    assert value(PLAIN, "--distributed-executor-backend") == "uni"
    assert environment(PLAIN)["OMP_NUM_THREADS"] == "2"
    assert environment(replace(PLAIN, cpus=8))["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    "options",
    [
        replace(PLAIN, cpus=16),
        replace(PLAIN, extra_args=("--tensor-parallel-size", "2")),
        replace(PLAIN, extra_args=("-tp=2",)),
        replace(PLAIN, extra_args=("--distributed-executor-backend", "mp")),
    ],
)
def test_a_large_machine_or_a_placement_of_the_caller_is_left_to_vllm(options: EngineOptions):
    assert "uni" not in arguments(options)
    assert "OMP_NUM_THREADS" not in environment(options)


def test_a_local_model_needs_no_network_and_a_hub_name_does():
    assert environment(PLAIN)["HF_HUB_OFFLINE"] == "1"
    hub = replace(PLAIN, model="org/model")
    assert hub.model_folder is None
    assert value(hub, "--model") == "org/model"
    assert "HF_HUB_OFFLINE" not in environment(hub)


def test_nothing_is_reported_home():
    assert environment(PLAIN)["VLLM_NO_USAGE_STATS"] == environment(PLAIN)["DO_NOT_TRACK"] == "1"


def test_the_proxys_secrets_stay_in_the_proxy():
    inherited = {"LETHE_ADMIN_KEY": "k", "VLLM_API_KEY": "old", "PYTHONHOME": "/p", "PATH": "/bin", "HF_TOKEN": "t"}
    seen = environment(PLAIN, **inherited)
    assert not {"LETHE_ADMIN_KEY", "VLLM_API_KEY", "PYTHONHOME"} & set(seen)
    assert seen["PATH"] == "/bin"
    assert seen["HF_TOKEN"] == "t"


def test_the_key_goes_through_the_environment_and_into_no_repr():
    keyed = replace(PLAIN, api_key="secret")
    command = build_command(keyed, {})
    assert command.environ["VLLM_API_KEY"] == "secret"
    assert "secret" not in " ".join(command.argv)
    assert "secret" not in repr(command) + repr(keyed)


def test_extra_arguments_and_variables_come_last():
    options = replace(PLAIN, extra_args=("--enable-lora",), extra_env={"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"})
    assert arguments(options)[-1] == "--enable-lora"
    assert environment(options)["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"


@pytest.mark.parametrize(
    "bad",
    [
        ("--host", "10.0.0.1"),
        ("--port=1",),
        ("--model", "m"),
        ("--logprobs-mode", "raw_logprobs"),
        ("--logprobs-mode=raw_logits",),
        ("--logprobs-mode",),
        ("--api-key", "k"),
        ("--enable-log-requests",),
        ("--enable-prompt-embeds",),
        ("--config", "options.yaml"),
        # As vLLM's parser reads them too: with underscores, cut short, with a key.
        ("--logprobs_mode", "raw_logprobs"),
        ("--logprobs_mode=raw_logprobs",),
        ("--logprobs-mod", "raw_logprobs"),
        ("--logprobs-mod", "processed_logprobs"),
        ("--hos=0.0.0.0",),
        ("--enable_log_req",),
        ("--served_model_name", "m"),
    ],
)
def test_arguments_that_open_a_way_around_are_refused(bad: tuple[str, ...]):
    with pytest.raises(BadEngineOption, match=bad[0].partition("=")[0]):
        replace(PLAIN, extra_args=bad)


def test_the_same_logprobs_mode_may_be_said_twice():
    assert replace(PLAIN, extra_args=("--logprobs-mode", "processed_logprobs"))
    assert replace(PLAIN, extra_args=("--logprobs_mode=processed_logprobs",))


def test_values_and_options_of_vllms_own_pass():
    more = ("--max-num-seqs", "4", "--seed=1", "--chat-template", "./model", "--kv-cache-dtype=--", "-O.level", "0")
    for options in (PLAIN, COMPOSITE):
        assert replace(options, extra_args=more).extra_args == more


@pytest.mark.parametrize("host", ["10.0.0.1", "::", "192.168.0.1", "example.org", ""])
def test_the_engine_listens_on_loopback_only(host: str):
    with pytest.raises(BadEngineOption, match="loopback"):
        replace(PLAIN, host=host)


def test_the_url_of_an_ipv6_address_has_brackets():
    assert replace(PLAIN, host="::1", port=5).base_url == "http://[::1]:5"


def test_vllm_keeps_its_notes_under_our_cache():
    assert environment(replace(PLAIN, cache=Path("/cache")))["VLLM_CACHE_ROOT"] == "/cache/vllm"


# -- auxiliaries

SLOT = Auxiliary("a0", "layers", layers=8)
COMPOSITE = replace(PLAIN, auxiliaries=(SLOT,), max_lora_rank=16, max_loras=3)


def test_an_engine_with_slots_serves_the_composite():
    additional = json.loads(value(COMPOSITE, "--additional-config"))
    assert EngineConfig.from_additional_config(additional).auxiliaries == (SLOT,)
    assert json.loads(value(COMPOSITE, "--hf-overrides")) == {"architectures": [ARCHITECTURE]}
    assert value(COMPOSITE, "--logprobs-mode") == "processed_logprobs"
    assert (value(COMPOSITE, "--max-lora-rank"), value(COMPOSITE, "--max-loras")) == ("16", "3")
    assert not {"--additional-config", "--enable-lora", "--logits-processors"} & set(arguments(PLAIN))


@pytest.mark.parametrize(("device", "runner"), [(Device.CPU, "v1"), (Device.GPU, "v2")])
def test_processor_and_model_runner_are_of_one_kind(device: Device, runner: str):
    options = replace(COMPOSITE, device=device)
    assert value(options, "--logits-processors") == PROCESSORS[runner]
    assert environment(options)["VLLM_USE_V2_MODEL_RUNNER"] == ("1" if runner == "v2" else "0")


def test_adapters_are_loaded_at_run_time_only_where_a_slot_wears_them():
    checkpoint = replace(PLAIN, auxiliaries=(Auxiliary("a0", "checkpoint", model="/m"),))
    assert environment(COMPOSITE)["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert environment(checkpoint)["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"
    assert "--enable-lora" not in arguments(checkpoint)


def test_where_adapters_can_be_loaded_every_route_asks_for_the_key():
    assert value(replace(COMPOSITE, api_key="secret"), "--middleware") == "guards.engine.doors.Keyed"
    assert "--middleware" not in arguments(COMPOSITE)
    assert "--middleware" not in arguments(replace(PLAIN, api_key="secret"))


@pytest.mark.parametrize("given", [("--hf-overrides", '{"rope_theta": 1}'), ('--hf_overrides={"rope_theta": 1}',)])
def test_the_callers_overrides_are_kept_beside_ours(given: tuple[str, ...]):
    options = replace(COMPOSITE, extra_args=("--seed", "1", *given, "--max-num-seqs=4"))
    assert json.loads(value(options, "--hf-overrides")) == {"rope_theta": 1, "architectures": [ARCHITECTURE]}
    assert arguments(options)[-3:] == ["--seed", "1", "--max-num-seqs=4"]
    assert arguments(replace(PLAIN, extra_args=given))[-len(given) :] == list(given)


@pytest.mark.parametrize(
    "bad",
    [
        ("--additional-config", "{}"),
        ("--logits-processors=m:C",),
        ("--speculative-config", "{}"),
        ("-pp", "2"),
        ("--max-loras", "9"),
        ("--hf-overrides", "[1"),
        ("--hf-overrides", "[1]"),
        ("--hf-overrides",),
        ("--hf-over", "{}"),
        ("--additional_config", "{}"),
        ("--additional-config.lethe", "1"),
        ("--spec", "{}"),
        ("-sc", "{}"),
        ("-s", "{}"),
    ],
)
def test_what_would_break_the_composite_is_refused(bad: tuple[str, ...]):
    with pytest.raises(BadEngineOption, match=bad[0].partition("=")[0]):
        replace(COMPOSITE, extra_args=bad)
    assert replace(PLAIN, extra_args=bad).extra_args == bad  # without auxiliaries it is vLLM's to judge
