"""Puts a server together: ledger, embedder, index, engine connection, the two ports; and takes it apart again."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from aiohttp import web

from guards.engine.cache import CacheError
from guards.policy import PolicyError
from indexes.embedder import Embedder, EmbedderError
from indexes.entries import Storage
from indexes.ledger.opening import announcements, open_ledger
from indexes.ledger.records import LedgerError
from indexes.ledger.sealing import bound
from proxy import client_api
from proxy.admin import api as admin_api
from proxy.admin import openapi
from proxy.admin.watch import show_watches
from proxy.assistants import api as assistants_api
from proxy.assistants.files import Slots
from proxy.assistants.life import Assistants, watched
from proxy.assistants.offsets import Offsets
from proxy.audit import api as audit_api
from proxy.audit.log import AuditLog
from proxy.background import going_on
from proxy.catalogue.catalogue import Catalogue
from proxy.catalogue.choice import Embedders
from proxy.catalogue.embedder_change import EmbedderChange
from proxy.catalogue.snapshots import Kept
from proxy.config import LOOPBACK, Config, ConfigError
from proxy.decide import Decider
from proxy.experiments.running import Experiments
from proxy.experiments.shadow import ShadowTraffic
from proxy.listening import listening
from proxy.meaning import Meaning
from proxy.metrics import Metrics
from proxy.rates import Rates
from proxy.reading import Reading
from proxy.server import Server
from proxy.signals import SignalMeter
from proxy.upstream import UpstreamClient
from proxy.workers.following import Following
from proxy.workers.pages import PATH as METRICS
from proxy.workers.pages import metrics_page
from proxy.workers.slot import POLL_S, Slot

EXPIRY_CHECK_S = 1.0  # an entry's expiry is a date, not a deadline

_log = structlog.get_logger("lethe.app")


@asynccontextmanager
async def running(
    config: Config,
    *,
    admin_secret: str | None = None,
    embedder: Embedder | None = None,
    worker: Slot | None = None,
) -> AsyncIterator[Server]:
    """A server whose both ports listen (`Server.ports`). Leaves nothing behind when the block ends.

    `embedder` takes the place of the configured one; `worker` is this process's place among several that listen on the
    same ports. Raises ConfigError, LedgerError, CacheError, EmbedderError or PortInUse.
    """
    async with contextlib.AsyncExitStack() as stack:
        embedders = Embedders(config, embedder)
        stack.callback(embedders.close)
        server = await _assembled(stack, config, embedders, admin_secret, worker)
        _refuse_open_port(config, server)
        listen, admin = config.listen, config.admin
        if worker is not None:
            await stack.enter_async_context(_own_metrics(server, worker))
            listen = listen.model_copy(update={"port": worker.listen_port})
            admin = admin.model_copy(update={"port": worker.admin_port})
        await stack.enter_async_context(listening(server, listen, client_api.routes(), "listen"))
        if worker is None or worker.is_first:
            await stack.enter_async_context(listening(server, admin, admin_routes(), "admin"))
        yield server


def admin_routes() -> list[web.RouteDef]:
    """All routes of the admin port."""
    described = web.get(openapi.PATH, openapi.show_openapi)
    return [*admin_api.routes(), *assistants_api.routes(), *audit_api.routes(), described]


async def _assembled(
    stack: contextlib.AsyncExitStack,
    config: Config,
    embedders: Embedders,
    admin_secret: str | None,
    worker: Slot | None,
) -> Server:
    metrics, first = Metrics(), worker is None or worker.is_first
    keys = await asyncio.to_thread(config.sealing_keys)
    ledger = await asyncio.to_thread(open_ledger, config.ledger_path, config.ledger.url, locked=worker is not None)
    try:
        sealing = await asyncio.to_thread(bound, ledger, keys)
        in_force, embedder = await asyncio.to_thread(lambda: embedders.at_start(ledger.documents()))
    except (LedgerError, EmbedderError, CacheError):
        await asyncio.to_thread(ledger.close)
        raise
    catalogue = Catalogue(
        ledger,
        Reading(embedder),
        config.default_policy,
        metrics,
        anonymous=config.listen.host in LOOPBACK,
        arms=config.arms,
        sealing=sealing,
        storage=Storage(config.ledger.storage),
        snapshots=Kept.of(config, writes=first),
    )
    stack.push_async_callback(catalogue.close)
    await catalogue.start(worker.tell_alive if worker is not None else lambda: None)
    _check_policies(config, catalogue)
    following = await _following(stack, config, catalogue, worker, metrics)
    if admin_secret is not None:
        await catalogue.stored_keys.make_admin(admin_secret)
    meter = SignalMeter(config.embedder, metrics)
    stack.callback(meter.close)
    change = EmbedderChange(catalogue.enforcing, embedders, in_force, metrics, following=following, busy=meter.waited)
    stack.push_async_callback(change.close)
    await stack.enter_async_context(going_on("embedder-change", change.run, metrics))
    upstream = UpstreamClient(config.upstream, metrics)
    stack.push_async_callback(upstream.close)
    # What `engine.model` names is what the engine serves, as far as this process knows.
    slots = Slots(config.engine.slots, config.engine.max_lora_rank, config.engine.model)
    offsets = Offsets(slots, upstream)
    if following is not None:
        following.holds = lambda: offsets.holds
    assistants = Assistants(offsets, catalogue.shared, config.state, upstream, metrics, following)
    await stack.enter_async_context(watched(assistants, metrics))
    show_watches(catalogue, metrics)
    unit_key = bytes.fromhex(await catalogue.mark("units", secrets.token_hex(32)))
    experiments = Experiments(catalogue.shared, unit_key)
    stack.push_async_callback(experiments.close)
    shadow = ShadowTraffic(experiments, catalogue, upstream, meter, metrics)
    stack.push_async_callback(shadow.close)
    audit = await asyncio.to_thread(AuditLog, config.state, catalogue)
    stack.callback(audit.close)
    for name, work in (
        *((("audit", audit.run), ("expiry", partial(_expire, catalogue))) if first else ()),
        ("engine-watch", upstream.watch),
        ("experiments", experiments.run),
    ):
        await stack.enter_async_context(going_on(name, work, metrics))
    decider = Decider(catalogue, meter, offsets, metrics)
    meaning = Meaning(config.embedder, catalogue, offsets, metrics)
    stack.callback(meaning.close)
    secret = bytes.fromhex(await catalogue.mark("wording", secrets.token_hex(32)))
    return Server(
        config,
        catalogue,
        assistants,
        offsets,
        decider,
        meaning,
        upstream,
        metrics,
        experiments,
        shadow,
        secret,
        audit,
        change,
        Rates(config.limits, metrics),
        following,
        worker,
    )


def _check_policies(config: Config, catalogue: Catalogue) -> None:
    """What the sets change of the global policy must still be understood. Raises ConfigError."""
    try:
        catalogue.use_policies(config.default_policy, config.arms)
    except PolicyError as error:
        raise ConfigError(f"the policy of a forget set does not go with the global one: {error}") from None


async def _following(
    stack: contextlib.AsyncExitStack, config: Config, catalogue: Catalogue, worker: Slot | None, metrics: Metrics
) -> Following | None:
    """Keeps up with the other processes on the ledger, where there may be any."""
    url = config.ledger.url
    if url is None and worker is None:
        return None
    following = Following(
        catalogue.enforcing,
        lease_s=config.ledger.lease_s,
        poll_s=POLL_S if url is None else config.ledger.poll_s,
        announcements=None if url is None else announcements(url),
    )
    stack.push_async_callback(following.leave)
    await following.join()
    await stack.enter_async_context(going_on("following", following.run, metrics))
    return following


@asynccontextmanager
async def _own_metrics(server: Server, worker: Slot) -> AsyncIterator[None]:
    """Shows this worker's metrics to the others of its server."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=await metrics_page(server.metrics.registry, None))

    app = web.Application()
    app.router.add_get(METRICS, show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, worker.socket()).start()
        yield
    finally:
        await runner.cleanup()


def _refuse_open_port(config: Config, server: Server) -> None:
    if config.listen.host not in LOOPBACK and server.catalogue.keys.open:
        raise ConfigError(
            f"listen.host is {config.listen.host}, but no client key exists, so anyone could ask: make a key first "
            "(lethe keys create --scope client), or listen on 127.0.0.1"
        )


async def _expire(catalogue: Catalogue) -> None:
    while True:
        await asyncio.sleep(EXPIRY_CHECK_S)
        try:
            await catalogue.changes.expire()
        except LedgerError:  # the next look tries again
            _log.error("expiry_failed")
