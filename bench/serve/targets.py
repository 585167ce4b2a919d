"""The running system that is measured, and single timed requests to it."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True, repr=False)
class System:
    """Where everything is. `engine_key` is the embedded engine's own key, empty where it has none."""

    proxy: str
    admin: str
    engine: str
    admin_key: str
    engine_key: str
    model: str


@dataclass(frozen=True, slots=True)
class Streamed:
    """One streamed answer: seconds to its first text, seconds for all, its events, and the reply headers."""

    first_s: float
    total_s: float
    events: int
    headers: Mapping[str, str]


async def stream(session: aiohttp.ClientSession, url: str, key: str, body: dict[str, Any]) -> Streamed:
    """Sends a streamed chat request and times it."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    started = time.perf_counter()
    first = 0.0
    events = 0
    async with session.post(f"{url}/v1/chat/completions", json={**body, "stream": True}, headers=headers) as response:
        response.raise_for_status()
        async for line in response.content:
            if line.startswith(b"data: {"):
                events += 1
                if not first and b'"content":""' not in line and b'"content"' in line:
                    first = time.perf_counter() - started
        return Streamed(first or time.perf_counter() - started, time.perf_counter() - started, events, response.headers)


def chat(model: str, text: str, max_tokens: int) -> dict[str, Any]:
    """A greedy chat request of one turn that runs to its token limit."""
    message = {"role": "user", "content": text}
    return {"model": model, "messages": [message], "max_tokens": max_tokens, "temperature": 0}


async def admin(session: aiohttp.ClientSession, system: System, method: str, path: str, body: Any = None) -> Any:
    """One admin call; returns the JSON reply and the reply headers. Raises on an error status."""
    headers = {"Authorization": f"Bearer {system.admin_key}"}
    async with session.request(method, system.admin + path, json=body, headers=headers) as response:
        reply = await response.json()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply}")
        return reply, response.headers


@asynccontextmanager
async def forget_set(session: aiohttp.ClientSession, system: System, name: str) -> AsyncIterator[str]:
    """A set that refuses, for as long as it is measured; yields the path of its entries."""
    with suppress(RuntimeError):
        await admin(session, system, "DELETE", f"/admin/v1/sets/{name}")
    await admin(session, system, "POST", "/admin/v1/sets", {"id": name, "policy": {"on_match": ["refuse"]}})
    try:
        yield f"/admin/v1/sets/{name}/entries"
    finally:
        await admin(session, system, "DELETE", f"/admin/v1/sets/{name}")
