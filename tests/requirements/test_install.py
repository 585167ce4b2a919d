"""The set-up script, with a pip that only notes what it was asked for; and what must hold for the pinned lists."""

import ast
import importlib.util
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

LISTS = Path(__file__).resolve().parents[2] / "requirements"


def load(name: str) -> types.ModuleType:
    """A script of requirements/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"requirements_{name}", LISTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """The script on a checkout of its own, without a GPU."""
    module = load("install")
    lists = tmp_path / "requirements"
    lists.mkdir()
    for name in ("build", "proxy", "engine-cpu", "engine-gpu", "models", "test", "engine-test"):
        (lists / f"{name}.txt").write_text(f"# {name}\ntorch==2.13.0\n{name}-thing==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    proxy, engine = tmp_path / ".venv", tmp_path / ".venv-engine"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "LISTS", lists)
    monkeypatch.setattr(module, "PROXY", proxy)
    monkeypatch.setattr(module, "ENGINE", engine)
    monkeypatch.setattr(module, "NEEDED_BYTES", {proxy: 1, engine: 1})
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    (tmp_path / "postgresql" / "15" / "bin").mkdir(parents=True)
    (tmp_path / "postgresql" / "15" / "bin" / "initdb").touch()
    monkeypatch.setattr(module, "POSTGRES", tmp_path / "postgresql")
    monkeypatch.delenv("LETHE_ENGINE", raising=False)
    module.asked = []
    monkeypatch.setattr(module, "pip", lambda folder, *arguments: module.asked.append((folder.name, *arguments)))
    monkeypatch.setattr(module, "make_environment", lambda folder: folder.mkdir(exist_ok=True))
    yield module
    del sys.modules["requirements_install"]


def lists_asked_for(install: types.ModuleType) -> list[str]:
    return [Path(arguments[-1]).name for _, *arguments in install.asked if "-r" in arguments]


def test_a_second_run_asks_pip_for_nothing(install: types.ModuleType):
    assert install.main(["proxy", "engine", "test"]) == 0
    names = ["build.txt", "proxy.txt", "engine-cpu.txt", "models.txt", "test.txt", "engine-test.txt"]
    assert lists_asked_for(install) == names
    install.asked.clear()
    assert install.main(["proxy", "engine", "test"]) == 0
    assert not install.asked


def test_nothing_is_resolved_beside_a_cpu_torch(install: types.ModuleType):
    install.main(["proxy", "engine", "test"])
    assert all("--no-deps" in call for call in install.asked)


def test_a_changed_list_is_installed_again_and_only_that(install: types.ModuleType):
    install.main(["proxy"])
    install.asked.clear()
    (install.LISTS / "proxy.txt").write_text("proxy-thing==2\n")
    install.main(["proxy"])
    assert lists_asked_for(install) == ["proxy.txt"]
    assert len(install.asked) == 1


def test_a_failed_install_is_told_and_taken_up_where_it_stopped(
    install: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    working = install.pip

    def failing(folder: Path, *arguments: str) -> None:
        if "proxy.txt" in arguments[-1]:
            raise subprocess.CalledProcessError(1, ["pip", "install"])
        working(folder, *arguments)

    monkeypatch.setattr(install, "pip", failing)
    assert install.main(["proxy"]) == 1
    assert "run the same command again" in capsys.readouterr().err
    monkeypatch.setattr(install, "pip", working)
    install.asked.clear()
    assert install.main(["proxy"]) == 0
    assert lists_asked_for(install) == ["proxy.txt"]


def test_an_interruption_is_no_traceback(
    install: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "pip", interrupted)
    assert install.main(["proxy"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_old_python_is_refused_with_the_cure(
    install: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(install, "MIN_PYTHON", (99, 0))
    assert install.main(["proxy"]) == 1
    assert "make PYTHON=" in capsys.readouterr().err
    assert not install.asked


def test_an_older_python_can_read_the_script_as_far_as_the_refusal():
    """Debian 10 and Ubuntu 20.04 have 3.7 and 3.8: what they cannot evaluate is written in annotations only."""
    tree = ast.parse((LISTS / "install.py").read_text("utf-8"), feature_version=(3, 7))
    assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


@pytest.fixture
def pythons(tmp_path: Path) -> Path:
    """A folder with all the commands that make needs, and a Python that is too old."""
    for name in ("bash", "make", "sed", "expand", "env"):
        (tmp_path / name).symlink_to(found if (found := shutil.which(name)) else pytest.skip(f"no {name} here"))
    for name in ("python3", "python3.11"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def make(pythons: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [pythons / "make", "--no-print-directory", f"SHELL={pythons / 'bash'}", *arguments]
    return subprocess.run(
        command, cwd=LISTS.parent, env={"PATH": str(pythons)}, capture_output=True, text=True, check=False
    )


def test_a_machine_without_a_python_that_is_new_enough_is_told_the_cure(pythons: Path):
    refused = make(pythons, "env")
    assert refused.returncode == 2
    assert "Python 3.11 or newer is needed and none was found" in refused.stderr
    assert "make PYTHON=" in refused.stderr
    assert make(pythons, "help").returncode == 0


def test_the_first_python_that_is_new_enough_is_taken(pythons: Path):
    (pythons / "python3.12").write_text("#!/bin/sh\nexit 0\n")
    (pythons / "python3.12").chmod(0o755)
    assert make(pythons, "--dry-run", "env").stdout == "python3.12 requirements/install.py proxy engine\n"
    assert make(pythons, "--dry-run", "PYTHON=other", "env").stdout.startswith("other requirements/install.py")


def test_a_full_disk_is_refused_before_anything_is_fetched(
    install: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(install, "NEEDED_BYTES", {install.PROXY: 10**18, install.ENGINE: 10**18})
    assert install.main(["proxy"]) == 1
    assert "free some space" in capsys.readouterr().err
    assert not install.asked


def test_a_cuda_build_of_torch_is_noticed_before_the_rest_is_fetched(
    install: types.ModuleType, capsys: pytest.CaptureFixture[str]
):
    version = install.ENGINE / "lib" / "python3.11" / "site-packages" / "torch" / "version.py"
    version.parent.mkdir(parents=True)
    version.write_text("__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n")
    assert install.main(["engine"]) == 1
    assert "LETHE_PIP_ARGS=" in capsys.readouterr().err
    assert install.asked == [(".venv-engine", "--no-deps", "--force-reinstall", "torch==2.13.0")]
    version.write_text("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n")
    assert install.main(["engine"]) == 0


@pytest.mark.parametrize(
    ("wanted", "said"), [("gpu", "no nvidia-smi"), ("tpu", "may be cpu or gpu")], ids=["no driver", "unknown"]
)
def test_a_device_that_is_not_here_is_refused(
    install: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wanted: str,
    said: str,
):
    monkeypatch.setenv("LETHE_ENGINE", wanted)
    assert install.main(["engine"]) == 1
    assert said in capsys.readouterr().err


def test_changing_the_device_begins_a_new_environment(install: types.ModuleType, monkeypatch: pytest.MonkeyPatch):
    install.main(["engine"])
    (install.ENGINE / "old").touch()
    monkeypatch.setenv("LETHE_ENGINE", "gpu")
    monkeypatch.setattr(install.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    install.asked.clear()
    assert install.main(["engine"]) == 0
    assert not (install.ENGINE / "old").exists()
    assert lists_asked_for(install) == ["engine-gpu.txt", "models.txt"]
    assert "--no-deps" not in install.asked[0]


@pytest.mark.parametrize(("user", "status"), [(0, 0), (0, 100), (1000, 0)])
def test_postgres_is_installed_where_it_may_be_and_nothing_fails_without_it(
    install: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    user: int,
    status: int,
):
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        ran.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(install, "POSTGRES", tmp_path / "nowhere")
    monkeypatch.setattr(install.shutil, "which", lambda name: "/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(install.os, "geteuid", lambda: user)
    monkeypatch.setattr(install.subprocess, "run", run)
    assert install.main(["proxy", "engine", "test"]) == 0
    said = capfd.readouterr().err
    if user:
        assert not ran
        assert "apt install postgresql" in said
    elif status:
        assert len(ran) == 1
        assert "tests of PostgreSQL skip" in said
    else:
        assert ran[-1][-1] == "postgresql"


def test_an_unknown_target_is_a_usage_error(install: types.ModuleType):
    assert install.main([]) == install.main(["all"]) == 2


def pins(name: str) -> dict[str, str]:
    lock = load("lock")
    return {key: pin.partition("==")[2] for key, pin in lock.pinned_in(name).items()}


@pytest.mark.parametrize(
    "name", ["build", "proxy", "test", "engine-cpu", "engine-gpu", "engine-test", "models", "harness"]
)
def test_every_list_pins_everything_and_holds_no_local_version(name: str):
    versions = pins(f"{name}.txt")
    assert versions
    assert all(version and "+" not in version for version in versions.values())


def test_what_breaks_beside_a_cpu_torch_is_left_out():
    assert not load("lock").LEFT_OUT & set(pins("engine-cpu.txt"))


@pytest.mark.parametrize(
    ("one", "other"), [("engine-test.txt", "test.txt"), ("engine-gpu.txt", "engine-cpu.txt")], ids=["test", "gpu"]
)
def test_lists_that_say_the_same_package_agree(one: str, other: str):
    left, right = pins(one), pins(other)
    assert {name: left[name] for name in left.keys() & right.keys()} == {
        name: right[name] for name in left.keys() & right.keys()
    }


def test_the_proxys_list_holds_what_the_project_asks_for():
    lock = load("lock")
    asked = {lock.normal(lock.name_of(requirement)) for requirement in lock.locks()["proxy"].asked}
    assert asked <= set(pins("proxy.txt"))
