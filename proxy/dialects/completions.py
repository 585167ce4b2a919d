"""`/v1/completions`."""

from collections.abc import Iterator, Sequence
from typing import Any

from guards.context.note import Note
from guards.prompt.fields import texts_in
from guards.prompt.tables import COMPLETIONS
from proxy.dialects.base import Call, Json, Leaf, Text, Usage, common, string_leaves
from proxy.errors import BadRequest

MAX_PROMPTS = 256  # each is a choice with a filter of its own, and an answer where it is refused

_STRUCTURAL = frozenset({"finish_reason", "index", "logprobs", "stop_reason"})

_NUMBERS = "'prompt' as token ids cannot be checked here: send it as text"


class Completions:
    """Plain text completions, streaming and not."""

    name = "completions"
    path = "/v1/completions"
    table = COMPLETIONS
    choice_fields = frozenset({"index", "text", "finish_reason", "stop_reason"})

    def parse(self, body: Json) -> Call:
        model, stream, choices, include_usage = common(body)
        prompts = _prompts(body.get("prompt"))
        texts = [Text("user", f"prompt[{place}]", text) for place, text in enumerate(prompts)]
        for name in ("response_format", "structured_outputs"):
            if body.get(name) is not None:
                texts += [Text(name, path, text) for path, text in texts_in(body[name], name)]
        return Call(body, model, stream, choices * len(prompts), include_usage, tuple(texts), prompts[-1])

    def amend(self, body: Json, note: Note) -> Json:
        lead = note.as_text()
        prompts = body["prompt"]
        amended: Any = [lead + p for p in prompts] if isinstance(prompts, list) else lead + prompts
        return {**body, "prompt": amended}

    def tokenize_request(self, body: Json) -> Json:
        prompt = body["prompt"]
        return {"model": body["model"], "prompt": "".join(prompt) if isinstance(prompt, list) else prompt}

    def leaves(self, choice: Json) -> Iterator[Leaf]:
        for path, holder, key in string_leaves(choice, _STRUCTURAL, ()):
            yield Leaf(choice.get("index", 0), path, holder, key)

    def is_json(self, channel: tuple[str | int, ...]) -> bool:
        return False

    def answer(self, head: Json, texts: Sequence[str], usage: Usage, finish_reason: str) -> Json:
        choices = [
            {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
            for index, text in enumerate(texts)
        ]
        return {**head, "object": "text_completion", "choices": choices, "usage": usage.as_json()}

    def opening(self, head: Json, choice: int) -> Json | None:
        return None

    def delta(self, head: Json, choice: int, channel: tuple[str | int, ...], text: str) -> Json:
        return self._event(head, choice, text, None)

    def finish(self, head: Json, choice: int, reason: str) -> Json:
        return self._event(head, choice, "", reason)

    @staticmethod
    def _event(head: Json, choice: int, text: str, reason: str | None) -> Json:
        item = {"index": choice, "text": text, "logprobs": None, "finish_reason": reason}
        return {**head, "object": "text_completion", "choices": [item]}


def _prompts(prompt: Any) -> list[str]:
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and len(prompt) > MAX_PROMPTS:
        if isinstance(prompt[0], int):
            raise BadRequest(_NUMBERS, param="prompt")
        raise BadRequest(f"'prompt' holds at most {MAX_PROMPTS} texts", param="prompt")
    if isinstance(prompt, list) and prompt and all(isinstance(item, str) for item in prompt):
        return list(prompt)
    if isinstance(prompt, list) and prompt and all(isinstance(item, int | list) for item in prompt):
        raise BadRequest(_NUMBERS, param="prompt")
    raise BadRequest("'prompt' is a text, or a list of texts", param="prompt")
