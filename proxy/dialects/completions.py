"""`/v1/completions`."""

from collections.abc import Iterator
from typing import Any

from guards.context.note import Note
from guards.prompt.tables import COMPLETIONS
from proxy.dialects.answers import empty_unknown, string_leaves
from proxy.dialects.base import Call, Channel, Json, Leaf, Text
from proxy.dialects.choices import ChoiceDialect
from proxy.dialects.requests import common, seams_last, texts_beside
from proxy.dialects.sse import UNKNOWN_SHAPE, BrokenStream
from proxy.errors import BadRequest

MAX_PROMPTS = 256  # each is a choice with a filter of its own, and an answer where it is refused

_CHOICE_FIELDS = frozenset({"index", "text", "finish_reason", "stop_reason"})
_STRUCTURAL = frozenset({"finish_reason", "index", "logprobs", "stop_reason"})


class Completions(ChoiceDialect):
    """Plain text completions, streaming and not."""

    name = "completions"
    path = "/v1/completions"
    table = COMPLETIONS
    id_prefix = "cmpl"
    whole = "text_completion"

    def parse(self, body: Json) -> Call:
        model, stream, choices, include_usage = common(body)
        prompts = _prompts(body.get("prompt"))
        texts = [Text("user", f"prompt[{place}]", text) for place, text in enumerate(prompts)]
        texts += texts_beside(body, "response_format", "structured_outputs")
        count = choices * len(prompts)
        return Call(body, model, stream, count, include_usage, seams_last(texts), prompts[-1], leads=tuple(prompts))

    def amend(self, body: Json, note: Note) -> Json:
        lead = note.as_text()
        prompts = body["prompt"]
        amended: Any = [lead + p for p in prompts] if isinstance(prompts, list) else lead + prompts
        return {**body, "prompt": amended}

    def tokenize_request(self, body: Json) -> Json:
        prompt = body["prompt"]
        return {"model": body["model"], "prompt": "".join(prompt) if isinstance(prompt, list) else prompt}

    # -- the shape of its choices

    def said(self, text: str) -> Json:
        return {"text": text}

    def trim(self, choice: Json) -> bool:
        if not isinstance(choice.get("text"), str | None):
            raise BrokenStream(UNKNOWN_SHAPE)
        return empty_unknown(choice, _CHOICE_FIELDS)

    def leaves(self, choice: Json) -> Iterator[Leaf]:
        for path, holder, key in string_leaves(choice, _STRUCTURAL, ()):
            yield Leaf(choice.get("index", 0), path, holder, key)

    def event(self, head: Json, choice: int, said: tuple[Channel, str] | None, reason: str | None) -> Json:
        item = {"index": choice, "text": said[1] if said else "", "logprobs": None, "finish_reason": reason}
        return {**head, "object": "text_completion", "choices": [item]}

    def opening(self, head: Json, choice: int) -> Json | None:
        return None

    def answers(self, leaf: Leaf) -> bool:
        return leaf.channel == ("text",)

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
