"""The folder of a run: `settings.json`, `answers.jsonl`, `scores.jsonl`, `summary.json`.

A run that was interrupted goes on where it stopped when it is started with the same settings; arms and items may be
added. The folder holds what the model said, in clear: it is readable by its owner only.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from evals.runs.client import RunError
from evals.suites.items import Item, Role, Task

ANSWERS, SCORES, SETTINGS, SUMMARY = "answers.jsonl", "scores.jsonl", "settings.json", "summary.json"
ITEMS = "items.jsonl"

GROWING = ("arms", "items", "files", "score_limit")
"""Settings that may differ when a run goes on."""

_LISTS = ("wrong", "options")


class RunFolder:
    """Files of one run. Lines are whole: one is written and flushed when its answer is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, settings: Mapping[str, Any]) -> None:
        """Makes the folder, or goes on with it. Raises RunError where it holds a run with other settings."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise RunError(f"the folder {self.path} cannot be made ({type(error).__name__}): choose --out") from None
        before = self.find(SETTINGS)
        if before is not None:
            changed = [
                name
                for name in sorted({*settings, *before})
                if name not in GROWING and settings.get(name) != before.get(name)
            ]
            if changed:
                raise RunError(
                    f"{self.path} holds a run with other settings ({', '.join(changed)}): choose another --out"
                )
        self.write(SETTINGS, settings)

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The records of a file; a line that an interruption left half written is left out."""
        try:
            raw = (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return
        for line in raw.split(b"\n"):
            with suppress(orjson.JSONDecodeError):
                yield orjson.loads(line)

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Adds one line."""
        with os.fdopen(os.open(self.path / name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:  # a line that an interruption left half written must not swallow the next one
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(orjson.dumps(record) + b"\n")

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Replaces a file, whole or not at all."""
        self._replace(name, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")

    def must_hold(self, items: Iterable[Item]) -> None:
        """Raises RunError where the folder holds another question or answer under the name of an item: what was said to
        the one would be judged by the other."""
        before = {item.id: item for item in self.items()}
        if changed := [item.id for item in items if before.get(item.id, item) != item]:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise RunError(f"{self.path} holds a run on other rows ({changed[0]}{more}): choose another --out")

    def write_items(self, items: Iterable[Item]) -> None:
        """Keeps what is asked, so that the run can be judged and reported without the suite's files."""
        self._replace(ITEMS, b"".join(orjson.dumps(asdict(item)) + b"\n" for item in items))

    def items(self) -> list[Item]:
        """What was asked."""
        return [
            Item(
                **{**line, "role": Role(line["role"]), "task": Task(line["task"])} | {n: tuple(line[n]) for n in _LISTS}
            )
            for line in self.lines(ITEMS)
        ]

    def _replace(self, name: str, raw: bytes) -> None:
        partial = self.path / f".{name}.partial"
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(raw)
        partial.replace(self.path / name)

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file. Raises RunError where it is missing."""
        found = self.find(name)
        if found is None:
            raise RunError(f"{self.path} is not the folder of a finished run: it has no {name}")
        return found

    def remove(self, name: str) -> None:
        """Takes a file away."""
        (self.path / name).unlink(missing_ok=True)

    def find(self, name: str) -> dict[str, Any] | None:
        """A JSON file, or None where it is missing. Raises RunError where it is damaged."""
        try:
            found: Any = orjson.loads((self.path / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except orjson.JSONDecodeError:
            found = None
        except OSError as error:
            raise RunError(f"{self.path / name} cannot be read ({error.strerror})") from None
        if not isinstance(found, dict):
            raise RunError(f"{self.path / name} is damaged: choose another --out")
        return found
