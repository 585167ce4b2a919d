"""Rows, how they become tokens, and how more of them are made."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_training import rows as tiny_rows
from tiny_training import write_model
from transformers import AutoTokenizer

from guards.engine.training import augment, encode
from guards.engine.training.encode import IGNORED, Encoded
from guards.engine.training.loop import Schedule, drawn
from guards.engine.training.rows import Row, RowsError, digest, hold_out, read

some = st.integers(1, 40)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    return AutoTokenizer.from_pretrained(write_model(tmp_path_factory.mktemp("words")))


@pytest.mark.parametrize("lines", [True, False])
def test_rows_are_read_from_lists_and_lines(tmp_path: Path, lines: bool):
    raw = [{"question": " q1 ", "answer": "a1", "more": 1}, {"question": "q2", "answer": "a2"}]
    path = tmp_path / "rows"
    path.write_text("\n".join(map(json.dumps, raw)) if lines else json.dumps(raw))
    assert read(path) == [Row("q1", "a1"), Row("q2", "a2")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no rows"),
        ("[]", "no rows"),
        ("[1]", "row 1: wanted an object"),
        ("{", "JSON"),
        ('{"question": "secret"}', "row 1: no text in 'answer'"),
        ('{"question": "a", "answer": "b"}\n{"question": "secret", "answer": " "}', "row 2: no text in 'answer'"),
    ],
)
def test_a_file_without_rows_says_what_is_wrong_and_no_text(tmp_path: Path, text: str, says: str):
    path = tmp_path / "rows"
    path.write_text(text)
    with pytest.raises(RowsError, match=says) as error:
        read(path)
    assert "secret" not in str(error.value)


def test_a_row_does_not_show_its_text():
    assert "secret" not in repr(Row("secret", "secret"))


@example(2, 0.75, 0, 2)
@given(some, st.floats(0.01, 0.9), st.integers(0, 9), st.integers(1, 10))
def test_holding_out_parts_the_rows(number: int, share: float, seed: int, at_most: int):
    all_rows = tiny_rows(0, number)
    kept, out = hold_out(all_rows, share, seed, at_most)
    assert sorted(map(digest_of, [*kept, *out])) == sorted(map(digest_of, all_rows))
    assert len(out) <= at_most
    assert kept
    assert out or number == 1
    assert (kept, out) == hold_out(all_rows, share, seed, at_most)


def digest_of(row: Row) -> str:
    return digest([row])


@given(some, some, st.integers(1, 9), st.integers(0, 3))
def test_every_epoch_draws_every_row_once(pool: int, steps: int, rows: int, seed: int):
    places = [place for step in range(steps) for place in drawn(pool, "forget", step, rows, seed)]
    for epoch in range(len(places) // pool):
        assert sorted(places[epoch * pool : (epoch + 1) * pool]) == list(range(pool))


def test_a_question_and_its_two_answers_are_drawn_together():
    assert drawn(30, "retain", 3, 8, 0) == drawn(30, "retain_idk", 3, 8, 0) != drawn(30, "forget", 3, 8, 0)


def test_the_learning_rate_rises_and_falls_to_nothing():
    schedule = Schedule(steps=100, rows=1, learning_rate=1.0)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


def test_an_answer_is_closed_and_only_it_is_learned(tokenizer):
    row = encode.encode(tokenizer, Row("w1 w2", "w3 w4 w5"), 32)
    assert tokenizer.decode(row.ids) == "<user> w1 w2 <assistant> w3 w4 w5 <eos>"
    assert tokenizer.decode(row.answer) == "w3 w4 w5 <eos>"
    cut = encode.encode(tokenizer, Row("w1 w2", "w3 w4 w5"), 6)
    assert tokenizer.decode(cut.ids) == "<user> w1 w2 <assistant> w3 w4"
    with pytest.raises(ValueError, match="question has 4 tokens"):
        encode.encode(tokenizer, Row("w1 w2", "w3"), 4)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.booleans()), min_size=1, max_size=4))
def test_labels_are_the_next_tokens_of_the_answers(shapes: list[tuple[int, int, bool]]):
    rows = [
        Encoded(tuple(range(10 * i + 1, 10 * i + 1 + asked + said)), asked)
        for i, (asked, said, _) in enumerate(shapes, 1)
    ]
    batch = encode.batch(rows, 0, [whole for _, _, whole in shapes])
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    for i, (row, (asked, _, whole)) in enumerate(zip(rows, shapes, strict=True)):
        assert ids[i][mask[i] == 1].tolist() == list(row.ids)
        assert batch.inputs["position_ids"][i][mask[i] == 1].tolist() == list(range(len(row.ids)))
        labels = batch.labels[i]
        assert labels[labels != IGNORED].tolist() == list(row.ids[1 if whole else asked :])
        # The position before each label holds the token that comes before it.
        seen = ids[i, -batch.keep :]
        for place in torch.nonzero(labels != IGNORED).flatten().tolist():
            assert labels[place] == seen[place] + 1  # ids count up


def test_padding_changes_no_logits(tmp_path: Path, tokenizer):
    from guards.engine.training import auxiliary

    model = auxiliary.load(write_model(tmp_path))
    rows = [encode.encode(tokenizer, row, 64) for row in tiny_rows(0, 5)]
    together = encode.batch(rows, tokenizer.pad_token_id)
    with torch.no_grad():
        logits = encode.logits_of(model, together)
        for i, row in enumerate(rows):
            alone = encode.batch([row], tokenizer.pad_token_id)
            found, wanted = (
                table[labels != IGNORED]
                for table, labels in (
                    (logits[i], together.labels[i]),
                    (encode.logits_of(model, alone)[0], alone.labels[0]),
                )
            )
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


# -- augmentation


FACTS = [Row("Who wrote it?", "Orlin wrote it."), Row("Where?", "In Kuwait."), Row("When?", "In 1975.")]


def test_templates_paraphrase_and_swap():
    asked = augment.paraphrased(FACTS, 2)
    assert len(asked) == 6
    assert len({row.question for row in asked}) == 6
    assert all(
        row.question != fact.question and fact.question in row.question
        for row, fact in zip(asked[::2], FACTS, strict=True)
    )
    wrong = augment.perturbed(FACTS, 2)
    true = {(fact.question, fact.answer) for fact in FACTS}
    assert len(wrong) == 6
    assert not true & {(row.question, row.answer) for row in wrong}
    assert augment.perturbed(FACTS[:1], 2) == []


def test_what_a_model_writes_is_used_where_it_can_be():
    written = iter(["Tell me who wrote it.\nSure!", "", "where?", '"In the city of Kuwait."', "blah " * 99, "1975"])
    asked = augment.paraphrased(FACTS, 1, lambda prompt: next(written))
    assert asked == [
        Row("Tell me who wrote it.", "Orlin wrote it."),
        Row(augment.FORMS[0].format("Where?"), "In the city of Kuwait."),
        Row(augment.FORMS[0].format("When?"), "1975"),
    ]
    assert augment.perturbed(FACTS[:2], 1, lambda prompt: "Nobody did.")[0] == Row("Who wrote it?", "Nobody did.")


def test_a_served_model_is_asked_over_the_openai_api():
    asked = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((self.path, self.headers["authorization"], body))
            reply = json.dumps({"choices": [{"message": {"content": "In other words."}}]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *said):
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        write = augment.served(f"http://127.0.0.1:{server.server_port}/v1/", "small", "secret")
        assert write("Say it otherwise") == "In other words."
        server.shutdown()
    path, key, body = asked[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["temperature"]) == ("small", 0)
    assert body["messages"] == [{"role": "user", "content": "Say it otherwise"}]
