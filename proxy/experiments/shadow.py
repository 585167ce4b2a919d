"""Shadow traffic: the raw arm answers a share of guarded requests too, and only numbers about the pair are kept.

It begins when the client's answer is complete, in a task of its own with its own time limit, and is left out when too
many are under way: a client can notice it only as load on the engine. The raw answer is gone when it was compared.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

import orjson
import structlog

from guards.prompt.fields import forwarded
from guards.stream.phrase import Cut, PhraseFilter
from indexes.generation import Generation
from proxy.dialects.base import Event, Json
from proxy.dialects.sse import DONE, BrokenStream, data_of, events_of
from proxy.errors import RequestError
from proxy.exchange import RAW, Exchange
from proxy.experiments.definition import Shadow, ShadowMetric
from proxy.experiments.running import Experiments
from proxy.metrics import Metrics
from proxy.reading import Served
from proxy.signals import SignalMeter
from proxy.upstream import UpstreamClient

_log = structlog.get_logger("lethe.shadow")


class _InForce(Protocol):
    @property
    def current(self) -> Served: ...


class ShadowTraffic:
    """Asks the raw arm again, for the running experiment."""

    def __init__(
        self, experiments: Experiments, index: _InForce, upstream: UpstreamClient, meter: SignalMeter, metrics: Metrics
    ) -> None:
        self._experiments = experiments
        self._index = index
        self._upstream = upstream
        self._meter = meter
        self._metrics = metrics
        self._under_way: set[asyncio.Task[None]] = set()

    def takes(self, exchange: Exchange) -> bool:
        """Whether the answer of a request is to be kept until it was compared."""
        shadow = self._shadow
        if shadow is None or exchange.arm == RAW or exchange.arm_chosen or exchange.call.choices != 1:
            return False
        return random.random() < shadow.share  # noqa: S311 - a sample, not a secret

    def compare(self, exchange: Exchange) -> None:
        """Asks the raw arm what the client was just answered, if there is room."""
        shadow = self._shadow
        if shadow is None or exchange.kept is None or exchange.outcome not in ("answered", "refused", "cut"):
            return
        if len(self._under_way) >= shadow.at_once:
            self._metrics.shadow.labels("left_out").inc()
            return
        task = asyncio.create_task(self._compared(exchange, bytes(exchange.kept), shadow), name=f"shadow {exchange.id}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Gives up what is under way."""
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        for task in under_way:
            with suppress(asyncio.CancelledError):
                await task

    @property
    def _shadow(self) -> Shadow | None:
        running = self._experiments.running
        return running.shadow if running else None

    async def _compared(self, exchange: Exchange, kept: bytes, shadow: Shadow) -> None:
        try:
            async with asyncio.timeout(shadow.timeout_s):
                shown = text_of(exchange, kept)
                raw = text_of(exchange, await self._asked(exchange))
                alike = await self._meter.similarity(shown, raw, self._index.current.reading)
        except (RequestError, BrokenStream, TimeoutError) as error:
            self._metrics.shadow.labels("failed").inc()
            _log.info("shadow_failed", id=exchange.id, fault=type(error).__name__)
            return
        values: dict[str, float] = {
            ShadowMetric.RAW_LEAK: float(holds_forbidden(raw, self._index.current)),
            ShadowMetric.SIMILARITY: alike,
            ShadowMetric.SAME: float(shown == raw),
        }
        self._experiments.saw_pair(exchange.arm, values)
        self._metrics.shadow.labels("compared").inc()

    async def _asked(self, exchange: Exchange) -> bytes:
        """The raw arm's whole answer to the same request."""
        call, dialect = exchange.call, exchange.dialect
        body = {**forwarded(call.body, dialect.table, armed=False, raw=True), **dialect.always}
        body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        body |= {"model": exchange.model, "cache_salt": f"shadow {exchange.id}"}
        async with self._upstream.post(dialect.path, body, {}) as response:
            return await response.read()


def text_of(exchange: Exchange, answer: bytes) -> str:
    """Everything that an answer says, streamed or whole. Raises BrokenStream."""
    return "\n".join(said for said in _strings(exchange, answer).values() if said)


def _strings(exchange: Exchange, answer: bytes) -> dict[tuple[str | int, ...], str]:
    """The strings of an answer by channel, put together from their pieces."""
    said: dict[tuple[str | int, ...], str] = {}
    for event in _events(exchange, answer):
        for leaf in event.leaves:
            if not leaf.whole or leaf.channel not in said:
                said[leaf.channel] = said.get(leaf.channel, "") + leaf.text
    return said


def _events(exchange: Exchange, answer: bytes) -> Iterator[Event]:
    reader = exchange.dialect.stream(exchange.call)
    if answer.lstrip().startswith(b"{"):
        yield reader.read_whole(_object(answer), None)
        return
    for raw in events_of(answer):
        data = data_of(raw)
        if data is not None and data != DONE and (event := reader.read(raw, data, {0}, None)) is not None:
            yield event


def _object(answer: bytes) -> Json:
    try:
        payload = orjson.loads(answer)
    except orjson.JSONDecodeError:
        payload = None
    if not isinstance(payload, dict):
        raise BrokenStream("the engine's answer is not a JSON object")
    return payload


def holds_forbidden(text: str, generation: Generation) -> bool:
    """True for a text that the output filter would cut."""
    one = PhraseFilter(generation.phrases, generation.forbidden)
    return isinstance(one.on_delta(text), Cut) or isinstance(one.on_finish(), Cut)
