"""`lethe up`, `lethe serve`, `lethe engine`, `lethe validate`: running servers."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
import structlog
import uvloop

from guards.engine.cache import CacheError
from guards.policy import PolicyError
from indexes.embedder import EmbedderError
from indexes.ledger.records import LedgerError
from proxy import logs
from proxy.app import PortInUse, running
from proxy.cli.output import CONFIG_WRONG, INTERRUPTED, fail, json_option, print_json, say
from proxy.cli.up import embedded_engine, engine_options, keep_key, load_sample, ready, show_ready
from proxy.config import Config, ConfigError, load
from proxy.engine.command import build_command
from proxy.engine.errors import EngineUnavailable
from proxy.engine.preflight import check_before_start
from proxy.engine.status import EngineState
from proxy.errors import RequestError
from proxy.keys import MIN_SECRET
from proxy.server import Server
from proxy.workers.crew import Crew, WorkerFailed
from proxy.workers.slot import Slot

_log = structlog.get_logger("lethe.run")

_config_option = click.option(
    "--config",
    "-c",
    "config_path",
    envvar="LETHE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A YAML file; defaults apply where it says nothing (LETHE_CONFIG).",
)


_auxiliary_option = click.option(
    "--auxiliary",
    "auxiliaries",
    multiple=True,
    metavar="SLOT",
    help="A model that requests can subtract: layers:NUMBER, the base's first layers under an adapter, or "
    "checkpoint:FOLDER. May be repeated; takes the place of engine.auxiliaries.",
)


@click.command()
@_config_option
@click.option("--port", type=int, help="Port for clients [default: 8080].")
@click.option("--admin-port", type=int, help="Port of the admin API [default: 8081].")
@click.option("--engine-port", type=int, help="Loopback port of the engine [default: 8000].")
@_auxiliary_option
@click.option("--sample", type=click.Path(path_type=Path, exists=True), help="Entries to load into an empty ledger.")
@click.option("--exit-when-ready", is_flag=True, help="Stop again as soon as everything answers (for measuring).")
def up(
    config_path: Path | None,
    sample: Path | None,
    exit_when_ready: bool,
    auxiliaries: tuple[str, ...],
    **ports: int | None,
) -> None:
    """Run a model, the proxy and the admin API on this machine.

    The engine is a vLLM server on loopback, started and watched by this command. The admin key is taken from
    LETHE_ADMIN_KEY; without it, a fresh one is printed when there is none yet.

    \b
    lethe up
    LETHE_ADMIN_KEY=an-admin-key-of-mine lethe up --sample deploy/sample-forget.jsonl
    lethe up --auxiliary layers:8
    """
    overrides = _overrides(
        ports["port"], ports["admin_port"], engine_port=ports["engine_port"], auxiliaries=auxiliaries
    )
    config = _loaded(config_path, overrides)
    _run(_up(config, config_path, sample, exit_when_ready=exit_when_ready), config)


@click.command()
@_config_option
@click.option("--upstream", help="URL of a vLLM server, such as http://127.0.0.1:8000.")
@click.option("--port", type=int, help="Port for clients [default: 8080].")
@click.option("--admin-port", type=int, help="Port of the admin API [default: 8081].")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that share the ports [default: 1].")
@_auxiliary_option
def serve(
    config_path: Path | None,
    upstream: str | None,
    port: int | None,
    admin_port: int | None,
    workers: int | None,
    auxiliaries: tuple[str, ...],
) -> None:
    """Run the proxy for a vLLM server that runs elsewhere.

    The admin key is taken from LETHE_ADMIN_KEY; without it, a fresh one is printed when there is none yet.

    \b
    lethe serve --upstream http://127.0.0.1:8000
    lethe serve --config lethe.yaml --workers 4
    lethe serve --upstream http://127.0.0.1:8000 --auxiliary layers:8
    """
    overrides = _overrides(port, admin_port, upstream, auxiliaries=auxiliaries)
    config = _loaded(config_path, overrides | ({"workers": workers} if workers is not None else {}))
    if (slot := Slot.here()) is not None:
        _run(_work(config, config_path, slot), config)
    else:
        _run(_crew(config) if config.workers > 1 else _serve(config, config_path), config)


@click.command()
@_config_option
@click.option("--engine-port", type=int, help="Loopback port of the engine [default: 8000].")
@_auxiliary_option
def engine(config_path: Path | None, engine_port: int | None, auxiliaries: tuple[str, ...]) -> None:
    """Run only the engine, a vLLM with the right flags.

    Its key is upstream.api_key; without one, a fresh one is left in engine.key of the state folder.

    \b
    lethe engine --engine-port 8000
    lethe engine --auxiliary layers:8 --auxiliary layers:8
    """
    config = _loaded(config_path, _overrides(None, None, engine_port=engine_port, auxiliaries=auxiliaries))
    try:
        options = engine_options(config)
        check_before_start(options, config.state)
        command = build_command(options, os.environ)
    except EngineUnavailable as error:
        fail(str(error))
    if config.upstream.api_key is None:
        say(f"engine key: {keep_key(config.state, options.api_key or '')}")
    sys.stdout.flush()
    os.execve(command.argv[0], list(command.argv), dict(command.environ))  # noqa: S606 - the engine is what runs on


@click.command()
@_config_option
@json_option
def validate(config_path: Path | None, as_json: bool) -> None:
    """Check a configuration without starting anything.

    \b
    lethe validate --config lethe.yaml
    """
    config = _loaded(config_path, {})
    if as_json:
        secrets = {"upstream": {"api_key"}, "ledger": {"url", "sealing_key"}}
        print_json({"valid": True, "settings": config.model_dump(mode="json", exclude=secrets)})
    else:
        say(f"the configuration is valid; clients: {config.listen.host}:{config.listen.port}")


async def _crew(config: Config) -> None:
    """Several workers, until a signal ends them or they cannot go on."""
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
            say(f"clients: http://{config.listen.host}:{crew.ports['listen']}/v1")
            say(f"admin:   http://{config.admin.host}:{crew.ports['admin']}/admin/v1")
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


async def _work(config: Config, config_path: Path | None, slot: Slot) -> None:
    """One worker of several, until it is told to end or its parent is gone."""
    secret = _given_key()
    signals = _Signals(config_path)
    asyncio.get_running_loop().add_reader(slot.parent, signals.stopped.set)
    async with running(config, admin_secret=secret if slot.is_first else None, worker=slot) as server:
        signals.server = server
        if slot.is_first:
            await _announce_key(server, secret)
        slot.tell_listening()
        await signals.stopped.wait()


async def _serve(config: Config, config_path: Path | None) -> None:
    secret = _given_key()
    signals = _Signals(config_path)
    async with running(config, admin_secret=secret) as server:
        signals.server = server
        await _announce_key(server, secret)
        say(f"clients: http://{config.listen.host}:{server.ports['listen']}/v1")
        say(f"admin:   http://{config.admin.host}:{server.ports['admin']}/admin/v1")
        await server.upstream.look()
        models = ", ".join(server.upstream.view.models)
        say(f"engine:  {config.upstream.url}, {server.upstream.view.problem or f'serving {models}'}")
        await signals.stopped.wait()
        say("stopping")


async def _up(config: Config, config_path: Path | None, sample: Path | None, *, exit_when_ready: bool) -> None:
    secret = _given_key()
    signals = _Signals(config_path)
    options = engine_options(config)
    config = config.model_copy(
        update={
            "upstream": config.upstream.model_copy(update={"url": options.base_url, "api_key": options.api_key}),
            "engine": config.engine.model_copy(update={"model": config.model_path}),  # which base assistants must fit
        }
    )
    async with AsyncExitStack() as stack:
        engine_up = await stack.enter_async_context(embedded_engine(options, config.state))
        server = await stack.enter_async_context(running(config, admin_secret=secret))
        signals.server = server
        if await signals.before(ready(engine_up, server)):
            if sample is not None:
                await load_sample(server, sample)
            show_ready(config, server, await _announce_key(server, secret))
            if not exit_when_ready and await signals.before(engine_up.wait_for(EngineState.FAILED)):
                await engine_up.ready()  # raises what went wrong
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


class _Signals:
    """SIGTERM and ctrl-C stop, SIGHUP reads the policy again; from the start, so that none hits a half-built server."""

    def __init__(self, config_path: Path | None) -> None:
        self._config_path = config_path
        self.server: Server | None = None
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


def _overrides(
    port: int | None,
    admin_port: int | None,
    upstream: str | None = None,
    *,
    engine_port: int | None = None,
    auxiliaries: tuple[str, ...] = (),
) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for section, key, value in (
        ("listen", "port", port),
        ("admin", "port", admin_port),
        ("upstream", "url", upstream),
        ("engine", "port", engine_port),
        ("engine", "auxiliaries", list(auxiliaries) or None),
    ):
        if value is not None:
            wanted.setdefault(section, {})[key] = value
    return wanted


def _loaded(path: Path | None, overrides: dict[str, Any]) -> Config:
    try:
        return load(path, overrides)
    except ConfigError as error:
        fail(str(error), CONFIG_WRONG)


def _run(work: Coroutine[Any, Any, None], config: Config) -> None:
    logs.configure(config.log_level)
    try:
        uvloop.run(work)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ConfigError as error:
        fail(str(error), CONFIG_WRONG)
    except (LedgerError, EmbedderError, CacheError, PortInUse, EngineUnavailable) as error:
        fail(str(error))
    except RequestError as error:
        fail(error.message)
    except WorkerFailed as error:
        if error.told:
            sys.exit(error.code)
        fail(str(error), error.code)
