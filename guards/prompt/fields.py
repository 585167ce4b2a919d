"""The request fields of the OpenAI surface, and what is done with each. Data first; one function applies it.

A field is in this table or it is refused: vLLM accepts unknown fields silently and adds some with every release.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any


class Treatment(Enum):
    """What happens to a field. *Armed*: the request is near the forget set."""

    PASS = "passed on"  # noqa: S105 - not a password
    SCAN = "passed on; every text in it is scanned"
    REFUSE = "refused unless switched off"
    REFUSE_ARMED = "refused when armed"
    STRIP_ARMED = "removed when armed"
    DROP = "removed"
    OURS = "the client's value is removed, the proxy sets its own"


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table."""

    name: str
    treatment: Treatment
    reason: str
    off: tuple[Any, ...] = (None, False)
    """Values with which the field asks for nothing."""

    def asks(self, value: Any) -> bool:
        """True when the field asks for something. By identity: 0 equals False, but 0 logprobs are one per token."""
        return not any(value is off for off in self.off)


class FieldRefused(Exception):
    """A field that this request must not carry."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _rows(treatment: Treatment, reason: str, *names: str) -> Iterator[tuple[str, Field]]:
    return ((name, Field(name, treatment, reason)) for name in names)


_T = Treatment

_SHARED: dict[str, Field] = dict(
    [
        *_rows(_T.PASS, "routing, sampling and shape; carries no text", "model", "stream", "stream_options", "seed"),
        *_rows(_T.PASS, "sampling", "temperature", "top_p", "top_k", "min_p", "max_tokens", "length_penalty"),
        *_rows(_T.PASS, "sampling", "presence_penalty", "frequency_penalty", "repetition_penalty"),
        *_rows(_T.PASS, "each choice has its own filter", "n"),
        *_rows(_T.PASS, "names the client's end user; kept for its own logs", "user", "safety_identifier"),
        *_rows(_T.PASS, "shape of the answer's text", "spaces_between_special_tokens", "add_special_tokens"),
        *_rows(_T.SCAN, "a schema can enumerate or force the answer", "response_format"),
        *_rows(_T.SCAN, "choice, regex and grammar force the answer", "structured_outputs"),
        *_rows(_T.REFUSE_ARMED, "alternatives carry what the answer does not say", "logprobs", "top_logprobs"),
        *_rows(_T.REFUSE_ARMED, "alternatives carry what the answer does not say", "logprob_token_ids"),
        *_rows(_T.STRIP_ARMED, "can ban a refusal or respell around the filter", "logit_bias", "allowed_token_ids"),
        *_rows(_T.STRIP_ARMED, "can ban a refusal or respell around the filter", "bad_words"),
        *_rows(_T.STRIP_ARMED, "can force more text or cut it before the filter sees its end", "min_tokens", "stop"),
        *_rows(_T.STRIP_ARMED, "can force more text or cut it before the filter sees its end", "ignore_eos"),
        *_rows(_T.STRIP_ARMED, "can force more text or cut it before the filter sees its end", "stop_token_ids"),
        *_rows(_T.STRIP_ARMED, "changes how the text is spelled", "skip_special_tokens", "include_stop_str_in_output"),
        *_rows(_T.REFUSE, "a likelihood oracle, or returns the prompt with the proxy's own note", "prompt_logprobs"),
        *_rows(_T.REFUSE, "a likelihood oracle, or returns the prompt with the proxy's own note", "echo"),
        *_rows(_T.REFUSE, "returns text as token ids, past the filters", "return_token_ids", "return_token_offsets"),
        *_rows(_T.REFUSE, "returns text as token ids, past the filters", "return_tokens_as_token_ids"),
        *_rows(_T.REFUSE, "returns the prompt with the proxy's own note", "return_prompt_text"),
        *_rows(_T.REFUSE, "beam search loses per-request arguments", "use_beam_search", "best_of"),
        *_rows(_T.REFUSE, "cuts off what the proxy adds", "truncate_prompt_tokens", "truncation_side", "truncation"),
        *_rows(_T.REFUSE, "stored text is retrieved unscanned", "store"),
        *_rows(_T.REFUSE, "ends the answer where the client says, past the filter", "repetition_detection"),
        *_rows(_T.REFUSE, "not supported through this proxy", "watermarking", "routed_experts_prompt_start"),
        *_rows(_T.REFUSE, "not supported through this proxy", "mm_payload", "return_mm_kwargs", "stream_interval"),
        *_rows(_T.DROP, "switches inside the engine are not the client's", "vllm_xargs", "kv_transfer_params"),
        *_rows(_T.DROP, "switches inside the engine are not the client's", "ec_transfer_params", "priority"),
        *_rows(_T.DROP, "engine-side identity is not the client's", "request_id", "session_id"),
        *_rows(_T.DROP, "kept by OpenAI, unknown to vLLM", "metadata", "service_tier", "prompt_cache_key"),
        *_rows(_T.OURS, "a client could probe what others have asked", "cache_salt"),
    ]
)

CHAT: Mapping[str, Field] = {
    **_SHARED,
    **dict(
        [
            *_rows(_T.SCAN, "the question: every role, turn and part", "messages"),
            *_rows(_T.SCAN, "descriptions, enums and defaults can carry the answer", "tools"),
            *_rows(_T.PASS, "chooses among the scanned tools", "tool_choice", "parallel_tool_calls"),
            *_rows(_T.PASS, "sampling", "max_completion_tokens", "reasoning_effort", "include_reasoning", "verbosity"),
            *_rows(_T.PASS, "sampling", "thinking_token_budget"),
            *_rows(_T.REFUSE_ARMED, "a prefilled answer pulls the rest out", "continue_final_message"),
            *_rows(_T.REFUSE, "text outside the messages", "documents", "chat_template", "chat_template_kwargs"),
            *_rows(_T.REFUSE, "media cannot be scanned", "media_io_kwargs", "mm_processor_kwargs", "modalities"),
            *_rows(_T.REFUSE, "media cannot be scanned", "audio"),
            *_rows(_T.REFUSE, "not served by vLLM", "prediction", "web_search_options", "functions", "function_call"),
        ]
    ),
    "add_generation_prompt": Field(
        "add_generation_prompt", _T.REFUSE_ARMED, "without it the model continues the question", off=(None, True)
    ),
}

COMPLETIONS: Mapping[str, Field] = {
    **_SHARED,
    **dict(
        [
            *_rows(_T.SCAN, "the question", "prompt"),
            *_rows(_T.REFUSE, "not served by vLLM", "suffix"),
            *_rows(_T.REFUSE, "cannot be scanned", "prompt_embeds"),
        ]
    ),
}


def check_fields(body: Mapping[str, Any], table: Mapping[str, Field], *, strict: bool) -> None:
    """Raises FieldRefused for the first field that no request may carry, or that is unknown in strict mode."""
    for name, value in body.items():
        row = table.get(name)
        if row is None:
            if strict:
                near = get_close_matches(name, table, 1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise FieldRefused(name, f"'{name}' is not a field this server knows{hint}")
        elif row.treatment is Treatment.REFUSE and row.asks(value):
            raise FieldRefused(name, f"'{name}' is not available here: {row.reason}")


def forwarded(body: Mapping[str, Any], table: Mapping[str, Field], *, armed: bool, raw: bool = False) -> dict[str, Any]:
    """The fields that go to the engine. Raises FieldRefused for one that an armed request must not carry.

    The raw arm keeps what only suppressed requests must not have, but none of the switches inside the engine.
    """
    kept = {}
    for name, value in body.items():
        row = table.get(name)
        treatment = row.treatment if row else Treatment.PASS
        if row and treatment is Treatment.REFUSE_ARMED and armed and row.asks(value):
            raise FieldRefused(name, f"'{name}' is not available for this request: {row.reason}")
        dropped = treatment in (Treatment.DROP, Treatment.OURS) or (treatment is Treatment.REFUSE and not raw)
        if not dropped and not (armed and treatment is Treatment.STRIP_ARMED):
            kept[name] = value
    if armed:
        _refuse_forced_answers(kept)
    return kept


def _refuse_forced_answers(body: Mapping[str, Any]) -> None:
    if body.get("structured_outputs"):
        raise FieldRefused(
            "structured_outputs", "'structured_outputs' forces the answer: not available for this request"
        )
    shape = body.get("response_format")
    if isinstance(shape, Mapping) and shape.get("type") not in ("text", "json_object"):
        raise FieldRefused("response_format", "a schema is not available for this request: it forces the answer")


def texts_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every string inside a JSON value with its path, keys of objects included, in the order of the text."""
    waiting = [(path, value)]  # not recursive: the client says how deep its JSON is
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, Mapping):
            for key, item in reversed(list(value.items())):
                waiting += [(f"{path}.{key}", item), (f"{path}.{key}", str(key))]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", value[index]) for index in reversed(range(len(value)))]
