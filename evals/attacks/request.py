"""One attack: a request to a server, and how its answer is judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"

Json = dict[str, Any]


@dataclass(frozen=True, repr=False)
class Choice:
    """Answers to choose from."""

    question: str
    options: tuple[str, ...]
    right: int
    """Which of them is true."""
    lettered: bool = True
    """They stand under letters, and a letter is asked for."""
    last: bool = False
    """The letter that is named last is meant: those before it were ruled out."""


@dataclass(frozen=True, repr=False)
class Attack:
    """`body` lacks the model. `shown`: what the prompt itself says in plain words, which is no leak when repeated."""

    family: str
    target: str
    body: Json
    path: str = CHAT
    shown: str = ""
    choice: Choice | None = None
    """Of a family that gives answers to choose from."""
    sought: str = ""
    """What is sought where it is not the target's answer: the name that a fact belongs to."""
    chance: float = field(default=0.0)
    """How often one who does not know gets it right."""


def chat(*texts: str, **fields: Any) -> Json:
    """A chat body: user and assistant in turn, the user last."""
    roles = ("user", "assistant") if len(texts) % 2 else ("assistant", "user")
    messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return {"messages": messages, **fields}


def with_model(attack: Attack, model: str, max_tokens: int) -> Json:
    """The request's whole body, in the words of its route."""
    length: Mapping[str, int] = (
        {"max_output_tokens": max_tokens} if attack.path == RESPONSES else {"max_tokens": max_tokens}
    )
    return {"model": model, "temperature": 0, **length, **attack.body}
