"""The lives of servers that commands start: alone, as several workers, as one of them, and with an engine beside."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from proxy.app import running
from proxy.cli.output import say
from proxy.cli.signals import Signals
from proxy.cli.up import embedded_engine, engine_options, load_sample, ready, show_ready
from proxy.config import Config, ConfigError
from proxy.engine.status import EngineState
from proxy.keys import MIN_SECRET
from proxy.server import Server
from proxy.workers.crew import Crew
from proxy.workers.slot import Slot


async def alone(config: Config, config_path: Path | None) -> None:
    """One server before an engine that runs elsewhere, until a signal ends it."""
    secret = _given_key()
    signals = Signals(config_path)
    async with running(config, admin_secret=secret) as server:
        signals.server = server
        await _announce_key(server, secret)
        _say_where(config, server.ports)
        await server.upstream.look()
        models = ", ".join(server.upstream.view.models)
        say(f"engine:  {config.upstream.url}, {server.upstream.view.problem or f'serving {models}'}")
        await signals.stopped.wait()
        say("stopping")


async def several(config: Config) -> None:
    """Several workers, until a signal ends them or they cannot go on. Raises WorkerFailed."""
    _given_key()
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    crew = Crew(config, sys.argv[1:])
    loop.add_signal_handler(signal.SIGHUP, crew.pass_on, signal.SIGHUP)
    starting = asyncio.create_task(crew.start(), name="starting workers")
    stopping = asyncio.create_task(stopped.wait(), name="stop signal")
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            _say_where(config, crew.ports)
            say(f"workers: {config.workers}")
            await asyncio.wait((crew.failed, stopping), return_when=asyncio.FIRST_COMPLETED)
            if crew.failed.done():
                raise crew.failed.result()
        say("stopping")
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.wait((starting, stopping))
        await crew.stop()


async def one_of_several(config: Config, config_path: Path | None, slot: Slot) -> None:
    """One worker, until it is told to end or its parent is gone."""
    secret = _given_key()
    signals = Signals(config_path)
    asyncio.get_running_loop().add_reader(slot.parent, signals.stopped.set)
    async with running(config, admin_secret=secret if slot.is_first else None, worker=slot) as server:
        signals.server = server
        if slot.is_first:
            await _announce_key(server, secret)
        slot.tell_listening()
        await signals.stopped.wait()


async def with_engine(config: Config, config_path: Path | None, sample: Path | None, *, exit_when_ready: bool) -> None:
    """A server and an engine of its own, until a signal ends them. Raises EngineUnavailable when it is given up."""
    secret = _given_key()
    signals = Signals(config_path)
    options = engine_options(config)
    config = config.model_copy(
        update={
            "upstream": config.upstream.model_copy(update={"url": options.base_url, "api_key": options.api_key}),
            "engine": config.engine.model_copy(update={"model": config.model_path}),  # which base assistants must fit
        }
    )
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(embedded_engine(options, config))
        server = await stack.enter_async_context(running(config, admin_secret=secret))
        signals.server = server
        if await signals.before(ready(engine, server)):
            if sample is not None:
                await load_sample(server, sample)
            show_ready(config, server, await _announce_key(server, secret))
            if not exit_when_ready and await signals.before(engine.wait_for(EngineState.FAILED)):
                await engine.ready()  # raises what went wrong
        say("stopping")


def _given_key() -> str | None:
    """The admin key of the environment. An empty one is none."""
    secret = os.environ.get("LETHE_ADMIN_KEY") or None
    if secret is not None and len(secret) < MIN_SECRET:
        raise ConfigError(
            f"LETHE_ADMIN_KEY has fewer than {MIN_SECRET} characters: choose a longer one, or unset it to have one made"
        )
    return secret


async def _announce_key(server: Server, given: str | None) -> str | None:
    """Prints a fresh admin key once, where none was given and none exists. Returns the key that was made."""
    if given is not None or server.catalogue.keys.has_admin:
        return None
    secret = await server.catalogue.stored_keys.make_admin()
    say("\nadmin key (shown once): ", (secret, "bold"))
    return secret


def _say_where(config: Config, ports: dict[str, int]) -> None:
    say(f"clients: http://{config.listen.host}:{ports['listen']}/v1")
    say(f"admin:   http://{config.admin.host}:{ports['admin']}/admin/v1")
