"""What a suite is made of: items to ask, each with what would be right and whether it should still be known."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from evals.gate.rows import RowsError, rows

LETTERS = "ABCDEFGHIJ"


class Role(StrEnum):
    """What is hoped for: `forget` items should no longer be answered, `keep` items should; `unseen` ones never were
    known to the model and show what not knowing looks like."""

    FORGET = "forget"
    KEEP = "keep"
    UNSEEN = "unseen"


class Task(StrEnum):
    """How an item is put: a question in a chat, a choice among lettered options, a text to go on with."""

    ANSWER = "answer"
    CHOOSE = "choose"
    CONTINUE = "continue"


@dataclass(frozen=True, repr=False)
class Item:
    """One thing to ask. `id` is unique in its suite and the same from run to run."""

    id: str
    subset: str
    role: Role
    question: str
    answer: str
    task: Task = Task.ANSWER
    language: str = "en"
    reworded: str = ""
    """The question in other words."""
    paraphrase: str = ""
    """The answer in other words, for the truth ratio."""
    wrong: tuple[str, ...] = ()
    """Wrong answers of the same form; for a choice, all options but the right one."""
    options: tuple[str, ...] = ()
    """Of a choice, in order, the right one among them."""

    def __repr__(self) -> str:
        return f"Item({self.id!r}, {self.role.value}, {self.task.value})"

    @property
    def prompt(self) -> str:
        """What the model is sent."""
        if self.task is not Task.CHOOSE:
            return self.question
        listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, self.options, strict=False))
        return f"{self.question}\n{listed}\nAnswer with the letter of the right option only."

    @property
    def right_letter(self) -> str:
        """Of a choice."""
        return LETTERS[self.options.index(self.answer)]


@dataclass(frozen=True)
class Suite:
    """Items and where they come from: SHA-256 of each file that was read, by name."""

    name: str
    items: tuple[Item, ...]
    files: Mapping[str, str]

    def only(self, subsets: Collection[str]) -> "Suite":
        """Some subsets of it. Raises RowsError for one that does not exist."""
        self._must_have(subsets)
        return replace(self, items=tuple(item for item in self.items if item.subset in subsets))

    def cut(self, limit: int | None, windows: Mapping[str, tuple[int, int]]) -> "Suite":
        """The rows from–to of each subset that is named in `windows`, and of those at most `limit`, evenly spread: the
        first rows of most sets are about one subject.

        Raises RowsError for a window of a subset that does not exist.
        """
        subsets: dict[str, list[Item]] = {}
        for item in self.items:
            subsets.setdefault(item.subset, []).append(item)
        self._must_have(windows)
        kept: set[str] = set()
        for name, items in subsets.items():
            first, last = windows.get(name, (0, len(items) - 1))
            rows = items[first : last + 1]
            if not rows:
                raise RowsError(
                    f"'{name}' of '{self.name}' has rows 0 to {len(items) - 1}: {first}-{last} is none of it"
                )
            wanted = len(rows) if limit is None else min(limit, len(rows))
            kept |= {rows[place * len(rows) // wanted].id for place in range(wanted)}
        return replace(self, items=tuple(item for item in self.items if item.id in kept))

    def _must_have(self, subsets: Iterable[str]) -> None:
        known = {item.subset for item in self.items}
        if unknown := set(subsets) - known:
            there = ", ".join(sorted(known))
            raise RowsError(f"there is no subset '{min(unknown)}' in '{self.name}'; there are {there}")


class Reader:
    """Reads row files and remembers what it read."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def rows(self, path: Path) -> list[dict[str, Any]]:
        """Raises RowsError."""
        found = rows(path)
        for number, row in enumerate(found, 1):
            try:
                orjson.dumps(row)
            except TypeError as error:  # JSON for Python's reader, and for no other: a run could not keep it
                raise RowsError(f"{path}, row {number} holds what is no sound JSON: {error}") from None
        self.files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def suite(self, name: str, items: Iterable[Item]) -> Suite:
        """Raises RowsError for a suite without items, or with two of one id."""
        made = tuple(items)
        if not made:
            raise RowsError(f"there is nothing to ask in '{name}'")
        if len({item.id for item in made}) != len(made):
            raise RowsError(f"two items of '{name}' have the same id")
        return Suite(name, made, dict(self.files))


def text_of(row: Mapping[str, Any], *names: str, where: str) -> str:
    """The first of several fields that holds a text. Raises RowsError."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value
    raise RowsError(f"{where} has no text in {' or '.join(repr(name) for name in names)}; it has {', '.join(row)}")


def texts_of(value: Any) -> tuple[str, ...]:
    """A list of texts, or one; nothing where there is none."""
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return tuple(item for item in value if isinstance(item, str) and item.strip()) if isinstance(value, list) else ()


def question_item(row: Mapping[str, Any], *, subset: str, role: Role, place: int, where: str, **more: Any) -> Item:
    """An item from a row with `question` and `answer`, and TOFU's further fields where they are. Raises RowsError."""
    return Item(
        id=f"{subset}/{place}",
        subset=subset,
        role=role,
        question=text_of(row, "question", "query", where=where),
        answer=text_of(row, "answer", where=where),
        reworded=next(iter(texts_of(row.get("paraphrased_question"))), ""),
        paraphrase=next(iter(texts_of(row.get("paraphrased_answer"))), ""),
        wrong=texts_of(row.get("perturbed_answer")),
        **more,
    )
