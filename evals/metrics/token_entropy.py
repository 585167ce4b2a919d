"""Token entropy: `TE = −Σ f·log2 f / log2 n` over the unigrams of an output of n tokens; 0 where n ≤ 1.

1: no token comes twice. Low: degenerate repetition. Source: A Closer Look at Machine Unlearning for LLMs.
"""

import math
import re
from collections import Counter
from collections.abc import Hashable, Sequence

_PIECES = re.compile(r"\w+|[^\w\s]")


def token_entropy(tokens: Sequence[Hashable]) -> float:
    """In [0, 1]."""
    if len(tokens) <= 1:
        return 0.0
    shares = [count / len(tokens) for count in Counter(tokens).values()]
    return -sum(share * math.log2(share) for share in shares) / math.log2(len(tokens))


def token_entropy_of_text(text: str) -> float:
    """The same over words and marks. The paper takes the model's tokens, which a client of the API does not see."""
    return token_entropy(_PIECES.findall(text))
