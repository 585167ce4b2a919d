"""`lethe embedder use` and `show`: which embedder a running server compares texts with."""

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from proxy.cli.admin_client import AdminClient, admin_options
from proxy.cli.output import FAILED, USAGE, count, fail, json_option, print_json, say, warnings

PATH = "/admin/v1/embedder"
LOOK_S = 0.25
SAY_EVERY_S = 10.0  # between two lines where nobody watches
IN_FORCE, EMBEDDING = "in force", "embedding"


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--url", help="A server with /v1/embeddings instead of a folder; its key is embedder.api_key.")
@click.option("--model", help="The model that the server embeds with.")
@click.option("--prefix", default="", help="Written before every text that the server embeds, such as 'query: '.")
@click.option("--configured", is_flag=True, help="The embedder of the configuration again.")
@click.option("--no-wait", is_flag=True, help="Return as soon as the server has begun.")
@json_option
@admin_options
def use(
    path: Path | None,
    url: str | None,
    model: str | None,
    prefix: str,
    configured: bool,
    no_wait: bool,
    as_json: bool,
    admin: AdminClient,
) -> None:
    """Change the embedder of a running server, and of all its workers and replicas.

    PATH is a prepared folder, where each of them finds it. Entries are embedded in the background while the former
    embedder serves; then index and embedder are replaced in one step. The server goes on when this command is
    interrupted, and when it is itself started again. To call a change off, choose the former embedder.

    \b
    lethe embedder use embedders/e5
    lethe embedder use --url http://embeddings:8000 --model intfloat/multilingual-e5-large --prefix "query: "
    lethe embedder use --configured
    """
    if [path is not None, url is not None, configured].count(True) != 1:
        fail("give a PATH, or --url with --model, or --configured", USAGE)
    given = {"path": path and str(path.absolute()), "url": url, "model": model, "prefix": prefix}
    began = admin.call("PUT", PATH, {name: value for name, value in given.items() if value})
    advice = str(began.pop("advice"))
    shown = began if no_wait else _followed(admin, began)
    if as_json:
        print_json(shown | {"advice": advice})
        return
    if shown["stage"] != IN_FORCE:
        say(f"the change to '{_aim(shown)}' goes on in the server: 'lethe embedder show' tells how far it is")
    else:
        say(f"in force: {shown['embedder']}, {shown['dimensions']} numbers")
    say(advice)


@click.command()
@json_option
@admin_options
def show(as_json: bool, admin: AdminClient) -> None:
    """Show the embedder of a running server, and how far a change of it has come.

    \b
    lethe embedder show
    """
    shown = admin.call("GET", PATH)
    if as_json:
        print_json(shown)
        return
    place = ", ".join(f"{name} {value}" for name, value in shown["source"].items())
    say(f"embedder: {shown['embedder']}, {shown['dimensions']} numbers ({place})")
    say(f"stage:    {shown['stage']}")
    if shown["changing_to"]:
        say(f"next:     {_aim(shown)}{_so_far(shown)}")
    if shown["problem"]:
        say(f"problem:  {shown['problem']}")


def _followed(admin: AdminClient, began: Any) -> Any:
    """Watches until the change is in force everywhere. Ends the command where it fails."""
    shown = began
    with _Watched(warnings) as watched:
        while shown["stage"] != IN_FORCE:
            if shown["problem"]:
                fail(
                    f"the change failed: {shown['problem']}\n'{shown['embedder']}' is in force, and the server tries "
                    "again; to call the change off, choose the former embedder",
                    FAILED,
                )
            watched.told(shown)
            time.sleep(LOOK_S)
            shown = admin.call("GET", PATH)
    return {name: value for name, value in shown.items() if value is not None} | {"generation": began["generation"]}


def _aim(shown: Any) -> str:
    return str(shown["changing_to"]["embedder"])


def _so_far(shown: Any) -> str:
    if shown["stage"] == EMBEDDING and shown["progress"]["entries"]:
        at = shown["progress"]
        of = count(at["of"], "entry", "entries")
        return f", {at['entries']} of {of}, {at['per_s']:.0f}/s, {at['left_s']:.0f} s left"
    behind = shown.get("behind")
    return f", {count(behind, 'process', 'processes')} not there yet" if behind else ""


class _Watched:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("loading", total=None, rate="")
        self._said = time.monotonic()

    def __enter__(self) -> "_Watched":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def told(self, shown: Any) -> None:
        at = shown.get("progress") or {"entries": None, "of": None, "per_s": 0}
        self._bar.update(
            self._task,
            description=shown["stage"],
            completed=at["entries"],
            total=at["of"] or None,
            rate=f"{at['per_s']:.0f}/s" if at["per_s"] else "",
        )
        now = time.monotonic()
        if self._bar.disable and now - self._said >= SAY_EVERY_S:
            self._said = now
            self._console.print(f"{shown['stage']}{_so_far(shown)}", soft_wrap=True, highlight=False)
