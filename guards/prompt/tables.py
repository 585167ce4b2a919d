"""The request fields of every guarded route, and what is done with each. Data; `fields.py` applies it.

A field is in its route's table or it is refused: vLLM accepts unknown fields silently and adds some with every release.
`python -m evals.census` compares these tables with the request models of the installed vLLM.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from guards.prompt.fields import Field, Treatment

_T = Treatment


def _rows(treatment: Treatment, reason: str, *names: str) -> Iterator[tuple[str, Field]]:
    return ((name, Field(name, treatment, reason)) for name in names)


def _row(name: str, treatment: Treatment, reason: str, **more: Any) -> tuple[str, Field]:
    return name, Field(name, treatment, reason, **more)


_ALTERNATIVES = "alternatives carry what the answer does not say"
_ORACLE = "a likelihood oracle, or returns the prompt with the proxy's own note"
_RESPELLS = "can ban a refusal or respell around the filter"
_ENDS = "can force more text or cut it before the filter sees its end"
_CUTS_OFF = "cuts off what the proxy adds"
_ENGINE = "switches inside the engine are not the client's"
_MEDIA = "media cannot be scanned"
_HIDDEN = "brings in text that this request does not show"
_OUTSIDE = "text outside the messages"
_UNSERVED = "not served by vLLM"
_UNSUPPORTED = "not supported through this proxy"
_CALLS = "names one of the tools; a call that must be made, and so its schema, forces the answer"
_UNKNOWN = "kept by its vendor, unknown to vLLM"

_EVERYWHERE: dict[str, Field] = dict(
    [
        *_rows(_T.PASS, "routing; carries no text", "model"),
        *_rows(_T.DROP, _ENGINE, "kv_transfer_params", "ec_transfer_params", "priority"),
        *_rows(_T.DROP, "engine-side identity is not the client's", "request_id", "session_id"),
        *_rows(_T.DROP, _UNKNOWN, "metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention"),
        *_rows(_T.OURS, "a client could probe what others have asked", "cache_salt"),
        *_rows(_T.REFUSE, _MEDIA, "mm_payload", "return_mm_kwargs", "media_io_kwargs", "mm_processor_kwargs"),
        *_rows(_T.REFUSE, _OUTSIDE, "chat_template_kwargs"),
    ]
)
"""Fields of all routes."""

_GENERATING: dict[str, Field] = dict(
    [
        *_rows(_T.PASS, "shape of the reply", "stream"),
        *_rows(_T.PASS, "sampling", "temperature", "top_p", "top_k"),
        *_rows(_T.DROP, _ENGINE, "vllm_xargs"),
        *_rows(_T.REFUSE, _UNSUPPORTED, "watermarking"),
    ]
)
"""Fields of all routes that generate."""

_OPENAI: dict[str, Field] = dict(
    [
        *_rows(_T.PASS, "sampling", "seed", "min_p", "length_penalty"),
        *_rows(_T.PASS, "sampling", "presence_penalty", "frequency_penalty", "repetition_penalty"),
        *_rows(_T.PASS, "names the client's end user; kept for its own logs", "user", "safety_identifier"),
        *_rows(_T.SCAN, "choice, regex and grammar force the answer", "structured_outputs"),
        *_rows(_T.REFUSE_ARMED, _ALTERNATIVES, "top_logprobs"),
        *_rows(_T.STRIP_ARMED, _RESPELLS, "logit_bias"),
        *_rows(_T.STRIP_ARMED, _ENDS, "stop", "ignore_eos", "stop_token_ids"),
        *_rows(_T.STRIP_ARMED, "changes how the text is spelled", "skip_special_tokens", "include_stop_str_in_output"),
    ]
)
"""Fields of OpenAI's routes that generate, `/v1/responses` included."""

_SHARED: dict[str, Field] = {
    **_EVERYWHERE,
    **_GENERATING,
    **_OPENAI,
    **dict(
        [
            _row(
                "stream_options",
                _T.PASS,
                "whether usage is reported",
                nested=frozenset({"include_usage", "continuous_usage_stats", "include_obfuscation"}),
            ),
            *_rows(_T.PASS, "sampling", "max_tokens", "thinking_token_budget"),
            *_rows(_T.PASS, "each choice has its own filter", "n"),
            *_rows(_T.PASS, "shape of the answer's text", "spaces_between_special_tokens", "add_special_tokens"),
            *_rows(_T.SCAN, "a schema can enumerate or force the answer", "response_format"),
            *_rows(_T.REFUSE_ARMED, _ALTERNATIVES, "logprobs", "logprob_token_ids"),
            *_rows(_T.STRIP_ARMED, _RESPELLS, "allowed_token_ids", "bad_words"),
            *_rows(_T.STRIP_ARMED, _ENDS, "min_tokens"),
            *_rows(_T.REFUSE, _ORACLE, "prompt_logprobs", "echo"),
            *_rows(_T.REFUSE, "returns text as token ids, past the filters", "return_token_ids"),
            *_rows(_T.REFUSE, "returns text as token ids, past the filters", "return_token_offsets"),
            *_rows(_T.REFUSE, "returns text as token ids, past the filters", "return_tokens_as_token_ids"),
            *_rows(_T.REFUSE, "returns the prompt with the proxy's own note", "return_prompt_text"),
            *_rows(_T.REFUSE, "beam search loses per-request arguments", "use_beam_search", "best_of"),
            *_rows(_T.REFUSE, _CUTS_OFF, "truncate_prompt_tokens", "truncation_side", "truncation"),
            *_rows(_T.REFUSE, "stored text is retrieved unscanned", "store"),
            *_rows(_T.REFUSE, "ends the answer where the client says, past the filter", "repetition_detection"),
            *_rows(_T.REFUSE, _UNSUPPORTED, "routed_experts_prompt_start", "stream_interval"),
        ]
    ),
}
"""Fields of chat and completions."""

CHAT: Mapping[str, Field] = {
    **_SHARED,
    **dict(
        [
            *_rows(_T.SCAN, "the question: every role, turn and part", "messages"),
            *_rows(_T.SCAN, "descriptions, enums and defaults can carry the answer", "tools"),
            *_rows(_T.SCAN, _CALLS, "tool_choice"),
            *_rows(_T.PASS, "chooses among the scanned tools", "parallel_tool_calls"),
            *_rows(_T.PASS, "sampling", "max_completion_tokens", "reasoning_effort", "include_reasoning", "verbosity"),
            *_rows(_T.REFUSE_ARMED, "a prefilled answer pulls the rest out", "continue_final_message"),
            *_rows(_T.REFUSE, _OUTSIDE, "documents", "chat_template"),
            *_rows(_T.REFUSE, _MEDIA, "modalities", "audio"),
            *_rows(_T.REFUSE, _UNSERVED, "prediction", "web_search_options", "functions", "function_call"),
            _row(
                "add_generation_prompt",
                _T.REFUSE_ARMED,
                "without it the model continues the question",
                off=(None, True),
            ),
        ]
    ),
}

COMPLETIONS: Mapping[str, Field] = {
    **_SHARED,
    **dict(
        [
            *_rows(_T.SCAN, "the question; token ids are read as text", "prompt"),
            *_rows(_T.REFUSE, _UNSERVED, "suffix"),
            *_rows(_T.REFUSE, "cannot be scanned", "prompt_embeds"),
        ]
    ),
}

RESPONSES: Mapping[str, Field] = {
    **_EVERYWHERE,
    **_GENERATING,
    **_OPENAI,
    **dict(
        [
            *_rows(_T.SCAN, "the question: every item, role and part", "input"),
            *_rows(_T.SCAN, "the system prompt", "instructions"),
            *_rows(_T.SCAN, "descriptions, enums and defaults can carry the answer", "tools"),
            *_rows(_T.SCAN, _CALLS, "tool_choice"),
            *_rows(_T.SCAN, "a schema can enumerate or force the answer", "text"),
            *_rows(_T.PASS, "sampling", "max_output_tokens", "max_tool_calls", "include_reasoning"),
            *_rows(_T.PASS, "chooses among the scanned tools", "parallel_tool_calls"),
            _row(
                "reasoning",
                _T.PASS,
                "how much the model reasons; its reasoning is filtered like its answer",
                nested=frozenset({"effort", "summary", "generate_summary", "context", "mode"}),
            ),
            *_rows(_T.DROP, _UNKNOWN, "stream_options"),
            *_rows(_T.OURS, "stored answers are retrieved unscanned: the proxy always sends false", "store"),
            *_rows(_T.REFUSE, "answers that run in the background are retrieved unscanned", "background"),
            *_rows(_T.REFUSE, _HIDDEN, "previous_response_id", "conversation", "previous_input_messages", "prompt"),
            *_rows(_T.REFUSE, "returns what the filters do not see", "include"),
            *_rows(_T.REFUSE, _ORACLE, "enable_response_messages"),
            *_rows(_T.REFUSE, "rewrites the conversation where the proxy does not see it", "context_management"),
            _row("truncation", _T.REFUSE, _CUTS_OFF, off=(None, "disabled")),
            _row("top_logprobs", _T.REFUSE_ARMED, _ALTERNATIVES, off=(None, 0)),
        ]
    ),
}

MESSAGES: Mapping[str, Field] = {
    **_EVERYWHERE,
    **_GENERATING,
    **dict(
        [
            *_rows(_T.SCAN, "the question: every role, turn and block", "messages"),
            *_rows(_T.SCAN, "the system prompt", "system"),
            *_rows(_T.SCAN, "descriptions, enums and defaults can carry the answer", "tools"),
            *_rows(_T.SCAN, _CALLS, "tool_choice"),
            *_rows(_T.SCAN, "a schema can enumerate or force the answer", "output_config"),
            *_rows(_T.PASS, "sampling", "max_tokens"),
            _row(
                "thinking",
                _T.PASS,
                "how much the model reasons; its reasoning is filtered like its answer",
                nested=frozenset({"type", "budget_tokens", "display"}),
            ),
            *_rows(_T.STRIP_ARMED, _ENDS, "stop_sequences"),
            *_rows(_T.DROP, _UNKNOWN, "cache_control", "inference_geo", "speed"),
            *_rows(_T.REFUSE, _HIDDEN, "container", "mcp_servers"),
            *_rows(_T.REFUSE, "rewrites the conversation where the proxy does not see it", "context_management"),
        ]
    ),
}

EMBEDDINGS: Mapping[str, Field] = {
    **_EVERYWHERE,
    **dict(
        [
            *_rows(_T.SCAN, "a forgotten text has no business in an embedding log", "input"),
            *_rows(_T.PASS, "shape of the vectors", "encoding_format", "dimensions", "embed_dtype", "endianness"),
            *_rows(_T.PASS, "shape of the vectors", "use_activation", "normalize", "padding"),
            *_rows(_T.PASS, "how the text is read", "add_special_tokens"),
            *_rows(_T.PASS, "names the client's end user; kept for its own logs", "user"),
            *_rows(_T.REFUSE, "cuts the text elsewhere than where it was checked", "truncate_prompt_tokens"),
            *_rows(_T.REFUSE, "cuts the text elsewhere than where it was checked", "truncation_side"),
            *_rows(_T.REFUSE, "embeddings of chats are not served: send 'input'", "messages", "chat_template"),
            *_rows(_T.REFUSE, "embeddings of chats are not served: send 'input'", "add_generation_prompt"),
            *_rows(_T.REFUSE, "embeddings of chats are not served: send 'input'", "continue_final_message"),
        ]
    ),
}

TABLES: Mapping[str, Mapping[str, Field]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETIONS,
    "/v1/responses": RESPONSES,
    "/v1/messages": MESSAGES,
    "/v1/embeddings": EMBEDDINGS,
}
"""The table of each route that is passed on."""
