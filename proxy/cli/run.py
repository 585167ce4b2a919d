"""`lethe up`, `lethe serve`, `lethe engine`, `lethe validate`: running servers."""

import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
import uvloop

from guards.engine.cache import CacheError
from indexes.embedder import EmbedderError
from indexes.ledger.records import LedgerError
from proxy import logs
from proxy.audit.key import AuditKeyError
from proxy.cli.output import CONFIG_WRONG, INTERRUPTED, fail, json_option, print_json, say
from proxy.cli.serving import alone, one_of_several, several, with_engine
from proxy.cli.state import StateUnusable, check_state, keep_key
from proxy.cli.up import engine_options
from proxy.config import Config, ConfigError, load
from proxy.engine.command import build_command
from proxy.engine.errors import EngineUnavailable
from proxy.engine.preflight import check_before_start
from proxy.errors import RequestError
from proxy.listening import PortInUse
from proxy.workers.crew import WorkerFailed
from proxy.workers.slot import Slot

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
    _run(with_engine(config, config_path, sample, exit_when_ready=exit_when_ready), config)


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
        _run(one_of_several(config, config_path, slot), config)
    else:
        _run(several(config) if config.workers > 1 else alone(config, config_path), config)


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
        check_state(config.state)
        options = engine_options(config)
        check_before_start(options, config.state)
        command = build_command(options, os.environ)
    except (StateUnusable, EngineUnavailable) as error:
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
        check_state(config.state)
    except StateUnusable as error:
        work.close()
        fail(str(error))
    try:
        uvloop.run(work)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ConfigError as error:
        fail(str(error), CONFIG_WRONG)
    except (LedgerError, EmbedderError, CacheError, AuditKeyError, PortInUse, EngineUnavailable) as error:
        fail(str(error))
    except RequestError as error:
        fail(error.message)
    except WorkerFailed as error:
        if error.told:
            sys.exit(error.code)
        fail(str(error), error.code)
