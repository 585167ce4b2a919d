"""Checks before the engine is started: the common faults are told in a second, not in a traceback after forty.

Blocks briefly: the supervisor calls it off the event loop.
"""

import contextlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

from guards.engine import cache
from guards.engine.launch import Auxiliary
from proxy.engine.command import Device, EngineOptions
from proxy.engine.discovery import available_memory, check_engine_python, check_plugin
from proxy.engine.errors import ModelUnusable, NotEnoughRoom, PortTaken

MIN_FREE_DISK_BYTES = 100 * 1024**2  # logs, and vLLM's small caches
# Front end and engine core without weights and KV cache: measured 1.6 GB.
OVERHEAD_BYTES = 1700 * 1024**2
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_GIB = 1024**3
_LISTEN = "0A"  # state column of /proc/net/tcp


def check_before_start(options: EngineOptions, state: Path) -> None:
    """Raises the EngineUnavailable that fits when `options` cannot work here; creates the state directory."""
    check_engine_python(options.python)
    check_model(options)
    if options.auxiliaries or options.device is Device.CPU:
        check_plugin(options.python)
    if options.auxiliaries:
        check_auxiliaries(options)
    check_room(options, state)
    check_port(options.host, options.port)


def check_model(options: EngineOptions) -> None:
    """Raises ModelUnusable for a folder that is no checkpoint, or not the one that was prepared."""
    folder = options.model_folder
    if folder is None:
        return
    if not folder.is_dir():
        raise ModelUnusable(f"the model folder {folder} does not exist; {cache.CURE}, or set engine.model")
    try:
        if cache.is_prepared(folder):
            cache.check(folder)
    except cache.CacheError as error:
        raise ModelUnusable(str(error)) from error
    if not (folder / "config.json").is_file():
        raise ModelUnusable(f"{folder} holds no checkpoint (no config.json); set engine.model to a folder that does")


def check_auxiliaries(options: EngineOptions) -> None:
    """Raises ModelUnusable for an auxiliary that is not there, is longer than the base, or speaks other tokens.

    Logits are added token by token: with another vocabulary an offset would suppress tokens at random.
    """
    base = options.model_folder
    if base is None:  # a hub name: what it is, vLLM finds out
        return
    for auxiliary in options.auxiliaries:
        if auxiliary.kind == "layers":
            depth = _json_of(base / "config.json").get("num_hidden_layers")
            if isinstance(depth, int) and (auxiliary.layers or 0) > depth:
                raise ModelUnusable(
                    f"auxiliary '{auxiliary.name}' takes the first {auxiliary.layers} layers of a base that has "
                    f"{depth}: lower it in engine.auxiliaries"
                )
        else:
            _check_checkpoint(base, auxiliary)


def _check_checkpoint(base: Path, auxiliary: Auxiliary) -> None:
    folder = Path(auxiliary.model or "").expanduser()
    if not (folder / "config.json").is_file():
        raise ModelUnusable(
            f"auxiliary '{auxiliary.name}': {folder} holds no checkpoint (no config.json); "
            "set engine.auxiliaries to checkpoint:FOLDER with a folder that does"
        )
    ours, theirs = _vocabulary(base), _vocabulary(folder)
    if ours and theirs and ours != theirs:
        differ = len(ours.items() ^ theirs.items())
        raise ModelUnusable(
            f"auxiliary '{auxiliary.name}' does not share the base's tokenizer ({differ} tokens differ): an offset "
            "needs a model of the same family"
        )
    if not theirs:  # a checkpoint alone: then at least the size must fit
        sizes = [_json_of(place / "config.json").get("vocab_size") for place in (base, folder)]
        if sizes[0] != sizes[1]:
            raise ModelUnusable(
                f"auxiliary '{auxiliary.name}' has a vocabulary of {sizes[1]}, the base of {sizes[0]}: an offset needs "
                "a model of the same family"
            )


def _vocabulary(folder: Path) -> dict[str, int]:
    """Tokens and their ids from tokenizer.json, the added ones included; empty where there is none."""
    stored = _json_of(folder / "tokenizer.json")
    try:
        listed = stored["model"]["vocab"]
        pairs = listed if isinstance(listed, dict) else {token: number for number, (token, _) in enumerate(listed)}
        return {**pairs, **{added["content"]: added["id"] for added in stored.get("added_tokens", ())}}
    except (LookupError, TypeError, ValueError):
        return {}


def _json_of(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def check_room(options: EngineOptions, state: Path) -> None:
    """Raises NotEnoughRoom for a full disk, and on a CPU for too little memory."""
    state.mkdir(parents=True, exist_ok=True)
    free_disk = shutil.disk_usage(state).free
    if free_disk < MIN_FREE_DISK_BYTES:
        raise NotEnoughRoom(f"the disk of {state} has {free_disk / 1e6:.0f} MB left; free some space")
    free = available_memory()
    if options.device is Device.CPU and free is not None:
        needed = memory_needed(options)
        if free < needed:
            raise NotEnoughRoom(
                f"the engine needs about {needed / _GIB:.1f} GiB of memory ({options.kv_cache_gib} GiB of it KV cache) "
                f"and {free / _GIB:.1f} GiB are free; lower engine.kv_cache_gib, or stop something else"
            )


def memory_needed(options: EngineOptions) -> int:
    """Bytes the engine will take on a CPU, from the size of the weights: stored in 16 bits, they are held in 32."""
    # Auxiliaries of kind `layers` share the base's weights.
    folders = [options.model_folder, *(Path(one.model).expanduser() for one in options.auxiliaries if one.model)]
    stored = sum(path.stat().st_size for folder in folders if folder for kind in _WEIGHTS for path in folder.glob(kind))
    return 2 * stored + options.kv_cache_gib * _GIB + OVERHEAD_BYTES


def check_port(host: str, port: int) -> None:
    """Raises PortTaken, naming the process where it can be found.

    vLLM itself would not notice: it binds with SO_REUSEPORT, and two servers of one user then share the connections.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            owner = port_owner(port)
            raise PortTaken(
                f"port {port} on {host} is taken{f' by {owner}' if owner else ''} ({error.strerror}); "
                "stop it, or set engine.port to a free one"
            ) from error


def port_owner(port: int) -> str | None:
    """Name and number of the process that listens on a TCP port; None where that cannot be seen."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        with contextlib.suppress(OSError):  # another user's, or gone
            if any(str(descriptor.readlink()) in sockets for descriptor in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text(encoding='utf-8').strip()} (process {process.name})"
    return None
