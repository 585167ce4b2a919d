"""The dead zone of an assistant: where its parts diverge no more than they do on what must stay.

The base's own answers to questions about anything else are read once, token by token; what is forgotten takes no part.
Whether enough is still forgotten outside of the zone is what the sweep over strengths then measures.
"""

import math
from collections.abc import Sequence

import torch

from guards.engine.contract import Arming
from guards.engine.training import encode
from guards.engine.training.decode import ROWS, Served
from guards.engine.training.encode import Encoded, padded

STEP = 0.001  # a dead zone is a multiple of it, rounded up
WIDEST = 0.999  # a dead zone is below 1


def chosen(divergences: Sequence[float], share: float) -> float:
    """The narrowest dead zone that spares at least `share` of the tokens. divergences: one a token, from 0 to 1.

    Raises ValueError where there is no token.
    """
    if not divergences:
        raise ValueError("the base answers none of the questions that choose the dead zone: give --choose-questions")
    wanted = math.ceil(round(share * len(divergences), 6))  # .95 of 20 is 19, whatever the product says
    widest = sorted(divergences)[wanted - 1]
    return min(round((math.floor(widest / STEP) + 1) * STEP, 3), WIDEST)


@torch.inference_mode()
def divergences(served: Served, rows: Sequence[Encoded], arming: Arming) -> list[float]:
    """Of the parts, at every token of the answers."""
    found: list[float] = []
    for first in range(0, len(rows), ROWS):
        some = rows[first : first + ROWS]
        batch = encode.batch(some, served.pad)
        inputs = padded([row.ids for row in some], served.pad, served.device)
        table = served.divergence(inputs, batch.keep, arming).nan_to_num(1.0).cpu()
        found += table[batch.labels != encode.IGNORED].tolist()
    return found
