"""The official OpenAI client for JavaScript, before the real engine. Its version is pinned in npm/package-lock.json."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guards.engine import cache
from tests.clients.asking import CAPITAL
from tests.clients.system import Forgetting, System

pytestmark = pytest.mark.engine

NPM = Path(__file__).with_name("npm")
PINNED = ("package.json", "package-lock.json")


@pytest.fixture(scope="session")
def installed() -> Path:
    """A folder of the cache with the pinned client, installed once."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed: the client for JavaScript is not tried")
    pinned = b"".join((NPM / name).read_bytes() for name in PINNED)
    folder = cache.cache_root() / "npm" / hashlib.sha256(pinned).hexdigest()[:16]
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in PINNED:
            shutil.copy(NPM / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            pytest.skip(f"the client for JavaScript cannot be installed here: {done.stderr.strip()[-300:]}")
        (folder / "done").touch()
    return folder


def ask(installed: Path, system: System, question: str) -> dict[str, Any]:
    """What was said on each route."""
    shutil.copy(NPM / "ask.mjs", installed)
    command = ["node", "ask.mjs", system.base_url, system.keys["client"], system.model, question]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_client_for_javascript(installed: Path, system: System, forget: Forgetting):
    said = ask(installed, system, CAPITAL)
    assert "Paris" in said["chat"]
    assert said["chat"] == said["chatStream"]
    assert said["responses"] == said["responsesStream"] == said["responsesFinal"]
    assert "Paris" in said["responses"]
    assert said["completions"]
    assert said["refused"] == {"status": 400, "param": "background", "code": "unsupported_parameter"}

    forget.add(CAPITAL, "Paris")
    said = ask(installed, system, CAPITAL)
    for route in ("chat", "chatStream", "responses", "responsesStream", "responsesFinal"):
        assert said[route]
        assert "Paris" not in said[route]
