"""All figures of a running system, or why it cannot be measured."""

import re
from dataclasses import dataclass

import aiohttp

from bench.serve.first_token import first_token
from bench.serve.hot_add import hot_add
from bench.serve.per_chunk import per_chunk
from bench.serve.targets import System


class NotMeasurable(Exception):
    """There is no such system, or it does not let itself be measured. The message names the cure."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often each thing is done."""

    first_tokens: int
    streams: int
    adds: int


QUICK = Rounds(first_tokens=15, streams=3, adds=200)
WHOLE = Rounds(first_tokens=100, streams=15, adds=1000)


async def measured(
    proxy: str, admin: str, engine: str, admin_key: str, engine_key: str, rounds: Rounds
) -> dict[str, float | None]:
    """Figures by name; `ready_s` is None where the engine was not started together with the proxy."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        names = await _models(session, proxy, admin_key, "start it with `lethe up`, and look at LETHE_ADMIN_KEY")
        await _models(session, engine, engine_key, "its key is engine.key of the folder that --state names")
        model = next(name for name in names if ":" not in name)
        system = System(
            proxy=proxy, admin=admin, engine=engine, admin_key=admin_key, engine_key=engine_key, model=model
        )
        figures: dict[str, float | None] = {}
        figures |= await first_token(session, system, rounds.first_tokens)
        figures |= await per_chunk(session, rounds.streams)
        figures |= await hot_add(session, system, rounds.adds)
        async with session.get(f"{proxy}/metrics") as reply:
            ready = re.search(r"^lethe_ready_seconds (\S+)", await reply.text(), re.MULTILINE)
    return figures | {"ready_s": (float(ready[1]) or None) if ready else None}


async def _models(session: aiohttp.ClientSession, url: str, key: str, cure: str) -> list[str]:
    """Names of the models that a server has. Raises NotMeasurable."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with session.get(f"{url}/v1/models", headers=headers) as reply:
            names = [card["id"] for card in (await reply.json())["data"]] if reply.status == 200 else []
            said = f"answers with status {reply.status}"
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        names, said = [], f"does not answer as it should ({type(error).__name__})"
    if not names:
        raise NotMeasurable(f"{url}/v1/models {said} and names no model: {cure}")
    return names
