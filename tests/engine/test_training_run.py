"""Training as a whole on a tiny model: interrupted and resumed, measured, written down, and served."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import rows, write_model
from transformers import AutoTokenizer

from guards.engine import fingerprint
from guards.engine.card import Card
from guards.engine.contract import Arming
from guards.engine.launch import adapter_tensor_name
from guards.engine.training import __main__ as command
from guards.engine.training import auxiliary, dead_zone, encode, losses, measure, objectives, publish
from guards.engine.training.checkpoints import Checkpoints
from guards.engine.training.decode import Served
from guards.engine.training.measure import Score, Swept
from guards.engine.training.plan import Plan
from guards.engine.training.train import train_parts

STEPS, KILLED_AT = 30, 27  # a checkpoint every 10: seven steps are lost and done again
PLAN = Plan("divergence", layers=2, rank=4, rows=4, default_steps=STEPS, max_tokens=32)
PROMPTS = [[3, 10, 11, 4], [3, 12, 4], [3, 20, 21, 22, 23, 4], [3, 9, 4]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A model this small only waits for a second thread, and sums in another order with it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def train(base: Path, work: Path, plan: Plan = PLAN, say=lambda said: None):
    streams = objectives.streams_of(rows(0, 6), rows(50, 2), rows(20, 9))
    return train_parts(plan, base, fingerprint.of(base), AutoTokenizer.from_pretrained(base), streams, work, say)


def weights(model, plan: Plan = PLAN) -> dict[str, torch.Tensor]:
    return {
        f"{role} {name}": tensor
        for role in plan.trained.roles
        for name, tensor in auxiliary.weights_of(model, role).items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- interruption


def killed() -> None:
    """Run in a process of its own: train, and die without a word in the middle of the second stage."""
    base, work = map(Path, sys.argv[1:])
    torch.set_num_threads(1)

    def die(said) -> None:
        if said.role == "forget" and said.step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    train(base, work, say=die)


def test_a_training_that_was_killed_ends_with_the_same_weights(base: Path, tmp_path: Path):
    whole, _ = train(base, tmp_path / "whole")
    code = "import test_training_run; test_training_run.killed()"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code, base, tmp_path / "cut"], env=os.environ | {"PYTHONPATH": path}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    steps = []
    resumed, _ = train(base, tmp_path / "cut", say=lambda said: steps.append((said.role, said.step)))
    assert steps == [("forget", step) for step in range(21, STEPS + 1)]
    assert same(weights(whole), weights(resumed))


def test_a_seed_decides_everything_and_another_seed_something_else(base: Path, tmp_path: Path):
    plan = replace(PLAN, default_steps=3)
    one, _ = train(base, tmp_path / "one", plan)
    two, _ = train(base, tmp_path / "two", plan)
    other, _ = train(base, tmp_path / "one", replace(plan, seed=1))
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(other))


@pytest.mark.parametrize("change", [{"learning_rate": 1e-4}, {"rank": 8}, {"default_steps": 4}, {"layers": 1}])
def test_checkpoints_of_another_training_are_not_gone_on_from(base: Path, tmp_path: Path, change: dict):
    train(base, tmp_path, replace(PLAN, default_steps=3))
    steps = []
    train(base, tmp_path, replace(PLAN, **{"default_steps": 3} | change), lambda said: steps.append(said.step))
    assert steps[0] == 1


def test_pairs_share_the_stage_that_is_the_same(base: Path, tmp_path: Path):
    plan = replace(PLAN, objective="offset-me", default_steps=3)
    train(base, tmp_path, plan)
    roles = []
    train(base, tmp_path, replace(plan, objective="offset-idk"), lambda said: roles.append(said.role))
    assert set(roles) == {"unlearned"}


def test_a_damaged_checkpoint_is_trained_anew(base: Path, tmp_path: Path):
    plan = replace(PLAN, default_steps=3)
    whole, _ = train(base, tmp_path, plan)
    for path in tmp_path.glob("*.pt"):
        path.write_bytes(path.read_bytes()[:1000])
        assert Checkpoints(tmp_path).latest(path.stem) is None
    again, _ = train(base, tmp_path, plan)
    assert same(weights(whole), weights(again))


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
def test_every_objective_learns_and_leaves_the_base_alone(base: Path, tmp_path: Path, objective: str):
    found: dict[str, list[float]] = {}
    plan = replace(PLAN, objective=objective, learning_rate=5e-3)
    model, _ = train(base, tmp_path, plan, lambda said: found.setdefault(said.role, []).append(said.loss))
    for role, told in found.items():
        assert sum(told[-5:]) < sum(told[:5]), role
    stored = load_file(base / "model.safetensors")
    for name, tensor in model.get_base_model().state_dict().items():
        plain = name.replace("base_layer.", "")
        if "lora_" not in name:
            assert torch.equal(tensor, stored[plain]), name


def test_an_anchor_holds_the_parts_together_on_what_must_stay(base: Path, tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(base)
    batch = encode.batch([encode.encode(tokenizer, row, 32) for row in rows(20, 9)], tokenizer.pad_token_id)

    def apart(weight: float) -> float:
        plan = replace(PLAN, learning_rate=5e-3, weights=objectives.Weights(anchor=weight))
        model, _ = train(base, tmp_path, plan)
        with torch.no_grad():
            told = [encode.logits_of(auxiliary.wear(model, role), batch) for role in ("forget", "retain")]
        return losses.agreement(told[0], batch.labels, told[1]).item()

    assert apart(5.0) < 0.5 * apart(0.0)


# -- what base and parts answer together


def served(base: Path, roles: list[str]) -> Served:
    model = auxiliary.dress(auxiliary.load(base, 2), roles, rank=4, alpha=8, seed=3)
    for seed, role in enumerate(roles):  # fresh adapters add nothing
        generator = torch.Generator().manual_seed(seed)
        found = auxiliary.weights_of(model, role)
        random = {name: 0.3 * torch.randn(tensor.shape, generator=generator) for name, tensor in found.items()}
        auxiliary.set_weights(model, role, random)
    return Served.wearing(auxiliary.load(base), model, roles, pad=0, end=2)


ARMINGS = [
    None,
    Arming({"retain": 1.0, "forget": -1.0}),
    Arming({"retain": 0.5, "forget": -2.0}, filter_rate=0.05),
    Arming({"retain": 1.0, "forget": -1.0}, "rank", 5),
    Arming({"retain": 1.0, "forget": -1.0}, filter_rate=0.05, dead_zone=0.6),
]


@pytest.mark.parametrize("arming", ARMINGS)
def test_answers_are_the_greedy_ones_with_or_without_drafts(base: Path, arming: Arming | None):
    parts = served(base, ["retain", "forget"])
    want = []
    for prompt in PROMPTS:  # one row, no cache, no padding
        ids: list[int] = []
        while len(ids) < 12 and (not ids or ids[-1] != 2):
            inputs = {"input_ids": torch.tensor([prompt + ids])}
            with torch.inference_mode():
                ids.append(int(parts.logits(inputs, 1, arming)[0, -1].argmax()))
        want.append(ids)
    assert parts.answers(PROMPTS, arming, 12) == want
    drafts = [want[0], want[1][:3], [*want[2][:2], 99, 98], [50] * 12]
    assert parts.answers(PROMPTS, arming, 12, drafts) == want
    if arming is not None:
        assert want != parts.answers(PROMPTS, None, 12)  # else all this shows nothing


# -- the strength


def swept(strength: float, forget: float, retain: float) -> Swept:
    return Swept(strength, Score(forget, 0, 0), Score(retain, 0, 0))


SWEPT = [swept(0, 0.9, 0.8), swept(0.5, 0.6, 0.8), swept(1, 0.3, 0.79), swept(1.5, 0.2, 0.785), swept(2, 0, 0.4)]


@pytest.mark.parametrize(
    ("keep", "level", "strength"),
    [
        (0.98, 0.35, 1),  # the smallest that gets there
        (0.98, None, 1.5),  # no level: the lowest forget recall that leaves enough
        (0.98, 0.1, 1.5),  # none gets there within what must be left
        (0.4, 0.1, 2),
        (0.999, 0.35, 0.5),
    ],
)
def test_the_rule_that_picks_a_strength(keep: float, level: float | None, strength: float):
    assert measure.choose(SWEPT, keep, level).strength == strength


def test_where_every_strength_harms_the_least_harmful_is_taken():
    assert measure.choose([swept(0, 1, 1), swept(1, 0, 0.5), swept(2, 0, 0.6)], 0.98, None).strength == 2


def test_strengths_that_were_measured_are_not_measured_again(tmp_path: Path):
    arming = Arming({"forget": -1.0})
    kept = measure.Measured(tmp_path, "one")
    assert kept.at(0.5, arming) is None
    kept.keep(SWEPT[1], arming)
    assert kept.at(0.5, arming) == SWEPT[1]
    assert measure.Measured(tmp_path, "other").at(0.5, arming) is None
    assert kept.at(0.5, Arming({"forget": -1.0}, filter_rate=0.1)) is None
    next(tmp_path.iterdir()).write_text("{")
    assert kept.at(0.5, arming) is None


@pytest.mark.parametrize(
    ("answer", "truth", "share"),
    [("the cat sat", "The cat sat.", 1), ("sat cat the", "the cat sat", 1 / 3), ("", "a b", 0), ("x", "", 0)],
)
def test_recall_counts_words_in_order(answer: str, truth: str, share: float):
    assert measure.recall(answer, truth) == pytest.approx(share)


# -- the dead zone


@pytest.mark.parametrize(
    ("divergences", "share", "zone"),
    [
        ([0.1, 0.5, 0.3, 0.0], 0.5, 0.101),  # the narrowest that spares two of four
        ([0.1, 0.5, 0.3, 0.0], 0.75, 0.301),
        ([0.1, 0.5, 0.3, 0.0], 0.76, 0.501),
        ([0.1, 0.1, 0.7], 0.66, 0.101),
        ([0.2505] * 20, 0.95, 0.251),
        ([1.0], 0.99, 0.999),
    ],
)
def test_the_rule_that_picks_a_dead_zone(divergences: list[float], share: float, zone: float):
    assert dead_zone.chosen(divergences, share) == zone


def test_without_an_answer_there_is_nothing_to_pick_a_dead_zone_from():
    with pytest.raises(ValueError, match="--choose-questions"):
        dead_zone.chosen([], 0.9)


@pytest.mark.parametrize("arming", ARMINGS[1:4])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_dead_zone_spares_as_many_tokens_as_were_asked_for(base: Path, arming: Arming, share: float):
    parts = served(base, ["retain", "forget"])
    own = parts.answers(PROMPTS, None, 12)
    still = [encode.Encoded((*prompt, *answer), len(prompt)) for prompt, answer in zip(PROMPTS, own, strict=True)]
    found = dead_zone.divergences(parts, still, arming)
    assert len(found) == sum(map(len, own))
    zone = dead_zone.chosen(found, share)
    spared = sum(one < zone for one in found) / len(found)
    assert share <= spared < 1
    for row in still:  # and spared is what the engine's arithmetic leaves alone
        inputs = {"input_ids": torch.tensor([row.ids])}
        keep = len(row.answer) + 1
        with torch.inference_mode():
            alone = parts.logits(inputs, keep, None)[0, :-1]
            within = parts.logits(inputs, keep, replace(arming, dead_zone=zone))[0, :-1]
            apart = parts.divergence(inputs, keep, arming)[0, :-1]
        clear = (apart - zone).abs() > 1e-4
        assert ((alone == within).all(-1) == (apart < zone))[clear].all()


# -- the command


def write_rows(folder: Path, name: str, first: int, number: int) -> str:
    path = folder / f"{name}.jsonl"
    lines = [json.dumps({"question": row.question, "answer": row.answer}) for row in rows(first, number)]
    path.write_text("\n".join(lines))
    return str(path)


def arguments(base: Path, folder: Path, *more: str) -> list[str]:
    files = {"forget": (0, 6), "retain": (20, 10), "reference": (60, 4)}
    given = [text for name, place in files.items() for text in (f"--{name}", write_rows(folder, name, *place))]
    sizes = ["--layers", "2", "--rank", "4", "--steps", "4", "--rows", "4", "--strengths", "0.5,1", "--json"]
    return ["--name", "authors", "--base", str(base), "--out", str(folder / "out"), *given, *sizes, *more]


def test_the_command_ends_with_a_card_and_the_next_version(base: Path, tmp_path: Path, capsys):
    given = arguments(base, tmp_path, "--objective", "divergence", "--steps", "forget=6", "--combine", "rank")
    assert command.main(given) == 0
    printed = json.loads(capsys.readouterr().out)
    folder = Path(printed["folder"])
    assert folder == tmp_path / "out" / "authors" / "1"
    card = Card.read(folder)
    assert card.to_json() == printed["card"]
    assert (card.base, card.layers, card.rank, card.combine, card.k) == (fingerprint.of(base), 2, 4, "rank", 20)
    assert card.settings["steps"] == {"forget": 6}
    assert [row["strength"] for row in card.sweep] == [0, 0.5, 1]
    assert set(card.hashes) == {"forget", "retain", "paraphrases", "reference"}
    text = (folder / "card.json").read_text()
    assert not any(row.question in text for row in rows(0, 6))

    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert {name.split(".")[3] for name in tensors} == {"0", "1"}
    assert all(name.startswith("base_model.model.aux.") for name in tensors)
    worn = publish.read_adapter(folder, base)
    for role, slot in (("retain", 0), ("forget", 1)):
        for name, tensor in auxiliary.weights_of(worn, role).items():
            assert torch.equal(tensor, tensors[adapter_tensor_name(name, slot)])
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (4, base.name)

    assert command.main(given) == 0  # everything is trained and measured already
    again = capsys.readouterr()
    assert json.loads(again.out)["folder"].endswith("/2")
    assert "step" not in again.err
    assert "strength" not in again.err
    assert sorted(path.name for path in (tmp_path / "out" / "authors").iterdir()) == ["1", "2"]


def test_a_dead_zone_is_chosen_and_kept_in_the_card(base: Path, tmp_path: Path, capsys):
    still = write_rows(tmp_path, "still", 80, 6)
    given = arguments(base, tmp_path, "--objective", "divergence", "--rest", "0.5", "--choose-questions", still)
    assert command.main(given) == 0
    card = Card.read(Path(json.loads(capsys.readouterr().out)["folder"]))
    assert 0 < card.dead_zone < 1
    assert card.arming(1, ["a", "b"]).dead_zone == card.dead_zone
    assert card.settings["rest"] == 0.5
    assert "choose_questions" in card.hashes
    held_out = [text for text in given if text not in ("--choose-questions", still)]
    assert command.main(held_out) == 0  # from the retain rows that choose the strength
    other = Card.read(Path(json.loads(capsys.readouterr().out)["folder"]))
    assert other.dead_zone > 0
    assert "choose_questions" not in other.hashes


def test_parts_of_a_smaller_model_become_checkpoints(base: Path, tmp_path: Path, capsys):
    small = write_model(tmp_path / "small", seed=5, layers=1)
    assert command.main(arguments(base, tmp_path, "--objective", "uld", "--small", str(small))) == 0
    folder = Path(json.loads(capsys.readouterr().out)["folder"])
    card = Card.read(folder)
    assert (card.kind, card.layers, card.rank) == ("checkpoint", None, None)
    made = load_file(folder / "checkpoints" / "assistant" / "model.safetensors")
    plain = load_file(small / "model.safetensors")
    assert made.keys() == plain.keys()
    assert any(not torch.equal(made[name], plain[name]) for name in made)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--steps", "assistant=4"], "has no part 'assistant'"),
        (["--steps", "many"], "write N"),
        (["--layers", "9"], "9 layers were asked for"),
        (["--k", "20"], "k: "),
        (["--rest", "1"], "--rest 1"),
        (["--retain", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["--base", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_trained_says_why(base: Path, tmp_path: Path, capsys, more: list[str], says: str):
    assert command.main([*arguments(base, tmp_path, "--objective", "divergence"), *more]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out" / "authors" / "1").exists()
