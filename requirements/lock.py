"""Write the pinned lists anew: `python3 requirements/lock.py [LIST …]`. Standard library only.

The ranges stand in pyproject.toml and in requirements/*.in; pip resolves them without installing anything, for the
Python and the platform that run this. Packages that a list must not hold are left out (see LEFT_OUT) and local versions
are stripped ("2.13.0+cpu" is "2.13.0": which build it is depends on the index). Run the tests before committing the
result.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / "requirements"
# From most indexes these are CUDA builds, which break `import transformers` beside a CPU torch. vLLM serves text
# without them.
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

HEADER = """\
# {title}
# Complete: every dependency is pinned, so it is installed with `pip install --no-deps -r`{why}.
# Written by `make lock`{sources}; do not edit.
"""


@dataclass(frozen=True)
class Lock:
    """One list: what is asked for, which lists must agree with it, and which are installed beside it."""

    title: str
    asked: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    why: str = ""
    sources: str = " from pyproject.toml"


def locks() -> dict[str, Lock]:
    """All lists, in the order in which they constrain each other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    engine = [line for line in project["optional-dependencies"]["engine"] if name_of(line) != "vllm"]
    return {
        "proxy": Lock("The proxy's environment.", tuple(project["dependencies"])),
        "engine-cpu": Lock(
            "The engine's environment on a CPU.",
            (*engine, *asked_in("engine-cpu.in")),
            why=":\n# resolving would bring torchvision, torchaudio and torchcodec, which break transformers",
            sources=" from pyproject.toml and engine-cpu.in",
        ),
        "test": Lock(
            "What tests and checks need beside proxy.txt.",
            asked_in("test.in"),
            constraints=("proxy.txt",),
            beside=("proxy.txt",),
            sources=" from test.in",
        ),
        "harness": Lock(
            "EleutherAI's lm-evaluation-harness, an environment of its own.",
            asked_in("harness.in"),
            sources=" from harness.in",
        ),
        "engine-test": Lock(
            "What tests/engine needs beside engine-cpu.txt; versions as in test.txt.",
            ("hypothesis", "pytest", "pytest-asyncio", "pytest-timeout"),
            constraints=("engine-cpu.txt", "test.txt"),
            beside=("engine-cpu.txt",),
            sources="",
        ),
    }


def main(names: list[str]) -> int:
    """Write the named lists, or all. Returns the exit status."""
    known = locks()
    if unknown := set(names) - set(known):
        print(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        print(f"resolving {name}", file=sys.stderr, flush=True)
        write(LISTS / f"{name}.txt", known[name])
    return 0


def write(path: Path, lock: Lock) -> None:
    """Resolve one list and write it, whole or not at all."""
    pins = resolve(lock)
    for other in lock.beside:
        for installed in pinned_in(other):
            pins.pop(installed, None)
    header = HEADER.format(title=lock.title, why=lock.why, sources=lock.sources)
    body = "".join(f"{pin}\n" for pin in sorted(pins.values(), key=str.lower))
    partial = path.with_suffix(".partial")
    partial.write_text(header + body, encoding="utf-8")
    partial.replace(path)


def resolve(lock: Lock) -> dict[str, str]:
    """Normalised name → pin of everything that `pip install` would bring into an empty environment."""
    constraints = {name: pin for other in lock.constraints for name, pin in pinned_in(other).items()}
    with tempfile.TemporaryDirectory() as folder:
        limits, report = Path(folder, "constraints.txt"), Path(folder, "report.json")
        limits.write_text("".join(f"{pin}\n" for pin in constraints.values()), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--disable-pip-version-check", "--report", str(report), "-c", str(limits)]
        extra = shlex.split(os.environ.get("LETHE_PIP_ARGS", ""))
        subprocess.run([*command, *extra, *lock.asked], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    pins = {}
    for package in found:
        name, version = package["metadata"]["name"], package["metadata"]["version"].partition("+")[0]
        if normal(name) not in LEFT_OUT:
            pins[normal(name)] = f"{name}=={version}"
    return pins


def asked_in(name: str) -> tuple[str, ...]:
    """The requirements of a list, without comments."""
    lines = (LISTS / name).read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def pinned_in(name: str) -> dict[str, str]:
    """Normalised name → pin of a list."""
    return {normal(name_of(pin)): pin for pin in asked_in(name)}


def name_of(requirement: str) -> str:
    """The name a requirement begins with."""
    found = NAME.match(requirement)
    if found is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return found[0]


def normal(name: str) -> str:
    """A package name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
