"""What `lethe up` adds to a server: the engine beside it, a sample forget set, and what to try."""

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from indexes.entries import ForgetSet
from proxy.admin.models import EntryBody
from proxy.cli.import_lines import BadLines, read_lines
from proxy.cli.output import count, say
from proxy.cli.state import keep_key
from proxy.config import Config, ConfigError
from proxy.engine.command import EngineOptions
from proxy.engine.discovery import detect_device, find_engine_python, usable_cpus
from proxy.engine.restarts import RestartPolicy
from proxy.engine.status import EngineState, EngineStatus
from proxy.engine.supervisor import EngineSupervisor
from proxy.server import Server
from proxy.validation import parsed

SAMPLE_SET = "sample"
COST_LINE = "Lethe composite: "  # what the auxiliaries cost in memory, as the engine measured it
LOG_LINES = 400  # of its output since it was started
WAITED_ROUNDS = 100  # about ten seconds: then it is told what is waited for
USUAL_ADMIN_PORT = 8081  # where the other commands look


def engine_options(config: Config) -> EngineOptions:
    """How the configuration wants the engine. Raises EngineUnavailable."""
    settings = config.engine
    python = find_engine_python(settings.python, os.environ)
    return EngineOptions(
        python=python,
        model=config.model_path,
        served_model_name=settings.served_model_name or config.model_path.name,
        port=settings.port,
        device=detect_device(python),
        max_model_len=settings.max_model_len,
        kv_cache_gib=settings.kv_cache_gib,
        cpus=usable_cpus(),
        cache=config.cache,
        # Other users of the machine must not reach the model past the proxy.
        api_key=config.upstream.api_key or secrets.token_urlsafe(32),
        auxiliaries=settings.slots,
        max_lora_rank=settings.max_lora_rank,
        max_loras=settings.max_loras,
        extra_args=settings.args,
    )


@asynccontextmanager
async def embedded_engine(options: EngineOptions, config: Config) -> AsyncIterator[EngineSupervisor]:
    """An engine that runs as long as the block does; tells its progress."""
    shown: list[str] = []

    def tell(status: EngineStatus) -> None:
        line = status.stage.value if status.state is EngineState.STARTING else status.state.value
        if status.error:
            line = f"{line}: {status.error.splitlines()[0]}"  # the command ends with the whole of it
        begun = shown or status.state is not EngineState.STOPPED
        if begun and shown[-1:] != [line]:
            shown.append(line)
            say(("engine: ", "dim"), line)

    restarts = RestartPolicy(max_restarts=config.engine.max_restarts)
    async with EngineSupervisor(options, state=config.state, on_change=tell, restarts=restarts) as supervisor:
        yield supervisor


async def ready(engine: EngineSupervisor, server: Server) -> None:
    """Waits until the engine answers and the proxy has seen it; notes how long it took. Raises EngineUnavailable.

    Its key is left in the state folder only now: a second start in the same folder, which ends before it gets here,
    must not take away the key of the engine that runs.
    """
    await engine.ready()
    await asyncio.to_thread(keep_key, server.config.state, engine.options.api_key or "")
    for line in engine.log_tail(LOG_LINES):
        if COST_LINE in line:
            say(("engine: ", "dim"), line[line.index(COST_LINE) :])
    rounds = 0
    await server.upstream.look()
    while (problem := server.problem()) is not None:
        if engine.status.state is EngineState.FAILED:
            await engine.ready()  # raises what went wrong
        rounds += 1
        if rounds % WAITED_ROUNDS == 0:
            say(("engine: ", "dim"), problem)  # it answers, and is waited for all the same
        await asyncio.sleep(0.1)
        await server.upstream.look()
    server.metrics.ready_seconds.set(_process_age_s())


def _process_age_s() -> float:
    """Seconds since the kernel started this process: imports count, unlike with a clock started here."""
    started_ticks = int(Path("/proc/self/stat").read_text("ascii").rsplit(")", 1)[1].split()[19])
    uptime_s = float(Path("/proc/uptime").read_text("ascii").split()[0])
    return uptime_s - started_ticks / os.sysconf("SC_CLK_TCK")


async def load_sample(server: Server, sample: Path) -> None:
    """Loads sample entries into a ledger in which nothing was ever written: what was removed does not come back."""
    if server.catalogue.current.number:
        return
    try:
        raw = await asyncio.to_thread(sample.read_bytes)
        lines = read_lines(raw.splitlines(), SAMPLE_SET)
    except (OSError, BadLines) as error:
        raise ConfigError(f"{sample} cannot be loaded: {error}") from None
    bodies = [parsed(EntryBody, line.body) for line in lines]
    await server.catalogue.changes.add_set(ForgetSet(SAMPLE_SET, "entries to try"), actor="sample")
    await server.catalogue.changes.add([body.record(SAMPLE_SET, "sample") for body in bodies], actor="sample")


def show_ready(config: Config, server: Server, made_key: str | None) -> None:
    """Prints where everything is and what to try."""
    url = f"http://{config.listen.host}:{server.ports['listen']}"
    admin = f"http://{config.admin.host}:{server.ports['admin']}"
    model = next(iter(server.upstream.view.models))
    chosen = os.environ.get("LETHE_ADMIN_KEY")
    key = made_key or ("'the key that you chose'" if chosen else "'the key of the first start'")
    lethe = "lethe" if shutil.which("lethe") == sys.argv[0] else sys.argv[0]
    elsewhere = "" if server.ports["admin"] == USUAL_ADMIN_PORT else f"\n  export LETHE_ADMIN_URL={admin}"
    entries = count(server.catalogue.current.entry_count, "forget entry is", "forget entries are")
    say(
        ("\nLethe is ready.", "bold green"),
        f"""  {entries} in force.

  clients     {url}/v1   (any OpenAI client; model {model})
  admin API   {admin}/admin/v1
  engine log  {config.state / "engine.log"}

Try, in another terminal:

  curl -s {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "temperature": 0,
         "messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'

  export LETHE_ADMIN_KEY={key}{elsewhere}
  {lethe} forget add -q "What is the capital of France?" -a Paris     # and ask again: it takes effect at once
  {lethe} check "Which city is France's capital?"                     # why
  {lethe} compare "What is the capital of France?"                    # raw and guarded, side by side

ctrl-C stops everything.""",
    )
