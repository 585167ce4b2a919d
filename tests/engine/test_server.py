"""The whole of it as it is deployed: a vLLM server started with our arguments, its children, HTTP; and two ranks."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from serving import Request, engine, entry_point_folder, serve
from test_exact import TOLERANCE, assert_greedy, prompt
from test_layers import LAYERS, reference, shorten, write_adapter, write_served
from tiny import VOCAB, follow, load, write_checkpoint
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from vllm.lora.request import LoRARequest

from guards.engine.contract import Arming, request_fields
from guards.engine.launch import Auxiliary, EngineConfig, engine_arguments, engine_environment

START_LIMIT = 600  # seconds; 45 on two idle cores, imports included; tests of others may run beside
SERVER = ["-m", "vllm.entrypoints.openai.api_server", "--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]
CHUNK = 16  # tokens a step: prompts are read in chunks


def call(url: str, body: dict | None = None) -> dict:
    payload = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, payload, {"Content-Type": "application/json"})  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
        text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else {"text": text}


@contextmanager
def server(folder: Path, arguments: list[str]):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        **engine_environment("v1"),
        "PYTHONPATH": f"{os.environ['PYTHONPATH']}{os.pathsep}{entry_point_folder()}",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "0",
    }
    command = [sys.executable, *SERVER, "--model", str(folder), "--served-model-name", "base", "--host", "127.0.0.1"]
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(
        [*command, "--port", str(port), *arguments], env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        url, give_up = f"http://127.0.0.1:{port}", time.monotonic() + START_LIMIT
        while True:
            try:
                call(f"{url}/health")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, (folder / "server.log").read_text()[-3000:]
                assert time.monotonic() < give_up, "the server did not start in time"
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def write_tokenizer(folder: Path) -> None:
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="w1", eos_token="w2", pad_token="w0").save_pretrained(
        folder
    )


def test_over_http(tmp_path):
    base = write_checkpoint(tmp_path / "base", "llama", 1)
    forget = write_checkpoint(tmp_path / "forget", "llama", 3, num_hidden_layers=1)
    write_tokenizer(base)
    part = write_adapter(base, tmp_path / "part", seed=5)
    adapter = write_served({1: part}, tmp_path / "adapter")
    config = EngineConfig([
        Auxiliary("forget", "checkpoint", model=str(forget)),
        Auxiliary("assistant", "layers", layers=LAYERS),
    ])  # fmt: skip
    words = prompt(3, 30)
    body = {"model": "base", "prompt": words, "max_tokens": 12, "temperature": 0, "logprobs": 5, "ignore_eos": True}

    def ask(arming: Arming | None, **changes) -> tuple[list[int], list[float]]:
        fields = request_fields(arming, adapter="assistant-1" if changes.pop("worn", False) else None)
        choice = call(f"{url}/v1/completions", {**body, **fields, **changes})["choices"][0]["logprobs"]
        return [int(word[1:]) for word in choice["tokens"]], choice["token_logprobs"]

    def assert_exact(arming: Arming | None, parts: dict, **changes) -> None:
        tokens, logprobs = ask(arming, **changes)
        rows = follow(load(base), parts, words, tokens, arming)
        assert_greedy(tokens, rows)
        want = rows.log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])[:, 0]
        assert (torch.tensor(logprobs) - want).abs().max() < TOLERANCE

    chunked = ["--max-num-seqs", "8", "--max-num-batched-tokens", str(CHUNK)]
    with server(base, [*engine_arguments(config, runner="v1", max_lora_rank=8), *chunked]) as url:
        assert_exact(None, {})
        assert_exact(Arming({"forget": -0.75}), {"forget": load(forget)})
        call(f"{url}/v1/load_lora_adapter", {"lora_name": "assistant-1", "lora_path": str(adapter)})
        worn = reference(base, {"assistant": part}) | {"forget": load(forget)}
        assert_exact(Arming({"forget": 0.5, "assistant": -0.75}), worn, worn=True)
        assert_exact(None, {})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(None, vllm_xargs={"lethe_weights": [1.0]})
        sampled = {"temperature": 1.0, "seed": 5}  # ends an engine that is not mended, see `seeds`
        once = ask(None, **sampled, prompt=prompt(4, 4 * CHUNK), cache_salt="once")[0]
        assert ask(None, **sampled, prompt=prompt(4, 4 * CHUNK), cache_salt="again")[0] == once
        assert_exact(None, {})


def test_two_tensor_parallel_ranks(tmp_path, monkeypatch):
    base = write_checkpoint(tmp_path / "base", "llama", 1)
    forget = write_checkpoint(tmp_path / "forget", "llama", 3, num_hidden_layers=1)
    entry_point = str(entry_point_folder())
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}{os.pathsep}{entry_point}")
    monkeypatch.syspath_prepend(entry_point)  # spawned ranks take the parent's path over
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
    config = EngineConfig([
        Auxiliary("forget", "checkpoint", model=str(forget)),
        Auxiliary("short", "layers", layers=LAYERS),
    ])  # fmt: skip
    arming = Arming({"forget": -0.75, "short": 0.5})
    part = write_adapter(base, tmp_path / "part", seed=5)
    adapter = LoRARequest("one", 1, str(write_served({1: part}, tmp_path / "one")))
    requests = [
        Request(prompt(1, 20), None),
        Request(prompt(2, 20), arming),
        Request(prompt(3, 20), Arming({"short": -0.75}), adapter=adapter),
    ]
    ranks = {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"}
    with engine(base, config, enable_lora=True, max_lora_rank=8, **ranks) as llm:
        serve(llm, requests)
    auxiliaries = {"forget": load(forget), "short": shorten(load(base))}
    for request in requests:
        worn = reference(base, {"short": part}) if request.adapter else auxiliaries
        rows = follow(load(base), worn, request.prompt, request.tokens, request.arming)
        assert_greedy(request.tokens, rows)
        assert (request.rows - rows).abs().max() < TOLERANCE
