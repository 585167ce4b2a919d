"""A multiple-choice task for the harness, made of rows of one's own: letters in, letter out.

Generated, not scored by likelihood: that needs `echo` with log-probabilities, an oracle which the proxy refuses.
"""

import json
import random
from collections.abc import Iterable
from pathlib import Path

from evals.gate.rows import RowsError, rows
from evals.suites.items import LETTERS, text_of, texts_of

NAME = "lethe_choices"

_TASK = {
    "task": NAME,
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}\n{{options}}\nAnswer with the letter only.",
    "doc_to_target": "{{letter}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": False, "temperature": 0.0},
    "filter_list": [
        {
            "name": "letter",
            "filter": [{"function": "regex", "regex_pattern": r"\b([A-H])\b"}, {"function": "take_first"}],
        }
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1.0},
}


def write_task(folder: Path, path: Path, limit: int | None = None, seed: int = 0) -> int:
    """Writes task and data into a folder; returns the number of questions. Raises RowsError.

    Rows have `question`, `answer` and wrong answers in `perturbed_answer` (TOFU) or `wrong`. The order of the options
    is drawn by the seed.
    """
    documents = list(_documents(path, seed))[:limit]
    if not documents:
        raise RowsError(f"{path} holds no row")
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in documents), "utf-8")
    # JSON is YAML: no library is needed to write it.
    task = {**_TASK, "dataset_kwargs": {"data_files": {"test": str(data)}}}
    (folder / f"{NAME}.yaml").write_text(json.dumps(task, indent=1), "utf-8")
    return len(documents)


def _documents(path: Path, seed: int) -> Iterable[dict[str, str]]:
    for place, row in enumerate(rows(path)):
        where = f"{path}, row {place + 1}"
        right = text_of(row, "answer", where=where)
        wrong = [text for text in texts_of(row.get("perturbed_answer") or row.get("wrong")) if text != right]
        options = [right, *wrong][: len(LETTERS)]
        if len(options) < 2:
            raise RowsError(f"{where} needs wrong answers in 'perturbed_answer' or 'wrong'")
        random.Random(f"{seed}:{place}").shuffle(options)  # noqa: S311 - an order, not a secret
        shown = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
        yield {
            "question": text_of(row, "question", where=where),
            "options": shown,
            "letter": LETTERS[options.index(right)],
        }
