"""A guarded stream: events of the engine in, events for the client out, every string through the output filters.

No I/O. Invariants
1. Nothing leaves before the first text that may leave: until then a hit can still be answered otherwise (`hit`).
2. An event that needs no change leaves as the bytes that came.
3. What an event's dialect does not know does not leave; neither do log-probabilities, which spell the text.
4. A choice that is cut ends with valid events of its dialect and says nothing more; the other choices go on.
"""

from collections import deque
from collections.abc import Sequence

import orjson

from guards.stream.json_text import JsonTextFilter, unescaped
from guards.stream.phrase import Cut, PhraseFilter, Step
from guards.stream.sentences import Sentence, SentenceFilter
from guards.stream.telling import Secret, TellingFilter
from indexes.generation import Generation
from proxy.dialects.base import AnswerStream, Call, Channel, Dialect, Event, Json, Leaf, Usage
from proxy.dialects.sse import KEEP_ALIVE, BrokenStream, data_of

Ahead = tuple[bytes | None, frozenset[int], Event | None]
"""An event that was looked at before it is fed: as it came, the choices that were open, and as it was read."""

_NOTHING_AHEAD: Ahead = (None, frozenset(), None)

Filter = PhraseFilter | TellingFilter | JsonTextFilter | SentenceFilter


class GuardedStream:
    """The filters of one answer: one for each string of each choice that a client can read."""

    def __init__(
        self,
        dialect: Dialect,
        call: Call,
        generation: Generation,
        secrets: Sequence[Secret] | None = None,
        *,
        by_sentence: bool = False,
    ) -> None:
        """`secrets`: of the entries that the request matched; None for one that is not armed.

        `by_sentence`: sentences wait for a verdict, so each event is shown to `look_ahead` before it is fed.
        """
        self._answer: AnswerStream = dialect.stream(call)
        self._call = call
        self._generation = generation
        self._secrets = secrets
        self._by_sentence = by_sentence
        self._filters: dict[int, dict[Channel, Filter]] = {}
        self._whole: dict[tuple[int, Channel, str], deque[Filter]] = {}
        """Filters of strings that stand for themselves, which have looked ahead; equal ones each have their own."""
        self._ahead = _NOTHING_AHEAD
        self._open = set(range(call.choices))
        self._held: list[bytes] = []
        self._held_whole: list[Leaf] = []
        """The strings that stand for themselves in what is held: they were judged, and have not left."""
        self._showing = False
        self.tokens = 0
        """Events with text so far: the engine sends one for each token."""
        self.cuts = 0
        """Choices that were cut."""
        self.shown = False
        """True once the client has been given anything of this answer."""
        self.hit = False
        """Something forbidden came before anything was shown: give up this answer and take the next rung."""
        self.done = False
        """The answer is complete; what the engine still sends is not for the client."""

    def look_ahead(self, raw: bytes, prompt_tokens: int | None = None) -> list[Sentence]:
        """The sentences that an event of the engine completes: to be judged before it is fed. Raises as `feed` does."""
        if not self._by_sentence:
            return []
        data = data_of(raw)
        event = None if data is None else self._answer.read(raw, data, self._open, prompt_tokens)
        self._ahead = raw, frozenset(self._open), event
        return self.sentences(event) if event else []

    def sentences(self, event: Event) -> list[Sentence]:
        """The same for an event that was read."""
        found: list[Sentence] = []
        if not self._by_sentence:
            return found
        self._whole = {}
        for leaf in event.leaves:
            one = self._new_filter(leaf) if leaf.whole else self._filter_of(leaf)
            if leaf.whole:
                self._whole.setdefault((leaf.choice, leaf.channel, leaf.text), deque()).append(one)
            if isinstance(one, SentenceFilter):
                found += one.look_ahead(leaf.text, ends=leaf.whole)
        for choice, start in (*event.closes, *((choice, ()) for choice in event.ends)):
            for channel in self._below(choice, start):
                one = self._filters[choice][channel]
                if isinstance(one, SentenceFilter):
                    found += one.look_ahead("", ends=True)
        return found

    def feed(self, raw: bytes, prompt_tokens: int | None = None) -> bytes:
        """Takes one event of the engine; returns what may leave. `prompt_tokens` replaces the engine's count.

        Raises BrokenStream for what is no event of this dialect, UpstreamFailed for an error that the engine reports.
        """
        (looked_at, were_open, event), self._ahead = self._ahead, _NOTHING_AHEAD
        data = data_of(raw)
        if data is None:
            return self._leave(KEEP_ALIVE)
        if looked_at is not raw or were_open != self._open:  # a choice was cut since
            event = self._answer.read(raw, data, self._open, prompt_tokens)
        return b"" if event is None else self.take(event)

    def take(self, event: Event) -> bytes:
        """Takes an event that was read; returns what may leave."""
        before: list[bytes] = []
        cut: list[int] = []
        self.tokens += len({leaf.choice for leaf in event.leaves if leaf.text and not leaf.whole})
        stays = self._filter(event, cut)
        self._close(event, before, cut)
        if self.hit:
            return b""
        for choice in event.ends:
            self._open.discard(choice)
            self._showing = True  # also an empty answer is an answer
        if event.final and self._open:
            raise BrokenStream("the engine ended the stream before it ended the answer")
        self.done = event.final or (bool(self.cuts) and not self._open)
        event.changed |= bool(cut)
        out = [*before, b"" if stays or event.whole else self._answer.write(event, cut)]
        return self._leave(b"".join([*out, *(self._answer.cut(choice) for choice in cut)]))

    def renew(self, generation: Generation, secrets: Sequence[Secret] | None = None) -> bytes:
        """Moves to a newer generation; what it adds also holds for text that is held now."""
        self._generation, self._secrets = generation, secrets
        for one in (one for ahead in self._whole.values() for one in ahead):
            one.renew(generation.phrases, generation.forbidden)  # nothing was fed to them yet
        if any(isinstance(_whole_step(self._strings(leaf), leaf), Cut) for leaf in self._held_whole):
            self.hit = True  # nothing was shown yet
            return b""
        out: list[bytes] = []
        for choice in sorted(self._open):
            for channel, one in self._filters.get(choice, {}).items():
                step = one.renew(generation.phrases, generation.forbidden)
                if isinstance(step, Cut) and not self._may_cut(choice):
                    return b""
                if step.text:
                    self._showing = True
                    out.append(self._answer.piece(choice, channel, step.text))
                if isinstance(step, Cut):
                    out.append(self._answer.cut(choice))
                    break
        self.done = bool(self.cuts) and not self._open
        return self._leave(b"".join(out))

    def cut_all(self) -> bytes:
        """Ends every open choice. Where all have ended, nothing is left to cut but the end of the stream."""
        out = [self._answer.cut(choice) for choice in sorted(self._open) if self._may_cut(choice, force=True)]
        self.done = bool(self.cuts)
        return self._leave(b"".join(out))

    def end_cut(self, usage: Usage | None) -> bytes:
        """The end of a stream of which a choice was cut."""
        return self._answer.end_cut(usage)

    def was_shown(self, raw: bytes) -> None:
        """Tells of an event that left before this guard was there."""
        self.shown = self._showing = True
        data = data_of(raw)
        event = data and self._answer.read(raw, data, self._open, None)
        if not event:
            return
        for leaf in event.leaves:
            if not leaf.whole:
                self._filter_of(leaf).shown_before(leaf.text)
        self._answer.seen(event)
        for choice, start in event.closes:
            for channel in self._below(choice, start):
                del self._filters[choice][channel]
        self._open.difference_update(event.ends)

    # -- inside

    def _filter(self, event: Event, cut: list[int]) -> bool:
        """Filters the strings of an event in place; returns True when the event must stay here."""
        stays = False
        for leaf in event.leaves:
            if leaf.choice not in self._open:  # cut by an earlier string
                if leaf.text and not leaf.whole:
                    leaf.text, event.changed = "", True
                continue
            step = self._judge(leaf) if leaf.whole else self._filter_of(leaf).on_delta(leaf.text)
            if leaf.whole:
                stays |= isinstance(step, Cut)
                if not self.shown:
                    self._held_whole.append(leaf)
            else:
                self._showing |= bool(step.text)
                if step.text != leaf.text:
                    leaf.text, event.changed = step.text, True
            if isinstance(step, Cut) and self._may_cut(leaf.choice):
                cut.append(leaf.choice)
        return stays

    def _close(self, event: Event, before: list[bytes], cut: list[int]) -> None:
        """Strings that are complete with this event: what is held of them leaves with or before it, or is cut."""
        if not event.closes and not event.ends:
            return
        last = {(leaf.choice, leaf.channel): leaf for leaf in event.leaves if not leaf.whole}
        for choice, start in (*event.closes, *((choice, ()) for choice in event.ends)):
            for channel in self._below(choice, start):
                if choice not in self._open:
                    break
                step = self._filters[choice].pop(channel).on_finish()
                if step.text and (choice, channel) in last:
                    last[choice, channel].text += step.text
                    event.changed = self._showing = True
                elif step.text:
                    before.append(self._answer.piece(choice, channel, step.text))
                    self._showing = True
                if isinstance(step, Cut) and self._may_cut(choice):
                    cut.append(choice)

    def _below(self, choice: int, start: Channel) -> list[Channel]:
        return [channel for channel in self._filters.get(choice, {}) if channel[: len(start)] == start]

    def _judge(self, leaf: Leaf) -> Step:
        """A string that stands for itself, all of it at once."""
        ahead = self._whole.get((leaf.choice, leaf.channel, leaf.text))
        return _whole_step(ahead.popleft() if ahead else self._new_filter(leaf), leaf)

    def _may_cut(self, choice: int, *, force: bool = False) -> bool:
        """Closes a choice; before anything was shown, asks for the next rung instead."""
        if not self.shown and not force:
            self.hit = True
            return False
        self._open.discard(choice)
        self.cuts += 1
        return True

    def _filter_of(self, leaf: Leaf) -> Filter:
        channels = self._filters.setdefault(leaf.choice, {})
        found = channels.get(leaf.channel)
        if found is None:
            found = channels[leaf.channel] = self._new_filter(leaf)
        return found

    def _strings(self, leaf: Leaf) -> PhraseFilter | TellingFilter | JsonTextFilter:
        """What is forbidden by its words."""
        phrases = PhraseFilter(self._generation.phrases, self._generation.forbidden, disguised=True)
        inner = phrases if self._secrets is None else TellingFilter(phrases, lambda: self._secrets or ())
        return JsonTextFilter(inner) if self._answer.is_json(leaf.channel) else inner

    def _new_filter(self, leaf: Leaf) -> Filter:
        strings, read = self._strings(leaf), unescaped if self._answer.is_json(leaf.channel) else str
        answers = self._answer.answers(leaf)
        one: Filter = SentenceFilter(strings, read, answers=answers) if self._by_sentence else strings
        lead = self._call.lead(leaf.choice)
        if lead and answers:
            one.shown_before(self._end_of(lead))
            if isinstance(one, SentenceFilter):
                one.end_turn()
        return one

    def _end_of(self, lead: str) -> str:
        """As much of what an answer goes on from as a phrase can reach back into, from a word's start."""
        room = 2 * self._generation.phrases.longest_span
        if len(lead) <= room:
            return lead
        start = len(lead) - room
        while start < len(lead) and not lead[start].isspace():
            start += 1
        return lead[start:]

    def _leave(self, out: bytes) -> bytes:
        """What leaves now. Before the first text everything waits, so that a hit leaves no trace of this answer."""
        self._held.append(out)
        if not self._showing and not self.done:
            return b""
        out = b"".join(self._held)
        self._held, self._held_whole = [], []
        self.shown |= bool(out)
        return out


def _whole_step(one: Filter, leaf: Leaf) -> Step:
    step = one.on_delta(leaf.text)
    return step if isinstance(step, Cut) else one.on_finish()


class WholeAnswer:
    """An answer that came in one piece, under the filters. Raises BrokenStream where it is none.

    One path for both: a whole answer is a stream of one event.
    """

    def __init__(
        self,
        dialect: Dialect,
        call: Call,
        payload: Json,
        generation: Generation,
        prompt_tokens: int | None,
        secrets: Sequence[Secret] | None = None,
        *,
        by_sentence: bool = False,
    ) -> None:
        self._event = dialect.stream(call).read_whole(payload, prompt_tokens)
        self._guard = GuardedStream(dialect, call, generation, secrets, by_sentence=by_sentence)
        self.sentences = self._guard.sentences(self._event)
        """To be judged before the answer is `checked`."""

    def checked(self) -> bytes | None:
        """The answer; None when it must not be shown."""
        self._guard.take(self._event)
        return None if self._guard.hit or self._guard.cuts else orjson.dumps(self._event.payload)
