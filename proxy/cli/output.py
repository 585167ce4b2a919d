"""What commands print: tables for people, JSON for programs; and how they fail.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 configuration wrong, 4 not allowed, 5 not found, 130 interrupted.

Texts are never taken for markup, whatever stands in them. Lines are not wrapped: a terminal does that, and an id or a
path that was broken into pieces cannot be copied.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click
import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

FAILED, USAGE, CONFIG_WRONG, NOT_ALLOWED, NOT_FOUND, INTERRUPTED = 1, 2, 3, 4, 5, 130

MAX_CELL = 120  # characters of a text in a table: enough to recognise it

NARROW_TEXT = 24  # columns that a text keeps on the narrowest terminal

WIDEST = 10_000  # columns where there is no terminal: each row stays one line

people = Console()
warnings = Console(stderr=True)

Part = str | tuple[str, str]
"""A text, or a text with a style of rich."""


def json_option(command: Any) -> Any:
    """`--json` on a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")(command)


def print_json(value: Any) -> None:
    """A JSON value on standard output."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def say(*parts: Part) -> None:
    """One line, or several, on standard output."""
    people.print(Text.assemble(*parts), soft_wrap=True, highlight=False)


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str, *, texts: Sequence[str] = ("label",)
) -> None:
    """Rows as a table without empty columns, or a sentence where there are no rows.

    Cells of `texts` take several lines where the terminal is narrow. All others stay whole, even beyond its width.
    """
    if not rows:
        say(empty)
        return
    cells = {column: [_cell(row.get(column)) for row in rows] for column in columns}
    shown = {column: column.replace("_", " ") for column in columns if any(cells[column])}
    table = Table(box=None, header_style="bold", pad_edge=False)
    needed = 0
    for column, title in shown.items():
        least = max(map(cell_len, (title, *cells[column])))
        if column in texts:
            least = min(least, NARROW_TEXT)
        table.add_column(title, overflow="fold", min_width=least)
        needed += least + len("  ")
    for row in zip(*(cells[column] for column in shown), strict=True):
        table.add_row(*map(Text, row))
    wide = Console(width=max(people.width, needed) if people.is_terminal else WIDEST)
    with wide.capture() as printed:
        wide.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Ends the command with a message on standard error."""
    aligned = message.replace("\n", "\n       ")
    warnings.print(Text.assemble(("error: ", "red"), aligned), soft_wrap=True, highlight=False)
    sys.exit(code)


def count(number: int, one: str, several: str | None = None) -> str:
    """`1 entry`, `2 entries`."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def _cell(value: Any) -> str:
    text = " ".join(("" if value is None else str(value)).split())
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1].rstrip() + "…"
