"""Carries a run out: every item under every arm, a bounded number at a time, each answer kept as soon as it is there.

Arms that the server has itself are asked side by side, item by item, so that what the machine does meanwhile touches
them alike; an arm that is a ladder follows alone, because it changes the policy for everybody.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from evals.runs.arms import Arm, in_force, put_back
from evals.runs.client import Connection, request_of
from evals.runs.folder import ANSWERS, SCORES, RunFolder
from evals.runs.scoring import scored, wanted
from evals.suites.items import Item, Role, Suite

SAMPLED_TEMPERATURE = 1.0  # of the draws for Leak@k, as published


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is made with, beside suite and arms."""

    model: str
    max_tokens: int
    temperature: float
    seed: int
    samples: int
    """Further draws of each item that must be forgotten, at temperature 1."""
    probabilities: bool
    score_limit: int | None = None
    """Items of each subset whose probabilities are taken, evenly spread; None: all that have any."""


@dataclass(frozen=True, slots=True)
class _Job:
    arm: Arm
    item: Item
    sample: int | None
    """None: its probabilities."""


async def run(
    suite: Suite,
    arms: Sequence[Arm],
    settings: Settings,
    connection: Connection,
    folder: RunFolder,
    *,
    concurrency: int,
    progress: Callable[[str, int, int], None],
) -> None:
    """Asks what the folder does not hold yet. `progress` gets the arm, what is done and how much there is.

    Raises RunError as soon as the server fails for good; what was answered until then is kept.
    """
    described = {"suite": suite.name, **asdict(settings)}
    sizes = {"arms": [arm.name for arm in arms], "items": len(suite.items), "files": dict(suite.files)}
    folder.must_hold(suite.items)
    folder.open(described | sizes)
    folder.write_items(suite.items)
    await put_back(connection.admin, folder)  # of a run that was killed
    done = _done(folder)
    rounds = [[arm for arm in arms if not arm.ladder], *([arm] for arm in arms if arm.ladder)]
    total = finished = 0
    planned = []
    for together in rounds:
        jobs = list(_jobs(suite, together, settings))
        open_jobs = [job for job in jobs if (job.arm.name, job.item.id, job.sample) not in done]
        total += len(jobs)
        finished += len(jobs) - len(open_jobs)
        if open_jobs:
            planned.append((together[0], open_jobs))

    async def one(job: _Job) -> None:
        nonlocal finished
        await _ask(job, settings, connection, folder)
        finished += 1
        progress(job.arm.name, finished, total)

    progress("", finished, total)
    for first, open_jobs in planned:
        async with in_force(first, connection.admin, folder):
            await _each(one, open_jobs, concurrency)


async def _each(work: Callable[[_Job], Any], jobs: Sequence[_Job], concurrency: int) -> None:
    """Carries all jobs out in order, a bounded number at a time."""
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            await work(job)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(min(concurrency, len(jobs))):
                group.create_task(worker(), name=f"asks {number}")
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _ask(job: _Job, settings: Settings, connection: Connection, folder: RunFolder) -> None:
    arm, item = job.arm, job.item
    if job.sample is None:
        record = await scored(connection.admin, item, settings.model, arm.header)
        folder.append(SCORES, {"arm": arm.name, **record})
        return
    drawn = settings.temperature if job.sample == 0 else SAMPLED_TEMPERATURE
    path, body = request_of(
        item,
        settings.model,
        max_tokens=settings.max_tokens,
        temperature=drawn,
        seed=seed_of(settings.seed, item, job.sample),
    )
    said = await connection.server.ask(body, arm=arm.header, path=path)
    folder.append(ANSWERS, {"arm": arm.name, "item": item.id, "sample": job.sample, **asdict(said)})


def seed_of(seed: int, item: Item, sample: int) -> int:
    """The same for all arms, another one for each item and draw."""
    return random.Random(f"{seed}:{item.id}:{sample}").getrandbits(31)  # noqa: S311 - not a secret


def _jobs(suite: Suite, arms: Iterable[Arm], settings: Settings) -> Iterable[_Job]:
    listed = list(arms)
    to_score = {item.id for item in suite.items if settings.probabilities and wanted(item)}
    if settings.score_limit is not None:
        scorable = replace(suite, items=tuple(item for item in suite.items if item.id in to_score))
        to_score = {item.id for item in scorable.cut(settings.score_limit, {}).items}
    for item in suite.items:
        draws = range(1 + (settings.samples if item.role is Role.FORGET else 0))
        for sample in draws:
            yield from (_Job(arm, item, sample) for arm in listed)
        if item.id in to_score:
            yield from (_Job(arm, item, None) for arm in listed)


def _done(folder: RunFolder) -> set[tuple[str, str, int | None]]:
    answered = {(line["arm"], line["item"], line["sample"]) for line in folder.lines(ANSWERS)}
    return answered | {(line["arm"], line["item"], None) for line in folder.lines(SCORES)}
