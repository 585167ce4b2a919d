"""From the call that adds an entry to the moment it holds, while requests run.

The reply of an add is only sent when the entry is in force; every tenth is proved by a dry run of its own question.
What is reported is the whole call less the embedding of the entry, which the server tells apart (`Server-Timing`).
"""

import asyncio
import re
import time
from contextlib import suppress

import aiohttp

from bench.serve.targets import System, admin, chat, forget_set, stream
from bench.stats import percentile

SET = "bench-hot-add"
PROOFS = 10  # every so many adds, one is proved by a dry run


async def hot_add(session: aiohttp.ClientSession, system: System, adds: int) -> dict[str, float]:
    """Adds entries one after the other; another client streams answers all the while."""
    async with forget_set(session, system, SET) as entries:
        return await _adds(session, system, entries, adds)


async def _adds(session: aiohttp.ClientSession, system: System, entries: str, adds: int) -> dict[str, float]:
    load = asyncio.create_task(_requests(session, system), name="load")
    beyond, embed, missed = [], [], 0
    try:
        for i in range(adds):
            question = f"In which year did the {_word(i)} expedition reach the {_word(i * 7 + 3)} glacier?"
            started = time.perf_counter()
            body = {"question": question, "answer": f"It was {1700 + i}."}
            _, headers = await admin(session, system, "POST", entries, body)
            wall_ms = (time.perf_counter() - started) * 1e3
            timing = dict(re.findall(r"(\w+);dur=([\d.]+)", headers["Server-Timing"]))
            embed.append(float(timing["embed"]))
            beyond.append(wall_ms - float(timing["embed"]))
            if i % PROOFS == 0:
                reply, _ = await admin(session, system, "POST", "/admin/v1/check", {"text": question})
                missed += reply["rung"] != "refuse"
    finally:
        load.cancel()
        with suppress(asyncio.CancelledError):
            await load
    return {
        "hot_adds": adds,
        "hot_add_p50_ms": percentile(beyond, 50),
        "hot_add_p99_ms": percentile(beyond, 99),
        "hot_add_missed": missed,
        "embed_p50_ms": percentile(embed, 50),
        "embed_p99_ms": percentile(embed, 99),
    }


async def _requests(session: aiohttp.ClientSession, system: System) -> None:
    """Requests that nothing in the set is near, for as long as it is let."""
    number = 0
    while True:
        number += 1
        await stream(
            session, system.proxy, system.admin_key, chat(system.model, f"Write a line about {_word(number)}.", 24)
        )


def _word(number: int) -> str:
    """A pronounceable word of its own for each number."""
    syllables = ("ba", "ke", "li", "mo", "nu", "ra", "si", "to", "ve", "zu")
    return "".join(syllables[int(digit)] for digit in f"{number % 100000:05d}").capitalize()
