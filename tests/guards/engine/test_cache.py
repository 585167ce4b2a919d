"""The model cache: published whole or not at all, damage named with its cure."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guards.engine import cache

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published folder with a file in a subfolder."""
    target = cache.model_folder(tmp_path, "small")
    with cache.publish(target, recipe="r1") as partial:
        (partial / "weights").write_bytes(b"w" * 1000)
        (partial / "sub").mkdir()
        (partial / "sub" / "config").write_text("{}")
    return target


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if path != folder]


def test_a_published_folder_is_whole(folder: Path):
    for full in (False, True):
        manifest = cache.check(folder, full=full)
        assert [record.path for record in manifest.files] == ["sub/config", "weights"]
        assert (manifest.name, manifest.recipe, manifest.size) == ("small", "r1", 1002)
    assert not leftovers(folder)


def test_others_may_read_it(folder: Path):
    assert folder.stat().st_mode & 0o777 == 0o755
    assert (folder / "weights").stat().st_mode & 0o777 == 0o644


def test_nothing_there_is_missing_not_damaged(tmp_path: Path):
    with pytest.raises(cache.CacheMissing, match=r"not prepared.*make models"):
        cache.check(tmp_path / "none")
    assert not cache.is_prepared(tmp_path)


@pytest.mark.parametrize("full", [False, True])
def test_another_size_is_found(folder: Path, full: bool):
    with (folder / "weights").open("ab") as file:
        file.write(b"x")
    with pytest.raises(cache.CacheDamaged, match=r"weights has 1001 bytes instead of 1000; run `make models`"):
        cache.check(folder, full=full)


def test_a_missing_file_is_named(folder: Path):
    (folder / "sub" / "config").unlink()
    with pytest.raises(cache.CacheDamaged, match="sub/config is missing"):
        cache.check(folder)


def test_a_changed_byte_is_found_by_its_time(folder: Path):
    (folder / "weights").write_bytes(b"v" + b"w" * 999)
    with pytest.raises(cache.CacheDamaged, match="weights is damaged"):
        cache.check(folder)


def test_a_flipped_bit_that_keeps_size_and_time_needs_the_full_check(folder: Path):
    weights = folder / "weights"
    before = weights.stat()
    weights.write_bytes(b"v" + b"w" * 999)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    cache.check(folder)
    with pytest.raises(cache.CacheDamaged, match="weights is damaged"):
        cache.check(folder, full=True)


def test_a_copied_cache_is_whole_though_its_times_differ(folder: Path):
    os.utime(folder / "weights", ns=(1, 1))
    cache.check(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "files": [{}]}'])
def test_an_unreadable_manifest_is_damage(folder: Path, text: str):
    (folder / cache.MANIFEST).write_text(text)
    with pytest.raises(cache.CacheDamaged, match=r"manifest\.json cannot be read"):
        cache.check(folder)


def test_a_manifest_of_another_format_is_told(folder: Path):
    manifest = json.loads((folder / cache.MANIFEST).read_text())
    (folder / cache.MANIFEST).write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(cache.CacheDamaged, match="has format 2"):
        cache.check(folder)


def test_a_failed_preparation_leaves_the_old_folder(folder: Path):
    with pytest.raises(RuntimeError, match="half way"), cache.publish(folder, recipe="r2") as partial:
        (partial / "weights").write_bytes(b"n")
        raise RuntimeError("half way")
    assert cache.check(folder, full=True).recipe == "r1"
    assert not leftovers(folder)


def test_a_new_preparation_replaces_the_old(folder: Path):
    with (folder / "weights").open("rb") as still_open:
        with cache.publish(folder, recipe="r2") as partial:
            (partial / "weights").write_bytes(b"n")
        assert still_open.read(1) == b"w"
    assert cache.check(folder, full=True).recipe == "r2"
    assert not leftovers(folder)


KILLED = """
import sys, time
from pathlib import Path
from guards.engine import cache
root = Path(sys.argv[1])
with cache.locked(root, lambda: None), cache.publish(cache.model_folder(root, "small"), recipe="r"):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_killed_preparation_is_as_if_it_never_began(tmp_path: Path):
    victim = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert victim.stdout.readline() == b"in\n"
    waited: list[bool] = []
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    target = cache.model_folder(tmp_path, "small")
    with pytest.raises(cache.CacheMissing):
        cache.check(target)
    with cache.locked(tmp_path, lambda: waited.append(True)):  # a dead owner's lock is free
        assert leftovers(target)
        cache.sweep(target)
        assert not leftovers(target)
    assert not waited


def test_the_second_writer_waits_and_says_so(tmp_path: Path):
    first = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert first.stdout.readline() == b"in\n"
    started = time.monotonic()
    with cache.locked(tmp_path, first.kill):
        assert time.monotonic() - started < 10
    assert first.wait() == -signal.SIGKILL
    first.stdout.close()


def test_the_root_is_the_argument_else_the_environment_else_the_home():
    assert cache.cache_root("/a", {"LETHE_CACHE": "/b"}) == Path("/a")
    assert cache.cache_root(None, {"LETHE_CACHE": "/b"}) == Path("/b")
    assert cache.cache_root(None, {}) == Path.home() / ".cache" / "lethe"
