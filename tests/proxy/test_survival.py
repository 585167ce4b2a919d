"""A whole server that is killed while its index goes over to files, and from one embedder to another.

What was acknowledged is in force after the next start, and nothing else is.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexes.entries import Entry, State
from indexes.generation import Generation
from indexes.matches import Via
from indexes.scan import scan_of
from indexes.windows import windows_of
from proxy.app import running
from proxy.catalogue import snapshots
from tests.proxy import survivor
from tests.proxy.survivor import SET, config, two_embedders

ROOT = Path(__file__).parents[2]
MOMENTS = (("snapshot_opened", 2), ("embedder_swapped", 1), ("snapshot_made", 1), ("embedder_change_began", 2))
"""At which each life ends, and the how manieth time that they come."""


class Said:
    """What the server was heard to say, over all its lives."""

    def __init__(self) -> None:
        self.added: set[str] = set()
        self.state: dict[str, str] = {}
        self.doubtful: set[str] = set()
        self.events: list[str] = []

    def hear(self, line: str) -> None:
        what, *rest = line.split()
        if what == "added":
            self.added.add(rest[0])
        elif what == "changing":
            self.doubtful.add(rest[0])
        elif what in ("disabled", "removed"):
            self.state[rest[0]] = what
            self.doubtful.remove(rest[0])
        elif what == "log":
            self.events.append(rest[0])


def lives_until(moment: str, times: int, state: Path, said: Said) -> None:
    """One life of the server; it is killed when it says so for the so manieth time."""
    command = [sys.executable, "-m", survivor.__name__, str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ) as child:
        assert child.stdout is not None
        seen = 0
        for line in child.stdout:
            said.hear(line)
            seen += line.split() == ["log", moment]
            if seen == times:
                break
        child.kill()
        for line in child.stdout:  # what it had said before it was gone
            if line.endswith("\n"):
                said.hear(line)
    assert child.returncode == -signal.SIGKILL


def test_it_is_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "LOOK_S", 3600.0)
    said = Said()
    for moment, times in MOMENTS:
        lives_until(moment, times, tmp_path, said)
        there = asyncio.run(looked_at(tmp_path, said))
        said.doubtful.clear()  # from here on it is what it is
        said.added &= set(there)
        said.state = {i: "disabled" for i, entry in there.items() if entry.state is State.DISABLED}
    assert len(said.added) > 20
    assert "embedder_change_failed" not in said.events


async def looked_at(state: Path, said: Said) -> dict[str, Entry]:
    """What is there when the server is started again: what was acknowledged, and all of it in force."""
    with two_embedders():
        async with running(config(state)) as server:
            there = {entry.id: entry for entry in await server.catalogue.entries(SET, "", 1_000_000)}
            assert_kept(there, said)
            assert_in_force(server.catalogue.current, there)
            return there


def assert_kept(there: dict[str, Entry], said: Said) -> None:
    for entry_id in said.added - said.doubtful:
        told = said.state.get(entry_id)
        assert (entry_id in there) == (told != "removed")
        assert told == "removed" or (there[entry_id].state is State.DISABLED) == (told == "disabled")


def assert_in_force(generation: Generation, there: dict[str, Entry]) -> None:
    active = {entry_id for entry_id, entry in there.items() if entry.state is State.ACTIVE}
    assert generation.entry_count == len(active)
    embedder = generation.reading.embedder  # type: ignore[attr-defined]
    for entry_id, entry in there.items():
        text = entry.texts[0] if entry.texts else f"Who is {entry.names[0]}?"
        windows = windows_of(text)
        scan = scan_of(windows, embedder.embed([window.text for window in windows]), text)
        found = {
            match.entry_id
            for match in generation.matches(0, scan)
            if match.via is Via.NAME or (match.terms is not None and match.terms.similarity > 0.999)
        }
        assert (entry_id in found) == (entry_id in active), entry_id
