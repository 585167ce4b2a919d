"""What an operator may add to vLLM's command line, and how vLLM will read it.

vLLM's parser knows an option by more than its name: underscores stand for dashes, any unambiguous beginning will do,
and `--option.key` sets a key of one that takes JSON. So it is refused for what it becomes, not for its spelling.
"""

import json
from typing import Any

from proxy.engine.errors import BadEngineOption

HF_OVERRIDES = "--hf-overrides"
LOGPROBS_MODE = "--logprobs-mode"
PROCESSED = "processed_logprobs"

# Options that a caller may not pass, and why.
_OURS = "the proxy sets it"
_FORBIDDEN = {
    "--model": _OURS,
    "--served-model-name": _OURS,
    "--host": _OURS,
    "--port": _OURS,
    "--uds": _OURS,
    "--config": "a file of options is read past this check; write them in engine.args",
    "--api-key": "arguments are visible to every user of the machine; the proxy passes the key in the environment",
    "--grpc": "a door without guards",
    "--grpc-port": "a second door without guards",
    "--enable-scale-out": "opens routes without guards",
    "--enable-prompt-embeds": "embeddings cannot be scanned",
    "--trust-request-chat-template": "lets a client write the prompt around our notes",
    "--enable-log-requests": "would write prompts to the log",
    "--enable-log-outputs": "would write answers to the log",
    "--middleware": "would see and change guarded traffic",
}
# The same where the engine has auxiliaries.
_COMPOSITE = "the auxiliaries of engine.auxiliaries need their own"
_SPECULATIVE = "drafters do not know the auxiliaries: offsets and speculative decoding do not go together"
_PIPELINE = "the composite does not split over pipeline stages: use tensor parallelism"
_FORBIDDEN_BESIDE_AUXILIARIES = {
    "--additional-config": _COMPOSITE,
    "--logits-processors": _COMPOSITE,
    "--enable-lora": "engine.auxiliaries switches it on",
    "--max-lora-rank": "set engine.max_lora_rank",
    "--max-loras": "set engine.max_loras",
    "--speculative-config": _SPECULATIVE,
    "-sc": _SPECULATIVE,
    "--pipeline-parallel-size": _PIPELINE,
    "-pp": _PIPELINE,
}


def check(arguments: tuple[str, ...], *, beside_auxiliaries: bool) -> None:
    """Raises BadEngineOption, which names the argument as written, for one that opens a way around the guards."""
    forbidden = _FORBIDDEN | (_FORBIDDEN_BESIDE_AUXILIARIES if beside_auxiliaries else {})
    written_in_full = [LOGPROBS_MODE, *forbidden]
    if beside_auxiliaries:
        written_in_full.append(HF_OVERRIDES)
        hf_overrides(arguments)
    for position, argument in enumerate(arguments):
        written, _, value = argument.partition("=")
        name = option(argument)
        if name == LOGPROBS_MODE:
            value = value or next(iter(arguments[position + 1 :]), "")
            if value != PROCESSED:
                raise BadEngineOption(
                    f"engine.args may not set {written} to {value!r}: raw logprobs tell what was forgotten"
                )
        elif name in forbidden:
            raise BadEngineOption(f"engine.args may not hold {written}: {forbidden[name]}")
        elif name != HF_OVERRIDES and (whole := _begun(name, written_in_full)):
            raise BadEngineOption(
                f"engine.args may not hold {written}: vLLM reads it as {whole}; write options in full"
            )


def hf_overrides(arguments: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """The caller's overrides of the model's configuration, which ours are merged over, and the other arguments."""
    overrides: dict[str, Any] = {}
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if option(argument) != HF_OVERRIDES:
            rest.append(argument)
            continue
        _, equals, value = argument.partition("=")
        try:
            given = json.loads(value if equals else waiting.pop(0))
            overrides |= given
        except (ValueError, TypeError, IndexError):
            raise BadEngineOption(f"engine.args: {HF_OVERRIDES} must be followed by a JSON object") from None
    return overrides, rest


def option(argument: str) -> str:
    """The option that vLLM reads in an argument, if it was written in full; a value stays as it is."""
    if not argument.startswith("-"):
        return argument
    return argument.partition("=")[0].partition(".")[0].replace("_", "-")


def _begun(name: str, options: list[str]) -> str | None:
    """An option of which `name` is the beginning: argparse completes it."""
    if not name.startswith("-") or name in {"-", "--"}:
        return None
    return next((whole for whole in options if whole.startswith(name)), None)
