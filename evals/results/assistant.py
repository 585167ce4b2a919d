"""The assistant of the evidence: that of `python -m evals.unlearning`, a pair that forgets one taught author."""

import os
from pathlib import Path

from evals.unlearning.methods import METHODS
from evals.unlearning.sets import AUTHOR, REPORT, sets
from evals.unlearning.work import Workshop
from guards.engine import cache
from proxy.engine.discovery import find_engine_python

NAME, METHOD = "divergence-linear-report", "Divergence, linear"
FORGOTTEN = (REPORT * AUTHOR, (REPORT + 1) * AUTHOR - 1)  # rows of forget05
NOT_TRAINED = (65, 99)  # real authors that neither trained it nor chose its strength
THREADS = 2


def trained(data: Path, model: Path) -> Path:
    """The folder of the assistant; trained now where there is none (6 to 10 minutes on two idle cores).

    Raises EngineNotInstalled, RowsError or CalledProcessError.
    """
    python = find_engine_python(None, os.environ)
    workshop = Workshop(python, model, cache.cache_root() / "unlearning", THREADS)
    folder, _ = workshop.trained(NAME, METHODS[METHOD], sets(data, REPORT))
    return folder
