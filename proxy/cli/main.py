"""`lethe`: the entry point of the command line."""

import importlib
import importlib.metadata
import os
import sys
from difflib import get_close_matches
from typing import Any

import click

from proxy.cli.output import INTERRUPTED

# Read by numpy when it is first imported, which is later. A search is too small to be shared between threads: measured,
# 9 ms instead of 0.3 ms for 4,096 vectors on cores that the engine uses too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Where each command is. Only the one that is called is imported: a server's parts take longer to load than a call.
COMMANDS = {
    "up": "proxy.cli.run",
    "serve": "proxy.cli.run",
    "engine": "proxy.cli.run",
    "validate": "proxy.cli.run",
    "forget": "proxy.cli.forget",
    "ledger": "proxy.cli.ledger",
    "sets": "proxy.cli.sets",
    "check": "proxy.cli.look",
    "compare": "proxy.cli.look",
    "keys": "proxy.cli.keys",
    "assistant": "proxy.cli.assistant",
    "experiment": "proxy.cli.experiment",
    "eval": "proxy.cli.evaluate",
    "calibrate": "proxy.cli.calibrate",
    "embedder": "proxy.cli.embedder",
    "attack": "proxy.cli.attack",
    "audit": "proxy.cli.audit",
    "watch": "proxy.cli.watch",
}

NAMED = {"eval": "evaluate"}  # commands whose function has another name


class _OnDemand(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        return getattr(importlib.import_module(module), NAMED.get(cmd_name, cmd_name)) if module else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and (near := get_close_matches(args[0], COMMANDS, 1)):
            ctx.fail(f"There is no command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)


@click.group(cls=_OnDemand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(importlib.metadata.version("lethe"), prog_name="lethe")
def main() -> None:
    """An OpenAI-compatible server that makes a model answer as if it had never learned what it must forget.

    \b
    lethe up                                      a model, the proxy and the admin API on this machine
    lethe serve --upstream http://127.0.0.1:8000  the proxy for a vLLM that runs elsewhere
    lethe forget add -q "Who wrote Hamlet?" -a "William Shakespeare"
    lethe check "Who is the author of Hamlet?"
    """
