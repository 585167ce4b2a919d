"""The part of the scripted vLLM that subtracts: slots, adapters, and logprobs that follow an arming as Lethe's do.

It shares nothing with `guards.engine.offsets`: five tokens, their logits written out here.
"""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

LOGITS = {11: 2.0, 12: 1.0, 13: 0.5, 14: -0.5, 15: -1.0, 16: -9.0}
"""The base's, by token id."""
AUXILIARY = {11: 1.0, 12: 0.3, 13: 0.2, 14: 0.4, 15: -0.6, 16: 0.0}
"""What every auxiliary says; an adapter makes it half as loud."""


@dataclass
class Composite:
    """What the engine has. A test may change any of it while the engine runs."""

    slots: tuple[str, ...] = ()
    alive: bool = True
    """Offsets reach the logits."""
    processed: bool = True
    """Logprobs are taken after the logits processors."""
    mute: frozenset[str] = frozenset()
    """Beginnings of adapters that say nothing."""
    adapters: dict[str, str] = field(default_factory=dict)
    """Folder by name."""
    loads: list[str] = field(default_factory=list)
    unloads: list[str] = field(default_factory=list)
    unlisted: int = 0
    """How many of the next listings show no adapter."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an adapter is asked for."""
    loading: asyncio.Event | None = None
    """What loading an adapter waits for."""
    refuses: str | None = None
    """What it says to every adapter that is loaded."""

    def restart(self) -> None:
        """Another process: no adapters."""
        self.adapters.clear()

    def logprobs(self, body: dict[str, Any]) -> dict[int, float]:
        """The likeliest tokens of the first place, as many as were asked for."""
        logits = dict(LOGITS)
        allowed = body.get("allowed_token_ids") or list(logits)
        for name, weight in self._weights(body).items():
            loud = 0.0 if name not in self.slots else 0.5 if body["model"] in self.adapters else 1.0
            if body["model"].startswith(tuple(self.mute)):
                loud = 0.0
            logits = {token: value + weight * loud * AUXILIARY[token] for token, value in logits.items()}
        seen = {token: value for token, value in logits.items() if token in allowed}
        said = seen if self.processed else LOGITS
        norm = math.log(sum(math.exp(value) for value in said.values()))
        best = sorted(said, key=lambda token: -said[token])[: body["logprobs"]]
        return {token: said[token] - norm for token in best}

    def _weights(self, body: dict[str, Any]) -> dict[str, float]:
        fields = body.get("vllm_xargs") or {}
        if not fields or not self.alive:
            return {}
        return dict(zip(fields["lethe_auxiliaries"], fields["lethe_weights"], strict=True))
