"""Make the environments: `python3 requirements/install.py proxy|engine|test|harness …`. Standard library only.

proxy    .venv: requirements/proxy.txt and the project itself
engine   .venv-engine: vLLM (requirements/engine-cpu.txt, or engine-gpu.txt with LETHE_ENGINE=gpu), the models that come
         as packages, the project itself
test     what the tests need on top, in both
harness  .venv-harness: the lm-evaluation-harness, for `python -m evals.harness`

Two environments to serve with, because the proxy must install without torch and vLLM, and because both pin numpy and
the like on their own.

A finished step leaves a stamp that holds the hash of its list, so a second run takes no time and an interrupted one
goes on where it stopped. Environment: LETHE_PIP_ARGS is passed to every `pip install` (an index, a wheel folder),
LETHE_ENGINE is `cpu` or `gpu`.
"""

from __future__ import annotations  # so that an older Python gets as far as being refused in words

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / "requirements"
PROXY, ENGINE, HARNESS = ROOT / ".venv", ROOT / ".venv-engine", ROOT / ".venv-harness"
MIN_PYTHON = (3, 11)
# Installed 0.6, 3.7 and 0.8 GB; pip holds the wheels besides while it unpacks them.
NEEDED_BYTES = {PROXY: 1_500_000_000, ENGINE: 7_000_000_000, HARNESS: 1_500_000_000}
STAMPS = ".lethe-stamps"
POSTGRES = Path("/usr/lib/postgresql")  # where Debian puts its servers


class SetupError(Exception):
    """The set-up cannot go on. The message says why and what to do."""


def main(targets: list[str]) -> int:
    """Bring the named targets up to date. Returns the exit status."""
    steps = {"proxy": set_up_proxy, "engine": set_up_engine, "test": set_up_tests, "harness": set_up_harness}
    if not targets or set(targets) - set(steps):
        say(f"usage: {Path(sys.argv[0]).name} {' | '.join(steps)} …")
        return 2
    try:
        check_python()
        with one_at_a_time():
            for target in targets:
                steps[target]()
    except SetupError as error:
        say(f"error: {error}")
        return 1
    except subprocess.CalledProcessError as error:
        command = shlex.join(map(str, error.cmd))
        say(f"error: {command} failed (status {error.returncode}); run the same command again to go on")
        return 1
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        return 130
    return 0


def set_up_proxy() -> None:
    """The proxy's environment."""
    make_environment(PROXY)
    install_list(PROXY, "build.txt")
    install_list(PROXY, "proxy.txt")
    install_project(PROXY)


def set_up_engine() -> None:
    """The engine's environment, for the device that was chosen."""
    gpu = wants_gpu()
    if (stamp(ENGINE, "engine-cpu.txt" if gpu else "engine-gpu.txt")).exists():
        say("the engine's environment is for another device; making it anew")
        shutil.rmtree(ENGINE)
    make_environment(ENGINE)
    if gpu:
        # Resolved by pip: which CUDA libraries fit is known to the wheels only.
        install_list(ENGINE, "engine-gpu.txt", resolve=True)
    else:
        install_torch_for_cpu()
        install_list(ENGINE, "engine-cpu.txt")
    install_list(ENGINE, "models.txt")
    install_project(ENGINE)


def set_up_tests() -> None:
    """What tests need on top of both environments."""
    install_list(PROXY, "test.txt")
    install_list(ENGINE, "engine-test.txt")
    install_postgres()


def set_up_harness() -> None:
    """A foreign tool with some seventy packages of its own, beside everything else."""
    make_environment(HARNESS)
    install_list(HARNESS, "build.txt")
    install_list(HARNESS, "harness.txt")


def install_postgres() -> None:
    """PostgreSQL's server, where it is missing and this may install it; else its tests skip and say so."""
    if list(POSTGRES.glob("*/bin/initdb")) or shutil.which("initdb"):
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        say("note: no PostgreSQL server here, so its tests skip (Debian, Ubuntu: apt install postgresql)")
        return
    say("installing PostgreSQL's server for its tests")
    # RUNLEVEL: the package would start a server of its own, which nobody asked for.
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
        done = subprocess.run([apt, "-qq", *command], check=False, env=os.environ | quiet, stdout=subprocess.DEVNULL)
        if done.returncode:
            say(f"note: apt-get {command[0]} failed (status {done.returncode}): tests of PostgreSQL skip")
            return


def wants_gpu() -> bool:
    """What LETHE_ENGINE says; refused where the machine cannot."""
    wanted = os.environ.get("LETHE_ENGINE", "cpu")
    has_gpu = shutil.which("nvidia-smi") is not None
    if wanted not in {"cpu", "gpu"}:
        raise SetupError(f"LETHE_ENGINE is {wanted!r}; it may be cpu or gpu")
    if wanted == "gpu" and not has_gpu:
        raise SetupError(
            "LETHE_ENGINE=gpu, but there is no nvidia-smi here; install the NVIDIA driver, or leave it out"
        )
    if wanted == "cpu" and has_gpu and not stamp(ENGINE, "engine-cpu.txt").exists():
        say("note: this machine has an NVIDIA GPU; LETHE_ENGINE=gpu would use it")
    return wanted == "gpu"


def install_torch_for_cpu() -> None:
    """torch before the rest, so that a wrong build is noticed before 3 GB are fetched."""
    pin = next(line for line in read_list("engine-cpu.txt") if line.startswith("torch=="))
    if is_stamped(ENGINE, "engine-cpu.txt"):
        return
    say(f"{ENGINE.name}: installing {pin}")
    pip(ENGINE, "--no-deps", *(["--force-reinstall"] if torch_is_for_cuda() else []), pin)
    if torch_is_for_cuda():
        raise SetupError(
            f"pip chose a CUDA build of {pin}, which the CPU build of vLLM cannot use. Your package index has no CPU "
            "build: add PyTorch's own index for CPUs (see pytorch.org, 'Get Started') and run it again, as in\n"
            "    LETHE_PIP_ARGS='--extra-index-url <that index>' make up"
        )


def torch_is_for_cuda() -> bool:
    """Whether the installed torch was built for CUDA. Reads a file: importing torch takes seconds."""
    found = list(ENGINE.glob("lib/python*/site-packages/torch/version.py"))
    if not found:
        return False
    lines = found[0].read_text(encoding="utf-8").splitlines()
    return any(line.startswith("cuda") and not line.rstrip().endswith("None") for line in lines)


def check_python() -> None:
    """Refuse a Python that is too old, naming the cure."""
    if sys.version_info < MIN_PYTHON:
        raise SetupError(
            f"Python {'.'.join(map(str, MIN_PYTHON))} or newer is needed, this is {sys.version.split()[0]}; "
            "install one and say which: make PYTHON=python3.12 up"
        )


def make_environment(folder: Path) -> None:
    """A virtual environment whose Python runs; one that is broken (half made, or its Python is gone) is made anew."""
    python = folder / "bin" / "python"
    if python.exists():
        works = subprocess.run([python, "-c", "import pip"], check=False, capture_output=True)
        if works.returncode == 0:
            return
    check_disk(folder)
    if folder.exists():
        say(f"{folder.name} is broken; making it anew")
        shutil.rmtree(folder)
    say(f"making {folder.name}")
    made = subprocess.run([sys.executable, "-m", "venv", folder], check=False, capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise SetupError(
            f"{sys.executable} cannot make an environment:\n{made.stdout}{made.stderr}"
            "On Debian and Ubuntu: apt install python3-venv"
        )


def check_disk(folder: Path) -> None:
    """Refuse to begin what the disk cannot hold."""
    free, needed = shutil.disk_usage(folder.parent).free, NEEDED_BYTES[folder]
    if free < needed:
        raise SetupError(
            f"{folder.name} needs {needed / 1e9:.1f} GB, the disk of {folder.parent} has {free / 1e9:.1f} GB left; "
            "free some space"
        )


def install_list(folder: Path, name: str, *, resolve: bool = False) -> None:
    """Install a list. The lists are complete, so pip need not (and, beside a CPU torch, must not) resolve anything."""
    if is_stamped(folder, name):
        return
    check_disk(folder)
    say(f"{folder.name}: installing {name} ({len(read_list(name))} packages)")
    started = time.monotonic()
    pip(folder, *([] if resolve else ["--no-deps"]), "-r", str(LISTS / name))
    write_stamp(folder, name)
    say(f"{folder.name}: {name} done in {time.monotonic() - started:.0f} s")


def install_project(folder: Path) -> None:
    """The project itself, editable: `lethe` and the plugin entry point appear, the code stays where it is."""
    if is_stamped(folder, "pyproject.toml"):
        return
    # `compat` puts the checkout on the path, so that packages added later are found too.
    pip(folder, "--no-deps", "--no-build-isolation", "--config-settings", "editable_mode=compat", "-e", str(ROOT))
    write_stamp(folder, "pyproject.toml")


def pip(folder: Path, *arguments: str) -> None:
    """`pip install` in an environment; quiet where nobody watches."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    extra = shlex.split(os.environ.get("LETHE_PIP_ARGS", ""))
    command = [folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *quiet]
    subprocess.run([*command, *extra, *arguments], check=True)


def read_list(name: str) -> list[str]:
    """The requirements of a list, without comments."""
    lines = (LISTS / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def stamp(folder: Path, name: str) -> Path:
    """The file that says that a list is installed."""
    return folder / STAMPS / name


def is_stamped(folder: Path, name: str) -> bool:
    """Whether exactly this list is installed."""
    path = stamp(folder, name)
    return path.exists() and path.read_text(encoding="utf-8") == digest(name)


def write_stamp(folder: Path, name: str) -> None:
    """Note that a list is installed; by renaming, so that it is there whole or not at all."""
    path = stamp(folder, name)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(digest(name), encoding="utf-8")
    partial.replace(path)


def digest(name: str) -> str:
    """Hash of a list (or of pyproject.toml, which says what the project installs)."""
    path = ROOT / name if name == "pyproject.toml" else LISTS / name
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two set-ups of one checkout wait for each other. The lock dies with its process."""
    with Path(__file__).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this checkout is running; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
