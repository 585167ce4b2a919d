"""More ways to ask for the same, and wrong answers: what ULD cannot do without.

They come from files, from a served model that rephrases, or, where it does not or its lines are unusable, from
templates. Rows from templates are the same for the same rows.
"""

import json
import urllib.request
from collections.abc import Callable, Sequence

from guards.engine.training.rows import Row

Writer = Callable[[str], str]  # a prompt → what a model writes

FORMS = (
    "Please answer this question: {}",
    "I would like to know: {}",
    "{} Answer in one or two sentences.",
    "Can you help me with this? {}",
)
MAX_GROWTH = 3  # a rephrasing that is longer than the original by this factor is chatter, not a rephrasing
TIMEOUT_S = 120  # for one answer of a model that shares its machine


def paraphrased(rows: Sequence[Row], number: int, write: Writer | None = None) -> list[Row]:
    """`number` rows for each that ask for the same; by templates where `write` is absent or fails."""
    found = []
    for row in rows:
        for turn in range(number):
            question = answer = None
            if write is not None:
                question = _usable(write(_REPHRASE.format(row.question)), row.question)
                answer = _usable(write(_REPHRASE.format(row.answer)), row.answer)
            found.append(Row(question or FORMS[turn % len(FORMS)].format(row.question), answer or row.answer))
    return found


def perturbed(rows: Sequence[Row], number: int, write: Writer | None = None) -> list[Row]:
    """`number` rows for each with the same question and a wrong answer: a model's, or that of another question.

    Fewer where there are not as many other answers.
    """
    found = []
    for place, row in enumerate(rows):
        others = [other.answer for other in (*rows[place + 1 :], *rows[:place]) if other.answer != row.answer]
        for turn in range(number):
            answer = _usable(write(_MISTAKE.format(row.question, row.answer)), row.answer) if write else None
            answer = answer or (others[turn] if turn < len(others) else None)
            if answer is not None:
                found.append(Row(row.question, answer))
    return found


def served(url: str, model: str, key: str | None = None) -> Writer:
    """A writer that asks a model behind an OpenAI-compatible server, greedily.

    Point it at the engine, or at the raw arm: the guarded arm would not speak of what is to be forgotten. Raises
    OSError when it cannot be reached.
    """
    address = f"{url.rstrip('/').removesuffix('/v1')}/v1/chat/completions"
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})

    def write(prompt: str) -> str:
        turns = [{"role": "user", "content": prompt}]
        body = {"model": model, "messages": turns, "temperature": 0, "max_tokens": 128}
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - the user's own URL
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310 - as above
            return str(json.load(reply)["choices"][0]["message"]["content"] or "")

    return write


_REPHRASE = "Say the same in other words, in one sentence, and write nothing else:\n{}"
_MISTAKE = "Question: {}\nRight answer: {}\nWrite one wrong answer of the same form, and nothing else:"


def _usable(written: str, original: str) -> str | None:
    """The first line of what a model wrote, or None where it is no other wording of `original`."""
    lines = [line.strip().strip('"') for line in written.splitlines() if line.strip()]
    if not lines or lines[0].casefold() == original.casefold() or len(lines[0]) > MAX_GROWTH * len(original):
        return None
    return lines[0]
