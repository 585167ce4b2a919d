"""`python -m bench.serve`: measures a running system (`lethe up`), prints figures, or JSON with `--json -`."""

import argparse
import asyncio
import os
import re
from pathlib import Path

import aiohttp

from bench.serve.first_token import first_token
from bench.serve.hot_add import hot_add
from bench.serve.per_chunk import per_chunk
from bench.serve.targets import System
from bench.stats import emit


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under a minute")
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE, or '-' for standard output")
    parser.add_argument("--proxy", default="http://127.0.0.1:8080")
    parser.add_argument("--admin", default="http://127.0.0.1:8081")
    parser.add_argument("--engine", default="http://127.0.0.1:8000")
    parser.add_argument("--state", type=Path, default=Path(".lethe"), help="state directory of `lethe up`")
    arguments = parser.parse_args()
    key = os.environ.get("LETHE_ADMIN_KEY")
    if not key:
        parser.error("set LETHE_ADMIN_KEY to the admin key of the running system")
    emit(asyncio.run(_measure(arguments, key)), arguments.json)


async def _measure(arguments: argparse.Namespace, key: str) -> dict[str, float]:
    engine_key = arguments.state / "engine.key"
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        async with session.get(f"{arguments.proxy}/v1/models", headers={"Authorization": f"Bearer {key}"}) as reply:
            names = [card["id"] for card in (await reply.json())["data"]]
        system = System(
            proxy=arguments.proxy,
            admin=arguments.admin,
            engine=arguments.engine,
            admin_key=key,
            engine_key=engine_key.read_text("ascii") if engine_key.exists() else "",
            model=next(name for name in names if not name.endswith(":raw")),
        )
        figures = await first_token(session, system, 15 if arguments.quick else 100)
        figures |= await per_chunk(session, 3 if arguments.quick else 15)
        figures |= await hot_add(session, system, 200 if arguments.quick else 1000)
        async with session.get(f"{arguments.proxy}/metrics") as reply:
            ready = re.search(r"^lethe_ready_seconds (\S+)", await reply.text(), re.MULTILINE)
    return figures | {"ready_s": float(ready[1]) if ready else 0.0}


if __name__ == "__main__":
    main()
