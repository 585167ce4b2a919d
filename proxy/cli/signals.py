"""What signals do to a running server: SIGTERM and ctrl-C stop it, SIGHUP reads its policy again."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from guards.policy import PolicyError
from proxy.config import ConfigError, load
from proxy.server import Server

_log = structlog.get_logger("lethe.run")


class Signals:
    """Takes the signals of this process, from the start, so that none hits a half-built server."""

    def __init__(self, config_path: Path | None) -> None:
        self._config_path = config_path
        self.server: Server | None = None
        """Whose policy is read again, once it is there."""
        self.stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    async def before(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Does some work, unless a signal stops it first. Returns whether it was done; raises what it raises."""
        working = asyncio.create_task(work, name="work until a signal")
        waiting = asyncio.create_task(self.stopped.wait(), name="stop signal")
        try:
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
                return True
            return False
        finally:
            for task in (working, waiting):
                task.cancel()
            await asyncio.wait((working, waiting))

    def _reload(self) -> None:
        """Takes the policy from the configuration again. One that is wrong changes nothing."""
        if self.server is None:  # it has not read anything yet that could be outdated
            return
        try:
            fresh = load(self._config_path)
            self.server.catalogue.use_policies(fresh.default_policy, fresh.arms)
        except (ConfigError, PolicyError) as error:
            _log.error("reload_failed", problem=str(error), note="the former policy holds")
        else:
            _log.info("reloaded", note="policy; other settings need a restart")
