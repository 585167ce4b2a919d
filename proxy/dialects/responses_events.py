"""The events of `/v1/responses` by kind, and the fields that a client may have of them."""

from proxy.dialects.base import Json, Usage

TERMINAL = frozenset((b"response.completed", b"response.incomplete", b"response.failed"))

RESPONSE_FIELDS = frozenset(
    (
        *("id", "created_at", "completed_at", "error", "incomplete_details", "instructions", "metadata", "model"),
        *("object", "output", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "background"),
        *("max_output_tokens", "max_tool_calls", "previous_response_id", "prompt", "reasoning", "service_tier"),
        *("status", "text", "top_logprobs", "truncation", "usage", "user", "presence_penalty", "frequency_penalty"),
    )
)
"""Fields of a response that a client may have of a checked answer."""

DELTAS = {
    "response.output_text": "text",
    "response.reasoning_text": "text",
    "response.reasoning_summary_text": "text",
    "response.refusal": "refusal",
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.mcp_call_arguments": "arguments",
    "response.code_interpreter_call_code": "code",
}
"""Start of the names of events that carry pieces (`.delta`) and then all (`.done`) of a text, and the field of all."""

STEMS = {"output_text": "response.output_text", "reasoning_text": "response.reasoning_text"}
"""Kinds of parts, and the start of the names of the events that carry their text."""

PROGRESS = frozenset(
    (
        *("response.mcp_call.in_progress", "response.mcp_call.completed", "response.mcp_call.failed"),
        *("response.web_search_call.in_progress", "response.web_search_call.searching"),
        *("response.web_search_call.completed", "response.code_interpreter_call.in_progress"),
        *("response.code_interpreter_call.interpreting", "response.code_interpreter_call.completed"),
    )
)
"""Events that say how far a call is, and carry no text."""

ITEMS = frozenset(("response.output_item.added", "response.output_item.done"))
PARTS = frozenset(
    (
        *("response.content_part.added", "response.content_part.done"),
        *("response.reasoning_part.added", "response.reasoning_part.done"),
        *("response.reasoning_summary_part.added", "response.reasoning_summary_part.done"),
    )
)
WHOLE = frozenset(name.decode() for name in TERMINAL) | {"response.created", "response.in_progress", "response.queued"}
"""Events that carry the response as it then is."""

PLACE = ("type", "sequence_number", "item_id", "output_index", "content_index", "summary_index")
"""Fields that say where in the answer an event belongs."""

STRUCTURAL = frozenset({"id", "type", "role", "status", "call_id", "object", "phase"})
"""Names whose strings are no text."""

SPELLED = frozenset({"logprobs", "encrypted_content"})  # spell the text past the filters
ITEM_FIELDS = frozenset(
    (
        *("id", "type", "role", "status", "content", "summary", "phase", "name", "namespace", "arguments", "input"),
        *("call_id", "code", "container_id", "outputs", "action", "server_label", "output", "error", "queries"),
        *("async", "caller"),
        "encrypted_content",  # emptied
    )
)


def usage_json(usage: Usage) -> Json:
    """Usage as a response reports it."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }
