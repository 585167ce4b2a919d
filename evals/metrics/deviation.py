"""Deviation score: `DS = 100·√(R_f² + (1 − R_r)²)` with ROUGE-L on the forget and the retain set. 0 is best.

Source: DRAGON (ICLR 2026).
"""

import math


def deviation_score(forget_rouge: float, retain_rouge: float) -> float:
    """From 0 (forgets all, keeps all) to 141."""
    return 100 * math.hypot(forget_rouge, 1 - retain_rouge)
