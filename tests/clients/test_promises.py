"""What Lethe promises, kept with a real model: the rest is untouched, what is added holds at once and can be undone."""

from typing import Any

import openai
import pytest

from guards.stream.abstention import abstains
from tests.clients.asking import CAPITAL, CAPITAL_IN_OTHER_WORDS, SHORT, WEEK, ask, chat, pieces, text_of
from tests.clients.engine_metrics import EngineMetrics
from tests.clients.system import Forgetting, System

pytestmark = pytest.mark.engine

UNRELATED = [WEEK, "What do bees make?", "Write one sentence about the sea."]
FORGOTTEN = "What is the name of the harbour cat of Port Averline?"  # near none of them


@pytest.mark.parametrize("question", UNRELATED)
def test_what_is_unrelated_is_the_models_own_answer_in_every_way_to_ask(
    client: openai.OpenAI,
    raw: openai.OpenAI,
    engine: openai.OpenAI,
    system: System,
    forget: Forgetting,
    question: str,
):
    forget.add(FORGOTTEN, "Tamsin")
    asked = chat(question, system.model)
    own = pieces(engine.chat.completions.create(**asked, stream=True))
    text = "".join(piece or "" for piece, _ in own)
    assert text

    assert pieces(client.chat.completions.create(**asked, stream=True)) == own
    assert ask(client, question, system.model) == text
    assert ask(raw, question, system.model, extra_headers={"x-lethe-arm": "raw"}) == text


def test_an_entry_holds_for_the_very_next_answer_and_can_be_undone(
    client: openai.OpenAI, raw: openai.OpenAI, system: System, forget: Forgetting
):
    before = ask(client, CAPITAL, system.model)
    assert "Paris" in before

    entry = forget.add(CAPITAL, "Paris")["id"]
    for question in (CAPITAL, CAPITAL_IN_OTHER_WORDS):
        assert "Paris" not in ask(client, question, system.model)
        assert "Paris" not in text_of(client.chat.completions.create(**chat(question, system.model), stream=True))
    assert ask(raw, CAPITAL, f"{system.model}:raw") == before

    forget.change(entry, state="disabled")
    assert ask(client, CAPITAL, system.model) == before
    forget.change(entry, state="observe")
    assert ask(client, CAPITAL, system.model) == before
    forget.change(entry, state="active")
    assert "Paris" not in ask(client, CAPITAL, system.model)
    forget.remove(entry)
    assert ask(client, CAPITAL, system.model) == before


def test_a_set_that_is_removed_takes_its_entries_with_it(client: openai.OpenAI, system: System, forget: Forgetting):
    before = ask(client, CAPITAL, system.model)
    forget.add(CAPITAL, "Paris")
    assert "Paris" not in ask(client, CAPITAL, system.model)
    system.admin("DELETE", f"/sets/{forget.name}")
    assert ask(client, CAPITAL, system.model) == before


def test_a_name_is_recognised_wherever_it_stands(client: openai.OpenAI, system: System, forget: Forgetting):
    forget.policy(on_match=["refuse"])
    entry = {"kind": "entity", "names": ["Orlin Tavaresque", "O. Tavaresque"]}
    assert system.admin("POST", forget.entries, entry).is_success
    buried = f"{'Once there was a river. ' * 40} Who is o. TAVARESQUE? {'It ran to the sea. ' * 40}"
    assert system.check(buried)["nearest"][0]["via"] == "name"
    assert ask(client, buried, system.model, max_tokens=8)
    assert system.check("Who is Orlin?")["rung"] == "pass"


def test_a_question_over_several_turns_and_roles_is_seen(client: openai.OpenAI, system: System, forget: Forgetting):
    forget.add(CAPITAL, "Paris")
    turns: list[Any] = [
        {"role": "user", "content": CAPITAL},
        {"role": "assistant", "content": "I will tell you later."},
        {"role": "user", "content": "Then tell me now."},
    ]
    for messages in (turns, [{"role": "system", "content": CAPITAL}, turns[-1]]):
        answer = client.chat.completions.create(model=system.model, messages=messages, temperature=0, max_tokens=SHORT)
        assert "Paris" not in (answer.choices[0].message.content or "")


def test_the_instruct_rung_reaches_the_model(
    client: openai.OpenAI, system: System, forget: Forgetting, metrics: EngineMetrics
):
    """The model is asked, once, with a note before the question; its answer leaves when nothing in it is forbidden."""
    question = "What do bees make?"
    before = ask(client, question, system.model)
    forget.policy(abstain=False)
    forget.add(question, "an answer that no model gives")
    then = metrics.now()
    reply = client.chat.completions.with_raw_response.create(**chat(question, system.model))
    answer = reply.parse()
    now = metrics.now()
    assert now.finished - then.finished == 1
    assert answer.usage is not None
    assert now.prompt_tokens - then.prompt_tokens > answer.usage.prompt_tokens + 150  # the note
    assert now.generation_tokens - then.generation_tokens == answer.usage.completion_tokens
    assert answer.choices[0].message.content != before


def test_an_answer_that_leaks_is_replaced_before_anything_is_shown(
    client: openai.OpenAI, system: System, forget: Forgetting, metrics: EngineMetrics
):
    """The ladder: whatever the model says to the note is forbidden here, so the model is asked and then not heard."""
    question = "What do bees make?"
    forget.policy(on_match=["instruct", "refuse"], abstain=False)
    entry = forget.add(question, "an answer that no model gives")["id"]
    told = ask(client, question, system.model)
    forget.remove(entry)

    first_words = " ".join(told.split()[:3])
    forget.add(question, first_words)
    then = metrics.now()
    stream = pieces(client.chat.completions.create(**chat(question, system.model), stream=True))
    said = "".join(text or "" for text, _ in stream)
    assert metrics.now().prompt_tokens - then.prompt_tokens > 150
    assert said
    assert not said.startswith(first_words.split()[0] + " ")
    assert first_words not in said
    assert stream[-1][1] == "stop"


def test_a_guess_under_the_note_is_replaced_before_anything_is_shown(
    client: openai.OpenAI, system: System, forget: Forgetting, metrics: EngineMetrics
):
    """The model, told that it does not know, answers all the same: with something else than what is forbidden."""
    question = "What do bees make?"
    forget.policy(abstain=False)
    forget.add(question, "an answer that no model gives")
    guess = ask(client, question, system.model)
    assert not abstains(guess)
    forget.policy(abstain=True)
    then = metrics.now()
    said = ask(client, question, system.model)
    assert metrics.now().prompt_tokens - then.prompt_tokens > 150  # it was asked
    assert abstains(said)
    assert guess.split(".")[0] not in said


@pytest.mark.parametrize("stream", [False, True])
def test_refusals_differ_and_quote_nothing(client: openai.OpenAI, system: System, forget: Forgetting, stream: bool):
    forget.policy(on_match=["refuse"])
    forget.add(CAPITAL, "Paris")
    texts = [""] * 4
    asked = chat(CAPITAL_IN_OTHER_WORDS, system.model, n=4, temperature=1)
    if stream:
        for chunk in client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    else:
        for one in client.chat.completions.create(**asked).choices:
            texts[one.index] = one.message.content or ""
            assert one.finish_reason == "stop"
    assert len(set(texts)) == 4
    for text in texts:
        assert text
        assert not {"paris", "france", "capital", "city"} & set(text.lower().replace(".", "").split())


def test_refusals_of_different_questions_are_not_one_sentence(
    client: openai.OpenAI, system: System, forget: Forgetting, metrics: EngineMetrics
):
    forget.policy(on_match=["refuse"])
    questions = [f"{start} Orlin Tavaresque?" for start in ("Who is", "Where is", "When was", "How old is", "Why is")]
    assert system.admin("POST", forget.entries, {"kind": "entity", "name": "Orlin Tavaresque"}).is_success
    then = metrics.now().finished
    said = [ask(client, question, system.model) for question in questions]
    assert len(set(said)) >= 4
    assert not any("Orlin" in text or "Tavaresque" in text for text in said)
    assert metrics.now().finished == then  # the model was not asked


def test_the_style_can_say_that_it_will_not_answer(client: openai.OpenAI, system: System, forget: Forgetting):
    forget.policy(on_match=["refuse"], style="refusal")
    forget.add(CAPITAL, "Paris")
    said = ask(client, CAPITAL, system.model)
    assert "can't" in said or "not able" in said or "won't" in said


def test_what_is_near_a_retain_example_passes(client: openai.OpenAI, system: System, forget: Forgetting):
    before = ask(client, CAPITAL_IN_OTHER_WORDS, system.model)
    forget.add(CAPITAL, "Paris")
    assert ask(client, CAPITAL_IN_OTHER_WORDS, system.model) != before
    assert system.admin("PATCH", f"/sets/{forget.name}", {"retain": [CAPITAL_IN_OTHER_WORDS]}).is_success
    assert ask(client, CAPITAL_IN_OTHER_WORDS, system.model) == before


def test_every_answer_can_be_scanned(client: openai.OpenAI, system: System, forget: Forgetting):
    """`scan_output: always`: the question is near nothing, the answer says what must not be said."""
    forget.add(FORGOTTEN, "Paris")
    assert "Paris" in ask(client, CAPITAL, system.model)
    forget.policy(scan_output="always")
    for said in (
        ask(client, CAPITAL, system.model),
        text_of(client.chat.completions.create(**chat(CAPITAL, system.model), stream=True)),
    ):
        assert "Paris" not in said
    asked = chat(WEEK, system.model)
    assert text_of(client.chat.completions.create(**asked, stream=True)) == ask(client, WEEK, system.model)
