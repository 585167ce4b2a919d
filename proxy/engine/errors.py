"""Why the engine cannot run, by cause. Every message names the cure.

EngineUnavailable
├── EngineNotInstalled   no Python with vLLM in it
├── PortTaken            something else listens on the engine's port
├── ModelUnusable        the model folder is missing, incomplete or damaged
├── NotEnoughRoom        memory or disk
├── BadEngineOption      an argument that the proxy sets itself, or that would open a way around it
└── EngineDied           it ended, and restarting did not help or was not tried; carries the end of its log
"""

import re
from collections.abc import Sequence

LOG_LINES_SHOWN = 15
# What vLLM, torch or the kernel print, and what a reader should do. The first pattern that matches wins.
_CAUSES = (
    (r"Address already in use", "its port was taken while it started; set engine.port to a free one"),
    (r"No space left on device", "the disk is full; free some space"),
    (
        r"MemoryError|Cannot allocate memory|DefaultCPUAllocator: can't allocate|out of memory|OutOfMemory"
        r"|Available memory on node|No available memory for the cache",
        "it ran out of memory; lower engine.kv_cache_gib or engine.max_model_len, or stop something else",
    ),
    (
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader",
        "the model's weights cannot be read; run `make models`, or fetch your checkpoint again",
    ),
    (r"(ModuleNotFoundError|ImportError): ", "its environment is incomplete; run `make env`"),
    (r"unrecognized arguments|argument .*: invalid", "vLLM refuses an argument; look at engine.args"),
    (r"EngineDeadError", "its engine core died, often for lack of memory; lower engine.kv_cache_gib"),
    (r"max seq len \(|User-specified max_model_len", "look at engine.max_model_len and engine.kv_cache_gib"),
)
# The first error of a log is the cause; vLLM repeats it in every process above.
_FIRST_ERROR = re.compile(r"\b\w*(?:Error|Exception): .+")
MAX_CAUSE_LENGTH = 300
_KILLED_STATUS = 128 + 9  # a shell's convention for "killed by SIGKILL", which the keeper follows


class EngineUnavailable(Exception):
    """Base: the engine does not run and will not by itself."""


class EngineNotInstalled(EngineUnavailable):
    """No Python with vLLM in it was found."""


class PortTaken(EngineUnavailable):
    """Something else listens on the engine's port."""


class ModelUnusable(EngineUnavailable):
    """The model folder is missing, incomplete or damaged."""


class NotEnoughRoom(EngineUnavailable):
    """Too little memory or disk to start."""


class BadEngineOption(EngineUnavailable):
    """An argument that the proxy sets itself, or that would open a way around it."""


class EngineDied(EngineUnavailable):
    """The engine ended and is not started again. `log` holds its last lines, oldest first."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        shown = "".join(f"\n    {line}" for line in log[-LOG_LINES_SHOWN:])
        super().__init__(f"{message}; its last words:{shown}" if shown else message)
        self.log = tuple(log)


def cause_of_death(status: int, log: Sequence[str]) -> str:
    """One clause on how a process ended, and what to do where the log tells.

    `status` as from a shell: 128+n when signal n ended it.
    """
    ending = f"the engine was ended by signal {status - 128}" if status > 128 else f"the engine ended (status {status})"
    text = "\n".join(log)
    for pattern, cure in _CAUSES:
        if re.search(pattern, text):
            return f"{ending}: {cure}"
    if status == _KILLED_STATUS:
        return f"{ending}: killed from outside, often for lack of memory; lower engine.kv_cache_gib"
    first = next((found[0] for line in log if (found := _FIRST_ERROR.search(line))), None)
    return f"{ending}: {first[:MAX_CAUSE_LENGTH]}" if first else ending
