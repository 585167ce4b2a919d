"""Results of several campaigns on the same entries, with different families or arms, as one."""

from collections.abc import Mapping, Sequence
from typing import Any

from evals.metrics.intervals import share


def is_result(found: Any) -> bool:
    """True for what `lethe attack --json` writes."""
    if not isinstance(found, dict) or not {"settings", "families", "total", "leaks"} <= set(found):
        return False
    counts = [found["total"], *found["families"].values()] if isinstance(found["families"], dict) else [None]
    return isinstance(found["leaks"], list) and all(
        isinstance(arms, dict)
        and all(isinstance(one, dict) and {"attempts", "leaks"} <= set(one) for one in arms.values())
        for arms in counts
    )


def merged(parts: Sequence[Mapping[str, Any]], order: Sequence[str] = ()) -> dict[str, Any]:
    """What `lethe attack --json` wrote, put together; families of `order` first, in that order."""
    tried = {name for part in parts for name in part["families"]}
    families: dict[str, dict[str, Any]] = {name: {} for name in order if name in tried}
    for part in parts:
        for name, found in part["families"].items():
            families.setdefault(name, {}).update(found)
    arms = dict.fromkeys(arm for part in parts for arm in part["total"])
    total = {}
    for arm in arms:
        of_arm = [found[arm] for found in families.values() if arm in found]
        leaks, attempts = sum(one["leaks"] for one in of_arm), sum(one["attempts"] for one in of_arm)
        estimate = share(leaks, attempts)
        guessed = sum((one.get("chance") or 0) * one["attempts"] for one in of_arm)
        total[arm] = {
            "attempts": attempts,
            "leaks": leaks,
            "declined": sum(one.get("declined", 0) for one in of_arm),
            "failed": sum(one.get("failed", 0) for one in of_arm),
            "chance": round(guessed / attempts, 5) if attempts else None,
            "rate": round(estimate.value, 5),
            "interval95": [round(estimate.low, 5), round(estimate.high, 5)],
        }
    leaks_found = [leak for part in parts for leak in part["leaks"]]
    return {"settings": parts[0]["settings"], "families": families, "total": total, "leaks": leaks_found}
