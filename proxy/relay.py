"""Carries a plan out: asks the engine, passes its answer on under the filters, escalates or cuts on a hit.

    refuse ── answer in the client's dialect
    instruct ─┐  (a note before the prompt)
    offset ───┤  (an assistant's logits subtracted; offset_instruct: both)
    pass ─────┴─ engine ─ whole answer or stream ─ filters ─ client
                             └ hit before anything was shown: next rung, ask again
                             └ hit later: cut

Before each piece leaves, the generation in force is compared with the one the request was decided on; when it is newer
the request is decided again, so that an entry added meanwhile holds for answers in flight too. Between that comparison
and the departure of the piece nothing is awaited.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import orjson
from aiohttp import web

from guards.context.unknown import answer
from guards.model import Plan
from guards.policy import Rung
from guards.stream.sentences import Sentence
from proxy.asking import EngineRequest, tokens_of
from proxy.assistants.offsets import NotArmed
from proxy.dialects.base import Head, Json, Usage
from proxy.dialects.sse import EventSplitter, events_of
from proxy.errors import ClientLeft, EngineError, ModelGone, RequestError, UpstreamFailed
from proxy.exchange import RAW, Exchange
from proxy.guarded import GuardedStream
from proxy.history import History
from proxy.meaning import Judge
from proxy.reply import Reply
from proxy.server import Server


class Escalate(Exception):
    """The answer under way must not be shown; go on with another plan."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


class Relay:
    """Answers one request."""

    def __init__(self, request: web.Request, exchange: Exchange, server: Server) -> None:
        self._exchange = exchange
        self._engine = EngineRequest(request.headers, exchange, server)
        self._decider = server.decider
        self._metrics = server.metrics
        self._meaning = server.meaning
        self._secret = server.secret
        self._reply = Reply(request, exchange, server.config.limits.keep_alive_s)
        self._judge: Judge | None = None
        self._unarmed = False
        """What the plan wanted to subtract could not be, so nothing is any more, whatever it is decided anew."""

    async def run(self) -> web.StreamResponse:
        """Answers under the exchange's plan, climbing its ladder as the output demands. Raises ClientLeft."""
        x = self._exchange
        while True:
            try:
                if x.plan.rung is Rung.REFUSE:
                    return await self._refuse()
                return await (self._stream() if x.call.stream else self._whole())
            except Escalate as turn:
                x.plan = turn.plan
                self._metrics.escalations.labels(turn.plan.rung or "none").inc()
            except NotArmed:
                self._climb_without_offset()
            except RequestError as error:
                if isinstance(error, ModelGone) and x.plan.subtracted is not None and not self._reply.begun:
                    self._climb_without_offset()
                    continue
                if x.plan.armed and isinstance(error, EngineError) and not error.speaks_of(x.call.body):
                    # It speaks of what we added: a note in the prompt, an arming. That is not for the client.
                    self._unarmed = True
                    x.plan = x.plan.escalate().without_offset()
                    continue
                if not self._reply.begun:
                    raise
                x.outcome = "broken"
                return await self._reply.break_off(error)
            except ClientLeft:
                raise
            except Exception:
                if self._reply.begun:  # whatever failed: it must not look like the end of the answer
                    self._reply.drop()
                raise

    # -- one answer as a whole

    async def _whole(self) -> web.StreamResponse:
        x = self._exchange
        raw, payload = await self._engine.whole()
        prompt_tokens = await self._engine.recount(raw)
        x.tokens = tokens_of(payload)
        raw = await self._checked(payload, prompt_tokens) or raw
        x.outcome = "answered"
        return web.Response(body=raw, content_type="application/json", headers=x.headers())

    async def _checked(self, payload: Json, prompt_tokens: int | None) -> bytes | None:
        """An answer under the filters of the generation in force; None where it may leave as it came."""
        x = self._exchange
        while True:
            while self._outdated:
                await self._catch_up(shown=False)
            if not x.plan.scan_output:
                return None
            answer = await self._meaning.filtered(x, payload, prompt_tokens)
            if self._outdated:
                continue
            checked = answer.checked()
            if checked is None:
                raise Escalate(x.plan.escalate())
            return checked

    # -- one answer as a stream

    async def _stream(self) -> web.StreamResponse:
        x = self._exchange
        guard = self._guard() if x.plan.scan_output else None
        history = History(x.call.choices, x.dialect.keeps)
        self._reply.holds = guard is not None
        async with self._reply.kept_alive(), self._engine.answer() as response:
            splitter = EventSplitter()
            ended = False
            while not ended and (chunk := await response.content.readany()):
                whole = self._engine.unnamed(splitter.feed(chunk))
                if not whole:
                    continue
                if guard is None and self._outdated:
                    guard = await self._armed(history)
                    self._reply.holds = guard is not None
                if guard is None:
                    await self._reply.write(whole)
                    history.add(whole)
                    ended = x.dialect.ends_stream(whole)
                else:
                    await self._pass(guard, whole)
                    ended = guard.done
            if not ended:
                raise UpstreamFailed("the engine broke off its answer")
        if guard is not None and guard.cuts:
            await self._end_cut(guard)
        else:
            x.outcome = "answered"
        return await self._reply.end()

    async def _pass(self, guard: GuardedStream, whole: bytes) -> None:
        """Events through the filters to the client, until the answer is done."""
        for event in events_of(whole):
            prompt_tokens = await self._engine.recount(event)
            await self._decided(guard, guard.look_ahead(event, prompt_tokens))
            if guard.done:
                return
            out = guard.feed(event, prompt_tokens)
            if guard.hit:
                raise Escalate(self._exchange.plan.escalate())
            await self._reply.write(out)

    async def _decided(self, guard: GuardedStream, sentences: Sequence[Sentence]) -> None:
        """Brings a guarded stream to the generation in force, and has sentences judged that are complete with it."""
        while not guard.done:
            if self._judge is not None:
                await self._judge.judge(sentences)
            if not self._outdated:
                return
            for sentence in sentences:  # judged by what is not in force any more
                sentence.tells = None
            await self._follow(guard)

    async def _follow(self, guard: GuardedStream) -> None:
        """Renews the filters of a guarded stream by the generation in force, or cuts it."""
        x = self._exchange
        stricter = await self._catch_up(shown=guard.shown)
        if self._judge is not None:
            self._judge.follow()
        elif not stricter and self._meaning.judge_of(x) is not None:  # its filters cannot wait for sentences
            if not guard.shown:
                raise Escalate(x.plan)
            stricter = True
        # What was shown so far was written without the stricter rung: nothing more of it may follow.
        out = guard.cut_all() if stricter else guard.renew(x.generation, x.secrets())
        if guard.hit:
            raise Escalate(x.plan.escalate())
        await self._reply.write(out)

    async def _armed(self, history: History) -> GuardedStream | None:
        """Brings a stream that passed unguarded to the generation in force; its guard, if it needs one now."""
        x = self._exchange
        while self._outdated:
            stricter = await self._catch_up(shown=self._reply.begun)
            if not x.plan.scan_output:
                continue
            guard = self._guard()
            for event in history.events():
                guard.was_shown(event)
            if stricter:
                await self._reply.write(guard.cut_all())
            return guard
        return None

    async def _end_cut(self, guard: GuardedStream) -> None:
        x = self._exchange
        x.outcome = "cut"
        self._metrics.cuts.inc(guard.cuts)
        usage = Usage(await self._engine.prompt_tokens(), guard.tokens) if x.call.include_usage else None
        await self._reply.write(guard.end_cut(usage))

    def _guard(self) -> GuardedStream:
        """The filters of the answer that begins, or goes on guarded, under the plan; they share one judge."""
        x = self._exchange
        self._judge = self._meaning.judge_of(x)
        return GuardedStream(x.dialect, x.call, x.generation, x.secrets(), by_sentence=self._judge is not None)

    @property
    def _outdated(self) -> bool:
        """True when the index has changed since the request was decided."""
        x = self._exchange
        return self._decider.current is not x.generation and x.arm != RAW

    async def _catch_up(self, *, shown: bool) -> bool:
        """Decides again; True if what was decided before was too mild. Raises Escalate if the answer can start over."""
        x = self._exchange
        before, x.generation = x.plan, self._decider.current
        plan = await self._decider.decide(x.subject, x.generation, x.arm)
        plan = plan.without_offset() if self._unarmed else plan
        if before.covers(plan):
            # The rung stays, but what the answer must not tell is what the request matches now.
            x.plan = replace(
                before if before.armed else plan,
                scan_output=before.scan_output or plan.scan_output,
                reads_answer=before.reads_answer or plan.reads_answer,
                findings=plan.findings,
            )
            return False
        x.plan = plan
        if not shown:
            raise Escalate(plan)
        return True

    # -- answers of our own

    async def _refuse(self) -> web.StreamResponse:
        x = self._exchange
        texts = [answer(x.call.question, style=x.plan.style, key=self._secret, choice=i) for i in range(x.call.choices)]
        # Side by side: an engine that hangs delays a refusal once.
        usage = Usage(*await asyncio.gather(self._engine.prompt_tokens(), self._engine.tokens(texts)))
        head = Head(x.id.removeprefix("req_"), int(time.time()), x.call.model)
        x.outcome = "refused"
        if not x.call.stream:
            body = orjson.dumps(x.dialect.answer(x.call, head, texts, usage))
            return web.Response(body=body, content_type="application/json", headers=x.headers())
        for event in x.dialect.spoken(x.call, head, texts, usage):
            await self._reply.write(event)
        return await self._reply.end()

    def _climb_without_offset(self) -> None:
        x = self._exchange
        self._metrics.offsets_lacked.labels("sent").inc()
        self._unarmed = True
        x.plan = x.plan.without_offset()
