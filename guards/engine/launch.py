"""What a vLLM process is started with so that it serves a base model and its auxiliaries as one.

Standard library only, as `contract`: the proxy's `lethe engine` imports it. The same `EngineConfig` is written into
vLLM's arguments here and read back inside vLLM by the composite model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from guards.engine.contract import MAX_AUXILIARIES, ContractError, auxiliary_name

Kind = Literal["checkpoint", "layers"]
Runner = Literal["v1", "v2"]

ARCHITECTURE = "LetheCompositeForCausalLM"
MODEL_CLASS = "guards.engine.composite:LetheComposite"
PROCESSORS: Mapping[Runner, str] = MappingProxyType(
    {"v1": "guards.engine.v1:OffsetLogitsProcessor", "v2": "guards.engine.v2:OffsetLogitsProcessor"}
)
CONFIG_KEY = "lethe"  # the key of ours inside vLLM's --additional-config


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """One auxiliary model of an engine.

    kind `checkpoint`: a model of its own (`model`: folder or hub name) that shares the base's tokenizer.
    kind `layers`: the first `layers` layers of the base with its embeddings, norm and head, weights shared; what makes
    it an assistant (ULD's) is the LoRA adapter of the request. Without one it predicts like a shortened base.
    """

    name: str
    kind: Kind
    model: str | None = None
    layers: int | None = None

    def __post_init__(self) -> None:
        auxiliary_name(self.name)
        if self.kind not in get_args(Kind):
            raise ContractError(f"auxiliary {self.name}: kind is one of {get_args(Kind)}, got {self.kind!r}")
        if (self.kind == "checkpoint") != bool(self.model):
            raise ContractError(f"auxiliary {self.name}: 'model' belongs to kind 'checkpoint', and must be there")
        if self.kind == "layers" and (type(self.layers) is not int or self.layers < 1):
            raise ContractError(f"auxiliary {self.name}: 'layers' must be a positive int")
        if self.kind == "checkpoint" and self.layers is not None:
            raise ContractError(f"auxiliary {self.name}: 'layers' belongs to kind 'layers'")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What vLLM is told under `additional_config["lethe"]`.

    skip_unarmed: leave the auxiliaries out of steps in which no request is armed. Needs rule 4 of `contract`.
    """

    auxiliaries: Sequence[Auxiliary]
    skip_unarmed: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "auxiliaries", tuple(self.auxiliaries))
        if not 1 <= len(self.auxiliaries) <= MAX_AUXILIARIES:
            raise ContractError(f"between 1 and {MAX_AUXILIARIES} auxiliaries, got {len(self.auxiliaries)}")
        if len(set(self.names)) != len(self.names):
            raise ContractError("two auxiliaries have one name")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(auxiliary.name for auxiliary in self.auxiliaries)

    @property
    def wears_adapters(self) -> bool:
        return any(auxiliary.kind == "layers" for auxiliary in self.auxiliaries)

    def to_additional_config(self) -> dict[str, Any]:
        entries = [asdict(auxiliary) for auxiliary in self.auxiliaries]
        listed = [{key: value for key, value in entry.items() if value is not None} for entry in entries]
        return {CONFIG_KEY: {"auxiliaries": listed, "skip_unarmed": self.skip_unarmed}}

    @classmethod
    def from_additional_config(cls, additional: Mapping[str, Any]) -> "EngineConfig":
        """Raises `ContractError` when the part of ours is absent, has unknown keys or bad values."""
        ours = additional.get(CONFIG_KEY)
        if not isinstance(ours, Mapping) or set(ours) - {"auxiliaries", "skip_unarmed"}:
            raise ContractError(f"additional_config[{CONFIG_KEY!r}]: needs 'auxiliaries', may have 'skip_unarmed'")
        try:
            auxiliaries = [Auxiliary(**entry) for entry in ours["auxiliaries"]]
        except (KeyError, TypeError) as error:
            raise ContractError(f"additional_config[{CONFIG_KEY!r}]['auxiliaries']: {error}") from error
        return cls(auxiliaries, bool(ours.get("skip_unarmed", True)))


def engine_arguments(
    config: EngineConfig,
    *,
    runner: Runner,
    hf_overrides: Mapping[str, Any] | None = None,
    max_lora_rank: int = 32,
    max_loras: int = 1,
) -> list[str]:
    """The arguments to add to `python -m vllm.entrypoints.openai.api_server --model …`.

    hf_overrides: overrides of the operator, kept; the architecture is ours. Set `engine_environment` beside it, so that
    vLLM runs the model runner whose logits-processor class is named here: it refuses a class of the other kind.
    """
    overrides = {**(hf_overrides or {}), "architectures": [ARCHITECTURE]}
    arguments = ["--hf-overrides", json.dumps(overrides)]
    arguments += ["--additional-config", json.dumps(config.to_additional_config())]
    # By default vLLM takes logprobs before logits processors: the base model's knowledge would leak through them.
    arguments += ["--logits-processors", PROCESSORS[runner], "--logprobs-mode", "processed_logprobs"]
    if config.wears_adapters:
        arguments += ["--enable-lora", "--max-lora-rank", str(max_lora_rank), "--max-loras", str(max_loras)]
    return arguments


def engine_environment(runner: Runner) -> dict[str, str]:
    """Environment variables of the vLLM process: the model runner that `engine_arguments` was asked for."""
    return {"VLLM_USE_V2_MODEL_RUNNER": "1" if runner == "v2" else "0"}


def adapter_tensor_name(peft_name: str, auxiliary: int) -> str:
    """The name inside the composite of a tensor of a PEFT adapter that was trained on the shortened base.

    auxiliary: position of the auxiliary in `EngineConfig.auxiliaries`. One file may hold tensors for several.
    """
    prefix = "base_model.model."
    if not peft_name.startswith(prefix):
        raise ContractError(f"not the name of a PEFT tensor: {peft_name}")
    return f"{prefix}aux.{auxiliary}.{peft_name.removeprefix(prefix)}"
