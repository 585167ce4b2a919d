"""`python -m evals.census`: are all routes and request fields of the installed vLLM decided?"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import click

from evals.census.decided import compared
from proxy.engine.discovery import find_engine_python

SNAPSHOT = Path(__file__).with_name("surface.json")
"""The surface of the pinned vLLM as it was when it was last looked at; written with `--record`."""


class CensusError(Exception):
    """The engine's Python did not list its surface."""


def installed_surface(python: Path) -> dict[str, Any]:
    """Routes and request fields of the vLLM of an environment. Takes seconds: vLLM is imported. Raises CensusError."""
    script = Path(__file__).with_name("introspect.py")
    env = {**os.environ, "VLLM_LOGGING_LEVEL": "ERROR", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([python, script], env=env, capture_output=True, text=True, timeout=300, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("CENSUS ")]
    if done.returncode or not lines:
        raise CensusError(f"{python} did not list its surface: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("CENSUS "))
    return found


@click.command(
    epilog="Examples:\n\n  python -m evals.census\n\n  python -m evals.census --recorded --json census.json",
    help=__doc__,
)
@click.option("--recorded", is_flag=True, help="Compare the recorded surface instead of the installed vLLM.")
@click.option("--record", is_flag=True, help="Record the installed surface for the tests.")
@click.option("--json", "target", metavar="FILE", help="Write the figures as JSON; - for standard output.")
def main(recorded: bool, record: bool, target: str | None) -> None:
    """Exit code 1 when something is undecided."""
    if recorded:
        surface = json.loads(SNAPSHOT.read_text("utf-8"))
    else:
        try:
            surface = installed_surface(find_engine_python(None, os.environ))
        except Exception as error:
            raise click.ClickException(str(error)) from error
    if record:
        SNAPSHOT.write_text(json.dumps(surface, indent=1) + "\n", "utf-8")
    census = compared(surface)
    if target == "-":
        click.echo(json.dumps(census.as_json(), indent=2))
    else:
        if target:
            Path(target).write_text(json.dumps(census.as_json(), indent=2) + "\n", "utf-8")
        click.echo(
            f"vLLM {census.version}: {census.routes} routes, {census.fields} fields, {census.nested} nested fields, "
            f"{census.kinds} kinds; undecided: {len(census.undecided)}"
        )
        for name in census.undecided:
            click.echo(f"  {name}")
    if census.undecided:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
