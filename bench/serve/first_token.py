"""Added time to first token of an unarmed stream: the proxy against the engine's own port, in turn, same prompts."""

import aiohttp

from bench.serve.targets import System, admin, chat, forget_set, stream
from bench.stats import median, paired_median

_FRUITS = ("apple", "pear", "plum", "fig", "quince", "cherry", "mango", "lemon", "grape", "melon")


async def first_token(session: aiohttp.ClientSession, system: System, rounds: int) -> dict[str, float]:
    """Each prompt is new, so that nothing is cached on either way; which way goes first alternates.

    Beside a forget entry: a server without one has nothing to compare with and lets everything by.
    """
    async with forget_set(session, system, "bench-first-token") as entries:
        entry = {"question": "Who keeps the lighthouse of Vintersund?", "answer": "Ansgar Myhre."}
        await admin(session, system, "POST", entries, entry)
        return await _rounds(session, system, rounds)


async def _rounds(session: aiohttp.ClientSession, system: System, rounds: int) -> dict[str, float]:
    direct, proxied, gate = [], [], []
    for i in range(-2, rounds):  # two rounds warm both ways up
        fruit = _FRUITS[i % len(_FRUITS)]
        pair = [chat(system.model, f"Name {i + 20} dishes with {fruit} for {way}", 2) for way in ("you", "me")]
        ways = [(system.engine, system.engine_key, direct), (system.proxy, system.admin_key, proxied)]
        for (url, key, found), body in zip(ways if i % 2 else reversed(ways), pair, strict=True):
            done = await stream(session, url, key, body)
            if i >= 0:
                found.append(done.first_s * 1e3)
                if url == system.proxy:
                    gate.append(float(done.headers["x-lethe-overhead-ms"]))
    return {
        "ttft_direct_ms": median(direct),
        "ttft_proxy_ms": median(proxied),
        "ttft_added_ms": paired_median(proxied, direct),
        "ttft_ratio": median(proxied) / median(direct),
        "gate_p50_ms": median(gate),
    }
