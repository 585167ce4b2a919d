"""Variants inside the scanned fields, named by their `type`: which are accepted, and why the others are not.

Only text can be checked, and only what the client itself sends: a kind that is in no row is refused like a refused one.
"""

from collections.abc import Mapping

_MEDIA = "media cannot be scanned"
_HOSTED = "runs beside the engine, and what it brings in is not scanned"
_OPAQUE = "cannot be read here"
_UNSERVED = "not served by vLLM"

ACCEPTED = ""

Kinds = Mapping[str, str]
"""Kind to the reason why it is refused; ACCEPTED for one that is not."""

CHAT_PARTS: Kinds = {
    **dict.fromkeys(("text", "refusal"), ACCEPTED),
    **dict.fromkeys(("image_url", "image_pil", "image_embeds", "input_image", "image"), _MEDIA),
    **dict.fromkeys(
        ("audio_url", "input_audio", "audio_embeds", "audio", "file", "video_url", "video", "video_embeds"), _MEDIA
    ),
    **dict.fromkeys(("prompt_embeds", "vision_chunk"), _OPAQUE),
    **dict.fromkeys(("thinking", "input_text", "output_text", "tool_reference"), "send it as 'text'"),
}

RESPONSES_ITEMS: Kinds = {
    **dict.fromkeys(("message", "reasoning", "function_call", "function_call_output"), ACCEPTED),
    **dict.fromkeys(("custom_tool_call", "custom_tool_call_output"), ACCEPTED),
    **dict.fromkeys(("code_interpreter_call", "web_search_call", "file_search_call", "image_generation_call"), _HOSTED),
    **dict.fromkeys(("mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"), _HOSTED),
    **dict.fromkeys(("computer_call", "computer_call_output", "local_shell_call", "local_shell_call_output"), _HOSTED),
    **dict.fromkeys(("shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output"), _HOSTED),
    **dict.fromkeys(("tool_search_call", "tool_search_output", "additional_tools"), _HOSTED),
    **dict.fromkeys(("program", "program_output"), _HOSTED),
    **dict.fromkeys(("item_reference", "compaction", "compaction_trigger", "configuration_update"), _OPAQUE),
}

RESPONSES_PARTS: Kinds = {
    **dict.fromkeys(("input_text", "output_text", "refusal", "text"), ACCEPTED),
    **dict.fromkeys(("reasoning_text", "summary_text"), ACCEPTED),
    **dict.fromkeys(("input_image", "input_file", "input_audio", "input_video", "computer_screenshot"), _MEDIA),
    **dict.fromkeys(("encrypted_content",), _OPAQUE),
}

RESPONSES_TOOLS: Kinds = {
    **dict.fromkeys(("function", "custom", "namespace"), ACCEPTED),
    **dict.fromkeys(("file_search", "web_search", "web_search_2025_08_26", "image_generation"), _HOSTED),
    **dict.fromkeys(("web_search_preview", "web_search_preview_2025_03_11"), _HOSTED),
    **dict.fromkeys(("computer", "computer_use", "computer_use_preview", "code_interpreter"), _HOSTED),
    **dict.fromkeys(
        ("mcp", "local_shell", "shell", "apply_patch", "tool_search", "programmatic_tool_calling"), _HOSTED
    ),
}

MESSAGES_BLOCKS: Kinds = {
    **dict.fromkeys(("text", "thinking", "tool_use", "tool_result"), ACCEPTED),
    **dict.fromkeys(("image", "document"), _MEDIA),
    **dict.fromkeys(("redacted_thinking",), _OPAQUE),
    **dict.fromkeys(("tool_reference", "tool_addition", "tool_removal"), "name tools in 'tools'"),
    **dict.fromkeys(("search_result", "server_tool_use", "web_search_tool_result"), _UNSERVED),
}

KINDS: Mapping[tuple[str, str], Kinds] = {
    ("/v1/chat/completions", "messages[].content[]"): CHAT_PARTS,
    ("/v1/responses", "input[]"): RESPONSES_ITEMS,
    ("/v1/responses", "input[].content[]"): RESPONSES_PARTS,
    ("/v1/responses", "input[].summary[]"): RESPONSES_PARTS,
    ("/v1/responses", "input[].output[]"): RESPONSES_PARTS,
    ("/v1/responses", "tools[]"): RESPONSES_TOOLS,
    ("/v1/messages", "messages[].content[]"): MESSAGES_BLOCKS,
    ("/v1/messages", "system[]"): MESSAGES_BLOCKS,
}
"""Where in the requests of which route the kinds stand."""


def refusal_of(kind: object, kinds: Kinds) -> str | None:
    """Why a kind is refused; None when it is accepted."""
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind] or None
    return "only text can be checked, so only text is accepted"
