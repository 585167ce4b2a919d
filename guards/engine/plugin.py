"""The entry point that vLLM loads in each of its processes (group `vllm.general_plugins`)."""

from guards.engine import seeds
from guards.engine.launch import ARCHITECTURE, MODEL_CLASS


def register() -> None:
    """Tell vLLM the composite's name; it imports the class where it needs it. Safe to call more than once."""
    from vllm import ModelRegistry  # noqa: PLC0415 - importing the plugin must not import vLLM

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, MODEL_CLASS)
    seeds.mend()
