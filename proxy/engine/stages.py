"""What a starting vLLM is doing, read from its log. Only for people: nothing is decided by it."""

import re
from enum import Enum


class Stage(Enum):
    """The stages of a start, in their order. The value is what a person reads."""

    IMPORTING = "importing vLLM"
    CONFIGURING = "reading the model's configuration"
    CORE = "starting the engine core"
    LOADING = "loading weights"
    CACHE = "making room for the KV cache"
    WARMING = "warming up"
    OPENING = "opening the port"
    SERVING = "serving"

    @property
    def position(self) -> int:
        """Place in the order, from 0."""
        return list(Stage).index(self)


# Lines of vLLM 0.20 to 0.33 that begin a stage.
_SIGNS = (
    (Stage.CONFIGURING, r"non-default args|vLLM API server version"),
    (Stage.CORE, r"Resolved architecture|Using max model len"),
    (Stage.LOADING, r"Initializing a V1 LLM engine|Starting to load model|Loading safetensors"),
    (Stage.CACHE, r"Loading weights took|Model loading took"),
    (Stage.WARMING, r"KV cache size|torch\.compile takes|Capturing|Graph capturing"),
    (Stage.OPENING, r"init engine|Starting vLLM"),
)


def stage_after(current: Stage, line: str) -> Stage:
    """The stage after a line of the log. Never goes back."""
    for stage, pattern in _SIGNS:
        if stage.position > current.position and re.search(pattern, line):
            return stage
    return current
