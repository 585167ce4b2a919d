"""`/v1/completions`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guards.context.note import Note
from guards.prompt.fields import texts_in
from guards.prompt.tables import COMPLETIONS
from proxy.dialects.base import (
    AnswerStream,
    Call,
    Channel,
    Head,
    Json,
    Leaf,
    Text,
    Usage,
    common,
    keep_only,
    string_leaves,
)
from proxy.dialects.choices import ChoiceStream, head_of, spoken
from proxy.dialects.sse import BrokenStream, ends_with_done, error_event
from proxy.errors import BadRequest, RequestError

MAX_PROMPTS = 256  # each is a choice with a filter of its own, and an answer where it is refused

_CHOICE_FIELDS = frozenset({"index", "text", "finish_reason", "stop_reason"})
_STRUCTURAL = frozenset({"finish_reason", "index", "logprobs", "stop_reason"})


class Completions:
    """Plain text completions, streaming and not."""

    name = "completions"
    path = "/v1/completions"
    table = COMPLETIONS
    always: Mapping[str, Any] = {}
    id_prefix = "cmpl"

    def parse(self, body: Json) -> Call:
        model, stream, choices, include_usage = common(body)
        prompts = _prompts(body.get("prompt"))
        texts = [Text("user", f"prompt[{place}]", text) for place, text in enumerate(prompts)]
        for name in ("response_format", "structured_outputs"):
            if body.get(name) is not None:
                texts += [Text(name, path, text) for path, text in texts_in(body[name], name)]
        return Call(
            body, model, stream, choices * len(prompts), include_usage, tuple(texts), prompts[-1], leads=tuple(prompts)
        )

    def amend(self, body: Json, note: Note) -> Json:
        lead = note.as_text()
        prompts = body["prompt"]
        amended: Any = [lead + p for p in prompts] if isinstance(prompts, list) else lead + prompts
        return {**body, "prompt": amended}

    def tokenize_request(self, body: Json) -> Json:
        prompt = body["prompt"]
        return {"model": body["model"], "prompt": "".join(prompt) if isinstance(prompt, list) else prompt}

    def stream(self, call: Call) -> AnswerStream:
        return ChoiceStream(self, call)

    def is_answer(self, payload: Any) -> bool:
        return isinstance(payload, dict) and isinstance(payload.get("choices"), list)

    def ends_stream(self, whole: bytes) -> bool:
        return ends_with_done(whole)

    def keeps(self, event: bytes) -> bool:
        return b'"finish_reason":"' in event

    def answer(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Json:
        choices = [
            {"index": index, "text": text, "logprobs": None, "finish_reason": "stop"}
            for index, text in enumerate(texts)
        ]
        return {**head_of(self, head), "object": "text_completion", "choices": choices, "usage": usage.as_json()}

    def spoken(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Iterator[bytes]:
        return spoken(self, call, head, texts, usage)

    def error(self, error: RequestError) -> bytes:
        return error.body()

    def error_event(self, error: RequestError) -> bytes:
        return error_event(error.body())

    # -- the shape of its choices

    def trim(self, choice: Json) -> bool:
        if not isinstance(choice.get("text"), str | None):
            raise BrokenStream("an event of the engine has an unknown shape")
        return keep_only(_CHOICE_FIELDS, choice)

    def leaves(self, choice: Json) -> Iterator[Leaf]:
        for path, holder, key in string_leaves(choice, _STRUCTURAL, ()):
            yield Leaf(choice.get("index", 0), path, holder, key)

    def event(self, head: Json, choice: int, said: tuple[Channel, str] | None, reason: str | None) -> Json:
        item = {"index": choice, "text": said[1] if said else "", "logprobs": None, "finish_reason": reason}
        return {**head, "object": "text_completion", "choices": [item]}

    def opening(self, head: Json, choice: int) -> Json | None:
        return None

    def continues(self, channel: Channel) -> bool:
        return channel == ("text",)

    def is_json(self, channel: Channel) -> bool:
        return False


def _prompts(prompt: Any) -> list[str]:
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and len(prompt) > MAX_PROMPTS:
        raise BadRequest(f"'prompt' holds at most {MAX_PROMPTS} texts", param="prompt")
    if isinstance(prompt, list) and prompt and all(isinstance(item, str) for item in prompt):
        return list(prompt)
    raise BadRequest("'prompt' is a text, a list of texts, or token ids", param="prompt")
