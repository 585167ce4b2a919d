"""What a supervisor tells about its engine, and how long it waits."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.engine.stages import Stage


class EngineState(StrEnum):
    """Where the engine is in its life."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class EngineStatus:
    """A moment of the engine. `error` says why it failed, or why it is being restarted."""

    state: EngineState
    stage: Stage
    restarts: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Patience:
    """Time limits of supervision, in seconds."""

    start: float = 900.0  # a large model on a slow disk; compiling for a GPU takes minutes
    stop: float = 15.0  # vLLM aborts what runs and exits in one; draining is the proxy's affair, before
    probe_every: float = 0.25
    watch_every: float = 1.0  # the front end outlives a dead engine core until it is asked
    probe: float = 10.0  # one answer; a front end with every core busy takes its time
    silent: float = 120.0  # no healthy answer for so long while ready: it hangs
