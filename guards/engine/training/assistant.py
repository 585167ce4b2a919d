"""From rows to an assistant: hold rows out, train the parts, sweep strengths, choose one, write folder and card."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import AutoTokenizer

from guards.engine import fingerprint
from guards.engine.card import Card
from guards.engine.contract import Arming
from guards.engine.training import auxiliary, dead_zone, measure, objectives, publish
from guards.engine.training.decode import Served
from guards.engine.training.encode import Encoded, encode
from guards.engine.training.loop import Progress
from guards.engine.training.measure import Swept
from guards.engine.training.own import own_answers
from guards.engine.training.plan import Plan
from guards.engine.training.rows import Row, digest, hold_out
from guards.engine.training.train import device, train_parts

HELD_OUT = 0.2
MOST_HELD_OUT = 20  # rows a side: a sweep generates an answer to each at every strength
ANSWER_TOKENS = 48  # of an answer while strengths are swept


@dataclass(frozen=True, slots=True)
class Material:
    """All rows of a training. paraphrases: other ways to ask the forget questions. perturbed: wrong answers to them.

    reference: questions whose subject the model never learned; its recall there is the level to fall to. questions:
    to which the base's own answers must stay. choose_forget, choose_retain: rows that choose the strength; where there
    are none, some of the paraphrases and of the retain rows are held out for it. choose_questions: to which the base's
    own answers choose the dead zone; where there are none, those of the retain rows that choose the strength.
    """

    forget: Sequence[Row] = field(repr=False)
    retain: Sequence[Row] = field(repr=False)
    paraphrases: Sequence[Row] = field(default=(), repr=False)
    perturbed: Sequence[Row] = field(default=(), repr=False)
    reference: Sequence[Row] = field(default=(), repr=False)
    questions: Sequence[str] = field(default=(), repr=False)
    choose_forget: Sequence[Row] = field(default=(), repr=False)
    choose_retain: Sequence[Row] = field(default=(), repr=False)
    choose_questions: Sequence[str] = field(default=(), repr=False)

    def hashes(self) -> dict[str, str]:
        """SHA-256 by name, of what is not empty."""
        sides = ("forget", "retain", "paraphrases", "perturbed", "reference", "choose_forget", "choose_retain")
        found = {name: digest(getattr(self, name)) for name in sides if getattr(self, name)}
        if self.choose_questions:
            found["choose_questions"] = digest([Row(question, "") for question in self.choose_questions])
        return found


@dataclass(frozen=True, slots=True)
class Says:
    """Where progress goes: each step, each strength that was swept, and what begins."""

    step: Callable[[Progress], None]
    swept: Callable[[float], None]
    begins: Callable[[str], None]


def train_assistant(
    name: str, plan: Plan, base: Path, material: Material, root: Path, work: Path, says: Says, small: Path | None = None
) -> tuple[Card, Path]:
    """Train, choose and write the next version of assistant `name` under `root`; return its card and folder.

    work: checkpoints of stages, from which an interrupted call goes on. small: the model that parts are made of; None
    is the first layers of the base.
    """
    identity = fingerprint.of(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    part_identity = fingerprint.of(small) if small else identity
    if material.questions:
        says.begins("asking the base what must stay")
        own = own_answers(base, identity, tokenizer, material.questions, work)
        material = replace(material, retain=[*material.retain, *own], questions=())
    if not material.retain:
        raise ValueError("there is nothing that must stay: give retain rows, or questions the base answers itself")
    # A strength must hold for questions that the parts were not trained on.
    reworded, forget_out = _held_out(material.paraphrases, material.choose_forget, plan.seed)
    retain, retain_out = _held_out(material.retain, material.choose_retain, plan.seed)
    streams = objectives.streams_of([*material.forget, *reworded], material.perturbed, retain)
    says.begins("loading")
    model, losses = train_parts(plan, small or base, part_identity, tokenizer, streams, work, says.step)
    says.begins("measuring")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    whole = auxiliary.load(base).to(device())
    served = Served.wearing(whole, model, plan.trained.roles, pad, tokenizer.eos_token_id)
    encoded = [
        [encode(tokenizer, row, plan.max_tokens) for row in rows]
        for rows in (forget_out or material.forget, retain_out or material.retain, material.reference)
    ]
    drafted = _draft_card(name, publish.next_version(root, name), plan, identity, material)
    measured = measure.Measured(work, _figures_key(model, identity, drafted, encoded))
    if plan.rest:
        says.begins("choosing the dead zone")
        questions = material.choose_questions or [row.question for row in retain_out or material.retain]
        own = own_answers(base, identity, tokenizer, questions, work)
        still = [encode(tokenizer, row, plan.max_tokens) for row in own]
        zone = dead_zone.chosen(dead_zone.divergences(served, still, drafted.arming(1, served.roles)), plan.rest)
        drafted = replace(drafted, dead_zone=zone)
        says.begins(f"dead zone: {zone:g}")
    armings = [(strength, drafted.arming(strength, served.roles)) for strength in sorted(plan.strengths)]
    swept, level = _swept(armings, served, tokenizer, encoded, measured, says)
    chosen = measure.choose(swept, plan.keep, level)
    card = replace(
        drafted,
        strength=chosen.strength,
        settings=drafted.settings | {"level": level, "losses": {role: round(loss, 4) for role, loss in losses.items()}},
        metrics={"before": _sides(swept[0]), "after": _sides(chosen)},
        sweep=[row.as_json() for row in swept],
    )
    with publish.folder_of(root, name) as folder:
        if small is None:
            publish.write_adapter(model, card.parts, base.name, folder)
        else:
            publish.write_checkpoints(small, model, card.parts, plan, folder)
        card.write(folder)
    return card, root / name / str(card.version)


def _held_out(rows: Sequence[Row], chosen: Sequence[Row], seed: int) -> tuple[list[Row], list[Row]]:
    return (list(rows), list(chosen)) if chosen else hold_out(rows, HELD_OUT, seed, MOST_HELD_OUT)


def _draft_card(name: str, version: int, plan: Plan, base: str, material: Material) -> Card:
    settings: dict[str, Any] = asdict(plan) | {"weights": asdict(plan.weights), "rule": measure.RULE}
    settings["row_counts"] = {side: len(getattr(material, side)) for side in material.hashes()}
    return Card(
        name=name,
        version=version,
        objective=plan.objective,
        kind="layers" if plan.layers else "checkpoint",
        base=base,
        parts=plan.trained.parts,
        strength=max(plan.strengths),
        max_strength=max(plan.strengths),
        combine=plan.combine,
        k=plan.k,
        filter_rate=plan.filter_rate,
        layers=plan.layers,
        rank=plan.rank if plan.layers else None,
        hashes=material.hashes(),
        settings=settings,
    )


def _swept(
    armed: Sequence[tuple[float, Arming]],
    served: Served,
    tokenizer: Any,
    encoded: Sequence[Sequence[Encoded]],
    measured: measure.Measured,
    says: Says,
) -> tuple[list[Swept], float | None]:
    """The sweep, strength 0 first, and the level of the reference rows where there are any."""
    forget, retain, reference = encoded
    armings: list[tuple[float, Arming | None]] = [(0.0, None), *armed]
    swept = measure.sweep(served, tokenizer, forget, retain, armings, ANSWER_TOKENS, measured, says.swept)
    if not reference:
        return swept, None
    answers = served.answers([row.ids[: row.prompt] for row in reference], None, ANSWER_TOKENS)
    return swept, measure.mean_recall(tokenizer, reference, answers)


def _figures_key(model: PeftModel, base: str, card: Card, encoded: Sequence[Sequence[Encoded]]) -> str:
    """SHA-256 over all that decides the figures of a sweep, but for the strength."""
    digest = hashlib.sha256(json.dumps([base, ANSWER_TOKENS, [[row.ids for row in rows] for rows in encoded]]).encode())
    for part in card.parts:
        for name, tensor in sorted(auxiliary.weights_of(model, part.role).items()):
            digest.update(f"{part.slot} {name}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _sides(row: Swept) -> Mapping[str, Mapping[str, float]]:
    return {"forget": row.forget.as_json(), "retain": row.retain.as_json()}
