"""How far long work has come: a bar with the time left on a terminal; for an import, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

EVERY_S = 10.0  # between two lines where nobody watches


class Working:
    """Shows first how many lines were checked, then how many entries were sent."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("checking", total=None)
        self._sent = 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> "Working":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def checked(self, lines: int) -> None:
        """So many lines were looked at."""
        self._bar.update(self._task, completed=lines)
        self._began = time.monotonic()

    def sent(self, entries: int, total: int) -> None:
        """So many more entries are in force."""
        if not self._sent:
            self._bar.reset(self._task, description="importing", total=total)
        self._sent += entries
        self._bar.update(self._task, completed=self._sent)
        now = time.monotonic()
        if self._bar.disable and now - self._said >= EVERY_S:
            self._said = now
            rate = self._sent / max(1e-9, now - self._began)
            left = (total - self._sent) / rate
            self._console.print(
                f"imported {self._sent} of {total}, {rate:.0f}/s, {left:.0f} s left", soft_wrap=True, highlight=False
            )


class Step(Protocol):
    """Takes note of so many pieces more, and of what is worked on from now on."""

    def __call__(self, number: int = 0, *, name: str | None = None) -> None: ...


@contextmanager
def counted(console: Console, name: str, total: int) -> Iterator[Step]:
    """A bar for a known number of pieces, on a terminal only."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(name, total=total)

        def step(number: int = 0, *, name: str | None = None) -> None:
            bar.update(task, advance=number, description=name)

        yield step


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")
