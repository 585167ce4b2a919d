"""ROUGE-L and ROUGE-1.

With `m` words in the truth and `n` in the answer: recall = overlap / m, precision = overlap / n, F1 their harmonic
mean. The overlap of ROUGE-L is the longest common subsequence, that of ROUGE-1 the common words counted at most as
often as in either. Source: Lin 2004; numbers as `rouge_score` 0.1.2 with `use_stemmer=True`. TOFU takes ROUGE-L recall.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from evals.metrics.words import rouge_words

Overlap = Callable[[Sequence[str], Sequence[str]], int]


def rouge_l_recall(answer: str, truth: str) -> float:
    """In [0, 1]; 0 where the truth has no words."""
    return _recall(longest_common_subsequence, answer, truth)


def rouge_l(answer: str, truth: str) -> float:
    """F1 of ROUGE-L."""
    return _f1(longest_common_subsequence, answer, truth)


def rouge_1(answer: str, truth: str) -> float:
    """F1 of ROUGE-1."""
    return _f1(_common_words, answer, truth)


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest sequence that is in both in this order, gaps allowed."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, 1):
            diagonal, row[place] = row[place], diagonal + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]


def _common_words(first: Sequence[str], second: Sequence[str]) -> int:
    return (Counter(first) & Counter(second)).total()


def _recall(overlap: Overlap, answer: str, truth: str) -> float:
    said, wanted = rouge_words(answer), rouge_words(truth)
    return overlap(wanted, said) / len(wanted) if wanted else 0.0


def _f1(overlap: Overlap, answer: str, truth: str) -> float:
    said, wanted = rouge_words(answer), rouge_words(truth)
    common = overlap(wanted, said)
    return 2 * common / (len(said) + len(wanted)) if common else 0.0
