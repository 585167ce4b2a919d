"""Tests of what runs inside vLLM. Where torch or vLLM are missing, only the contract's tests are collected."""

import os
from importlib.util import find_spec
from pathlib import Path

from tests.properties import settle

settle()

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_VLLM = {"test_contract.py", "test_launch.py"}

if not (find_spec("torch") and find_spec("vllm")):
    collect_ignore = sorted(path.name for path in Path(__file__).parent.glob("*.py") if path.name not in WITHOUT_VLLM)

# Children (vLLM's engine, the import test) find the project whatever the working directory is.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
