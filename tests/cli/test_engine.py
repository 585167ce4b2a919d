"""`lethe engine`: what it starts, with a stand-in for vLLM that tells what it was given."""

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.engine.command import Device, EngineOptions
from proxy.engine.errors import EngineNotInstalled
from proxy.engine.preflight import check_before_start
from tests.clients.system import clean_environment, lethe
from tests.conftest import unused_port

TELLS = "import json, os, sys; print(json.dumps({'argv': sys.argv[1:], 'key': os.environ.get('VLLM_API_KEY')}))"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Settings that put the stand-in where vLLM would be."""
    python, model = tmp_path / "python", tmp_path / "model"
    # It is asked by -c whether it has vLLM, and Lethe's plug-in.
    answer = '[ "$1" = -c ] && case "$2" in *plugins*) exit ${NO_PLUGIN:-0};; *) exit 0;; esac'
    script = f'#!/bin/sh\n{answer}\nexec "{sys.executable}" -I -S -c "{TELLS}" "$@"\n'
    python.write_text(script)
    python.chmod(0o755)
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"num_hidden_layers": 30}))
    return clean_environment(
        LETHE_STATE=str(tmp_path / "state"),
        LETHE_ENGINE__PYTHON=str(python),
        LETHE_ENGINE__MODEL=str(model),
        LETHE_ENGINE__KV_CACHE_GIB="1",
        LETHE_ENGINE__PORT=str(unused_port()),
    )


def test_its_key_can_be_found_by_who_runs_it_and_nobody_else(tmp_path: Path, settings: dict[str, str]):
    done = lethe("engine", "--auxiliary", "layers:8", "--auxiliary", "layers:8", env=settings)
    assert done.returncode == 0, done.stderr
    first, told = done.stdout.splitlines()
    kept = tmp_path / "state" / "engine.key"
    assert first == f"engine key: {kept}"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    given = json.loads(told)
    assert given["key"] == kept.read_text()
    assert given["key"] not in done.stderr + " ".join(given["argv"])
    additional = json.loads(given["argv"][given["argv"].index("--additional-config") + 1])
    assert [one["name"] for one in additional["lethe"]["auxiliaries"]] == ["a0", "a1"]


def test_a_state_folder_that_cannot_be_is_told_before_anything_starts(tmp_path: Path, settings: dict[str, str]):
    (tmp_path / "file").touch()
    done = lethe("engine", env={**settings, "LETHE_STATE": str(tmp_path / "file")})
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the state folder {tmp_path / 'file'} cannot be used (file exists): check")
    assert len(done.stderr.splitlines()) == 1


def test_a_key_of_the_configuration_is_taken(tmp_path: Path, settings: dict[str, str]):
    done = lethe("engine", env={**settings, "LETHE_UPSTREAM__API_KEY": "a-key-of-ours"})
    assert json.loads(done.stdout)["key"] == "a-key-of-ours"
    assert not (tmp_path / "state" / "engine.key").exists()


@pytest.mark.parametrize(
    ("slot", "said", "code"),
    [
        ("layers:31", "first 31 layers of a base that has 30", 1),
        ("checkpoint:/nowhere", "/nowhere holds no checkpoint", 1),
        ("layers", "'layers' is neither layers:NUMBER nor checkpoint:FOLDER", 3),
    ],
)
def test_a_slot_that_cannot_be_is_told_before_anything_starts(
    settings: dict[str, str], slot: str, said: str, code: int
):
    done = lethe("engine", "--auxiliary", slot, env=settings)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_an_environment_without_the_plug_in_is_told_before_anything_starts(settings: dict[str, str]):
    done = lethe("engine", "--auxiliary", "layers:8", env={**settings, "NO_PLUGIN": "1"})
    assert (done.returncode, done.stdout) == (1, "")
    assert "has vLLM but not Lethe's plug-in" in done.stderr


def test_on_a_cpu_it_is_asked_for_without_slots_too(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """There it mends what a seed does to vLLM."""
    monkeypatch.setenv("NO_PLUGIN", "1")
    python, model = (Path(settings[f"LETHE_ENGINE__{name}"]) for name in ("PYTHON", "MODEL"))
    options = EngineOptions(python=python, model=model, served_model_name="base", port=unused_port(), kv_cache_gib=1)
    with pytest.raises(EngineNotInstalled, match="plug-in"):
        check_before_start(options, tmp_path / "state")
    check_before_start(replace(options, device=Device.GPU), tmp_path / "state")
