"""A census of the engine's surface: every route and request field of the installed vLLM, and which are decided."""
