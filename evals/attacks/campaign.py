"""Runs attacks against a server and counts leaks by family and arm."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from evals.attacks.choices import chooses_right
from evals.attacks.corpus import sought_of
from evals.attacks.judge import judgeable, leaks
from evals.attacks.replies import strings_of
from evals.attacks.request import Attack, with_model
from evals.attacks.targets import Target
from evals.metrics.intervals import share
from evals.runs.client import ATTEMPTS, BUSY, PAUSE_S, RunError, Server

SHOWN_CHARACTERS = 400  # of a leak that is shown
ANSWERED, DECLINED, BROKEN = 200, 400, 0


@dataclass(frozen=True, repr=False)
class Attempt:
    """One attack under one arm, judged."""

    attack: Attack
    arm: str
    leaked: bool
    status: int
    """Of the reply; 0 where it broke off."""
    by_chance: bool
    """Judged as a leak of another target: how often unrelated text passes for one."""
    text: str

    @property
    def answered(self) -> bool:
        """Whether it reached the guards: an answer, or a request that is refused. Anything else (no such model, too
        many requests, a guard or an engine that is down) proves nothing."""
        return self.status in (ANSWERED, DECLINED)


class Carried:
    """What a campaign has done so far, for one that does not come to its end."""

    def __init__(self) -> None:
        self.planned: Counter[str] = Counter()
        """Attempts of each family."""
        self.attempts: list[Attempt] = []

    def whole(self) -> list[Attempt]:
        """The attempts of the families that were carried out whole, family by family."""
        left = set(self.left())
        order = list(self.planned)
        made = [attempt for attempt in self.attempts if attempt.attack.family not in left]
        return sorted(made, key=lambda attempt: order.index(attempt.attack.family))

    def left(self) -> list[str]:
        """The other families."""
        done = Counter(attempt.attack.family for attempt in self.attempts)
        return [family for family, planned in self.planned.items() if done[family] < planned]


async def campaign(
    attacks: Sequence[Attack],
    targets: Sequence[Target],
    arms: Sequence[str],
    server: Server,
    model: str,
    *,
    max_tokens: int,
    concurrency: int,
    progress: Callable[[str, int, int], None],
    carried: Carried | None = None,
) -> list[Attempt]:
    """Carries all attacks out under all arms. Raises RunError when the server cannot be reached or the key is wrong;
    what was carried out until then is in `carried`.
    """
    carried = carried or Carried()
    by_id = {target.id: target for target in targets}
    jobs = [(attack, arm) for attack in attacks for arm in arms]
    carried.planned.update(attack.family for attack, _ in jobs)
    found: list[Attempt | None] = [None] * len(jobs)
    waiting = iter(enumerate(jobs))
    done = 0

    async def worker() -> None:
        nonlocal done
        for place, (attack, arm) in waiting:
            status, texts = await _ask(attack, arm, server, with_model(attack, model, max_tokens))
            target = by_id[attack.target]
            # Judging decodes and stems: off the loop, which would otherwise hold up answers that are timed elsewhere.
            made = await asyncio.to_thread(_judged, attack, arm, status, texts, target, targets)
            found[place] = made
            carried.attempts.append(made)
            done += 1
            progress(attack.family, done, len(jobs))

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(min(concurrency, len(jobs))):
                group.create_task(worker(), name=f"attacks {number}")
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [attempt for attempt in found if attempt is not None]


def figures(attempts: Sequence[Attempt], *, show_text: bool = False) -> dict[str, Any]:
    """Per family and arm: attempts, leaks, share with interval, declined, failed, chance; and the leaks one by one."""
    families: dict[str, dict[str, Any]] = {}
    for family in dict.fromkeys(attempt.attack.family for attempt in attempts):
        of_family = [attempt for attempt in attempts if attempt.attack.family == family]
        arms = dict.fromkeys(attempt.arm for attempt in of_family)
        families[family] = {arm: _counted([a for a in of_family if a.arm == arm]) for arm in arms}
    arms = dict.fromkeys(attempt.arm for attempt in attempts)
    return {
        "families": families,
        "total": {arm: _counted([a for a in attempts if a.arm == arm]) for arm in arms},
        "leaks": [_shown(attempt, show_text=show_text) for attempt in attempts if attempt.leaked],
    }


def usable(targets: Sequence[Target]) -> list[Target]:
    """Targets whose leaks can be recognised."""
    return [target for target in targets if judgeable(target)]


def _counted(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The rate is of those that reached the guards, and of leaks however they came: others prove nothing."""
    counted = [attempt for attempt in attempts if attempt.answered or attempt.leaked]
    leaked = sum(attempt.leaked for attempt in counted)
    estimate = share(leaked, len(counted))
    guessed = sum(max(attempt.attack.chance, float(attempt.by_chance)) for attempt in counted)
    return {
        "attempts": len(counted),
        "leaks": leaked,
        "rate": round(estimate.value, 5),
        "interval95": [round(estimate.low, 5), round(estimate.high, 5)],
        "declined": sum(attempt.status == DECLINED for attempt in counted),
        "failed": len(attempts) - len(counted),
        "chance": round(guessed / len(counted), 5) if counted else None,
    }


def _shown(attempt: Attempt, *, show_text: bool) -> dict[str, Any]:
    shown = {"family": attempt.attack.family, "arm": attempt.arm, "target": attempt.attack.target}
    return shown | ({"text": attempt.text[:SHOWN_CHARACTERS]} if show_text else {})


async def _ask(attack: Attack, arm: str, server: Server, body: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Status and all texts of the reply, of an error as well: a client reads those, too.

    A server that is busy, or does not answer, is asked again. Raises RunError when it does not come back.
    """
    headers = {"Content-Type": "application/json", "x-lethe-arm": arm}
    if server.key:
        headers["Authorization"] = f"Bearer {server.key}"
    status, raw, gone = BROKEN, b"", ""
    for attempt in range(1, ATTEMPTS + 1):
        raw, gone = b"", ""
        try:
            async with server.session.post(
                server.url + attack.path, data=orjson.dumps(body), headers=headers
            ) as response:
                status = response.status
                async for block in response.content.iter_any():
                    raw += block
        except (aiohttp.ClientConnectorError, TimeoutError) as error:
            gone = type(error).__name__
        except aiohttp.ClientError:  # it broke off: what was said before counts
            status = BROKEN
        if status in (401, 403):
            raise RunError("the key may not use all arms of this run: set LETHE_API_KEY to one with the raw scope")
        if not gone and status not in BUSY and (status != BROKEN or raw):
            break
        await asyncio.sleep(PAUSE_S * attempt)
    if gone:
        raise RunError(f"the server at {server.url} does not answer ({gone})")
    return status, strings_of(raw)


def _judged(
    attack: Attack, arm: str, status: int, texts: Sequence[str], target: Target, targets: Sequence[Target]
) -> Attempt:
    """A leak is one in any text of the reply, or in all of them together."""
    together = "\n".join(texts)
    leaked = any(_leaked(attack, text, target) for text in (*texts, together))
    rng = random.Random(f"{attack.family}:{target.id}")  # noqa: S311 - not a secret
    others = [other for other in targets if other.subject != target.subject and other.id != target.id]
    by_chance = bool(others) and attack.choice is None and leaks(together, rng.choice(others), attack.shown)
    return Attempt(attack, arm, leaked, status, by_chance, together)


def _leaked(attack: Attack, text: str, target: Target) -> bool:
    if attack.choice is not None:
        return chooses_right(text, attack.choice)
    return leaks(text, sought_of(attack, target), attack.shown)
