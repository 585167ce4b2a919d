"""The routes of vLLM, and what is done with each. What is in no row answers 404, like the closed ones.

`python -m evals.census` compares this table with the routes that the installed vLLM declares.
"""

from collections.abc import Mapping
from enum import Enum


class Way(Enum):
    """What happens to a route."""

    GUARDED = "guarded, streaming and not"
    CHECKED = "the input is checked, the answer passed on"
    ANSWERED = "answered by the proxy"
    CLOSED = "404"


_GENERATES = "generates, or returns text, past the filters"
_PROMPTS = "renders prompts: the proxy's note would show"
_SCORES = "a likelihood or similarity oracle"
_MEDIA = "media cannot be scanned"
_OPERATORS = "for the engine's operator, not for clients"
_TOKENS = "off by default; counts and spells what a tokenizer knows"
_STORED = "answers are not stored: there is nothing to fetch"

ROUTES: Mapping[str, tuple[Way, str]] = {
    "/v1/chat/completions": (Way.GUARDED, ""),
    "/v1/completions": (Way.GUARDED, ""),
    "/v1/responses": (Way.GUARDED, ""),
    "/v1/messages": (Way.GUARDED, ""),
    "/v1/embeddings": (Way.CHECKED, "a forgotten text has no business in an embedding log"),
    "/v1/models": (Way.ANSWERED, "the models that a key may use"),
    "/health": (Way.ANSWERED, "ready to answer"),
    "/readyz": (Way.ANSWERED, "ready to answer"),
    "/version": (Way.ANSWERED, "of the proxy, not of the engine"),
    "/metrics": (Way.ANSWERED, "of the proxy, not of the engine"),
    **dict.fromkeys(("/v1/responses/{response_id}", "/v1/responses/{response_id}/cancel"), (Way.CLOSED, _STORED)),
    **dict.fromkeys(
        ("/tokenize", "/detokenize", "/tokenizer_info", "/v1/messages/count_tokens"), (Way.CLOSED, _TOKENS)
    ),
    **dict.fromkeys(
        (
            "/v1/chat/completions/batch",
            "/cohere/v2/chat",
            "/generative_scoring",
            "/inference/v1/generate",
            "/invocations",
            "/v1/decisions",
            "/v1/systemone",
        ),
        (Way.CLOSED, _GENERATES),
    ),
    **dict.fromkeys(
        (
            "/v1/chat/completions/render",
            "/v1/chat/completions/derender",
            "/v1/completions/render",
            "/v1/completions/derender",
            "/v1/responses/render",
            "/v1/messages/render",
            "/cohere/v2/chat/render",
        ),
        (Way.CLOSED, _PROMPTS),
    ),
    **dict.fromkeys(
        (
            "/classify",
            "/pooling",
            "/rerank",
            "/v1/rerank",
            "/v2/rerank",
            "/score",
            "/v1/score",
            "/v2/embed",
        ),
        (Way.CLOSED, _SCORES),
    ),
    **dict.fromkeys(
        ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech", "/v1/realtime"),
        (Way.CLOSED, _MEDIA),
    ),
    **dict.fromkeys(
        (
            "/abort_requests",
            "/docs",
            "/ready",
            "/collective_rpc",
            "/fault_tolerance/apply",
            "/fault_tolerance/status",
            "/finish_weight_update",
            "/get_world_size",
            "/init_weight_transfer_engine",
            "/is_paused",
            "/is_scaling_elastic_ep",
            "/is_sleeping",
            "/kv_event_sources",
            "/load",
            "/pause",
            "/ping",
            "/release_kv_cache_memory",
            "/reset_encoder_cache",
            "/reset_mm_cache",
            "/reset_prefix_cache",
            "/resume",
            "/scale_elastic_ep",
            "/server_info",
            "/shutdown_weight_transfer_engine",
            "/sleep",
            "/start_draft_weight_update",
            "/start_profile",
            "/start_weight_update",
            "/stop_profile",
            "/update_weight_version",
            "/update_weights",
            "/v1/load_lora_adapter",
            "/v1/unload_lora_adapter",
            "/wake_up",
            "/weight_checker",
            "/weight_info",
        ),
        (Way.CLOSED, _OPERATORS),
    ),
}
