"""One page of metrics for all workers: each sample with the number of its worker, sums left to who reads them.

Summing here would be wrong for some gauges, and a counter that goes down when a worker dies is read as a restart.
"""

import asyncio
import re
from collections.abc import Mapping

import aiohttp
from prometheus_client import CollectorRegistry, generate_latest

from proxy.workers.slot import Slot

PATH = "/metrics"
ANSWER_S = 2.0  # a worker that does not answer by then is left out: `lethe_workers` shows that one is missing

_SAMPLE = re.compile(rb"^(\w+)(?:\{(.*)\})? (.+)$")


async def metrics_page(registry: CollectorRegistry, slot: Slot | None) -> bytes:
    """The metrics of this process, or of all workers that answer."""
    own = generate_latest(registry)
    if slot is None:
        return own
    others = [number for number in range(slot.of) if number != slot.number]
    pages = await asyncio.gather(*(_page_of(slot, number) for number in others))
    answered = {number: page for number, page in zip(others, pages, strict=True) if page is not None}
    return merged({slot.number: own, **answered})


def merged(pages: Mapping[int, bytes]) -> bytes:
    """Pages of several workers as one; the samples of a family stand together, as the format wants it."""
    heads: dict[bytes, list[bytes]] = {}
    samples: dict[bytes, list[bytes]] = {}
    for number, page in sorted(pages.items()):
        family = b""
        for line in page.splitlines():
            if line.startswith(b"# HELP "):
                family = line.split(b" ", 3)[2]
            if line.startswith(b"#"):
                known = heads.setdefault(family, [])
                if line not in known:
                    known.append(line)
            elif found := _SAMPLE.match(line):
                name, labels, value = found.groups()
                more = b"," + labels if labels else b""
                samples.setdefault(family, []).append(b'%s{worker="%d"%s} %s' % (name, number, more, value))
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return b"\n".join(lines) + b"\n"


async def _page_of(slot: Slot, number: int) -> bytes | None:
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=str(slot.socket(number))), timeout=timeout
            ) as session,
            session.get(f"http://worker{PATH}") as response,
        ):
            return await response.read()
    except (OSError, aiohttp.ClientError, TimeoutError):
        return None
