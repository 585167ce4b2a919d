"""How strongly an offset acts on a request: a function of how near the request is, and of nothing else.

    strength
      full ┤            ┌────────────
           │          ／
    full/2 ┤        ●               ● at the threshold
           │        │
         0 ┼────────┴──┬────────────
                 threshold  + RAMP          score

Rules
1. Below the threshold it is 0: the request is not armed, and its answer is the base model's, bit for bit.
2. It never falls when the score rises.
3. It is never above the ceiling of the assistant, nor above `MAX_STRENGTH`.

Why a ramp: of requests about a forget entry, nearly all lie above threshold + .05 (94.5 % of paraphrased questions have
a similarity of .80 and more), while half of the false alarms lie below it. They are answered nearly as by the base.
"""

RAMP = 0.05  # of similarity, above the threshold
AT_THRESHOLD = 0.5  # share of the full strength
MAX_STRENGTH = 8.0  # published strengths end at 1.5; from about 3 on a small model's text is noise


def strength_of(score: float, threshold: float, full: float, ceiling: float = MAX_STRENGTH) -> float:
    """The strength for a similarity `score` against a threshold in (0, 1]; 0 below it.

    full: strength of a request that is surely about the entry, above 0. ceiling: what the assistant was tried with.
    """
    if score < threshold:
        return 0.0
    top = min(threshold + RAMP, 1.0)  # a threshold of 1 leaves no room for a ramp
    way = 1.0 if score >= top else (score - threshold) / (top - threshold)
    return min(full * (AT_THRESHOLD + (1 - AT_THRESHOLD) * way), ceiling, MAX_STRENGTH)
