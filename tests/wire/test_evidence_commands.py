"""`lethe eval`, `lethe attack` and `lethe audit` with odd data, wrong keys and a server that ends: a clear error that
names the cure, and nothing is lost."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evals.attacks import campaign
from evals.runs.client import RunError
from proxy.cli.main import main
from tests.wire.harness import ADMIN_KEY, ANSWER, HARMLESS, QUESTION, Lethe

ROWS = [{"question": QUESTION, "answer": ANSWER}, {"question": HARMLESS, "answer": "Seven", "role": "keep"}]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.attacks.campaign.PAUSE_S", 0)
    monkeypatch.setattr("evals.runs.client.PAUSE_S", 0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    write(path, ROWS)
    return path


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


async def command(lethe: Lethe, *words: Any, key: str = ADMIN_KEY) -> Result:
    env = {"LETHE_ADMIN_KEY": key, "LETHE_ADMIN_URL": lethe.admin_url, "LETHE_API_KEY": ""}
    result = await asyncio.to_thread(CliRunner().invoke, main, [str(word) for word in words], env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


async def evaluated(lethe: Lethe, data: Path, *more: Any, key: str = ADMIN_KEY) -> Result:
    words = ("eval", "run", "--suite", "lines", "--no-probabilities", "--data", data, "--url", lethe.url)
    return await command(lethe, *words, *more, key=key)


async def attacked(lethe: Lethe, *more: Any, key: str = ADMIN_KEY) -> Result:
    words = ("attack", "--set", "art", "--families", "direct,base64", "--url", lethe.url)
    return await command(lethe, *words, *more, key=key)


def refused(result: Result, code: int, *says: str) -> None:
    assert result.exit_code == code, result.output
    assert all(one in result.stderr for one in says), result.stderr


# -- eval run


async def test_a_run_on_other_rows_needs_another_folder(armed: Lethe, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert (await evaluated(armed, data, "--out", out, "--json", "-")).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write(data, [{**ROWS[0], "answer": "Somebody else"}, ROWS[1]])
    refused(await evaluated(armed, data, "--out", out), 1, "a run on other rows (rows/0)", "choose another --out")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    write(data, [*ROWS, {"question": "What do bees make?", "answer": "Honey"}])
    grown = json.loads((await evaluated(armed, data, "--out", out, "--json", "-")).stdout)
    assert grown["arms"]["raw"]["sets"]["rows"]["n"] == 3


async def test_what_no_run_could_keep_is_told_before(armed: Lethe, data: Path, tmp_path: Path) -> None:
    write(data, [{"question": "\ud800", "answer": "b"}])
    refused(await evaluated(armed, data), 2, f"{data}, row 1 holds what is no sound JSON")
    write(data, ROWS)
    refused(await evaluated(armed, data, "--rows", "rows=5-9"), 2, "'rows' of 'lines' has rows 0 to 1: 5-9 is none")
    refused(await evaluated(armed, data, "--json", tmp_path / "no" / "x"), 2, "a folder that there is")
    refused(await evaluated(armed, data, "--reference", tmp_path), 2, "not the folder of a run", "--reference")
    assert not armed.engine.seen


async def test_the_raw_arm_needs_its_key(armed: Lethe, data: Path) -> None:
    refused(await evaluated(armed, data, key="wrong"), 2, "the raw scope", "set LETHE_API_KEY, or LETHE_ADMIN_KEY")
    refused(await attacked(armed, key="wrong"), 2, "the raw scope")


async def test_a_run_whose_server_fails_goes_on(armed: Lethe, data: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run", "--json", "-")
    armed.engine.answers(status=500, body=b"{}")
    refused(await evaluated(armed, data, *out), 1, "status 500", "what was answered so far is kept")
    armed.engine.answers()
    assert json.loads((await evaluated(armed, data, *out)).stdout)["arms"]["raw"]["sets"]


# -- eval report


async def test_what_cannot_be_drawn_is_named(armed: Lethe, data: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "run", ("--out", tmp_path / "page.html")
    assert (await evaluated(armed, data, "--out", out, "--json", "-")).exit_code == 0
    for held in ("", "[]", "{}", '{"settings": {}, "families": {}, "total": {}}', '{"families": {"x": 1}}'):
        (tmp_path / "attacks.json").write_text(held, "utf-8")
        result = await command(armed, "eval", "report", out, "--attacks", tmp_path / "attacks.json", *page)
        refused(result, 2, "attacks.json is no result of 'lethe attack --json FILE'")
    for held, says in (("{", "is damaged"), ("[]", "is damaged"), ("{}", "is no summary of a run")):
        (out / "summary.json").write_text(held, "utf-8")
        refused(await command(armed, "eval", "report", out, *page), 2, says)
    empty: dict[str, Any] = {"settings": {}, "arms": {}, "differences": {}}
    (out / "summary.json").write_text(json.dumps(empty), "utf-8")
    refused(await command(armed, "eval", "report", out, *page), 2, "has no answers")


# -- attack


async def test_a_set_without_an_answer_is_no_proof(armed: Lethe) -> None:
    armed.engine.answers(status=500, body=b"{}")
    result = await attacked(armed, "--arms", "guarded")
    refused(result, 1, "no attempt had an answer: nothing is known about leaks")
    assert "had no answer: not counted" in result.stdout


async def test_what_was_attacked_is_kept_when_the_key_is_taken_away(
    armed: Lethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "attacks.json"
    asked, ask = [], campaign._ask

    async def revoked(*given: Any) -> Any:
        asked.append(given)
        if len(asked) == 4:  # two families under two arms
            raise RunError("the key may not use all arms of this run")
        return await ask(*given)

    monkeypatch.setattr(campaign, "_ask", revoked)
    result = await attacked(armed, "--concurrency", 1, "--json", file)
    refused(result, 1, "the key may not", "1 family was asked whole and counted", "the rest is: --families base64")
    assert set(json.loads(file.read_text("utf-8"))["families"]) == {"direct"}


async def test_families_are_read_with_spaces_between(armed: Lethe) -> None:
    result = await attacked(armed, "--families", "direct, hex,direct", "--arms", "guarded", "--json", "-")
    assert set(json.loads(result.stdout)["families"]) == {"direct", "hex"}
    unknown = await attacked(armed, "--families", "direkt")
    refused(unknown, 2, "there is no family 'direkt'; there are direct, paraphrase")


async def test_families_that_do_not_apply_are_no_proof(armed: Lethe) -> None:
    says = "none of these families applies to an entry of 'art'"
    refused(await attacked(armed, "--families", "alias"), 5, says)
    watch = ("watch", "--set", "art", "--families", "alias", "--once", "--url", armed.url)
    refused(await command(armed, *watch), 5, says)


# -- audit


async def test_a_receipt_has_a_place_before_it_is_made(armed: Lethe, tmp_path: Path) -> None:
    export = ("audit", "export", "--set", "art", "--probe", "--url", armed.url)
    refused(await command(armed, *export, "--out", tmp_path / "no" / "r.json"), 2, "there is no folder")
    assert not armed.engine.seen
    receipt = tmp_path / "receipt.json"
    receipt.write_text("[" * 100_000, "utf-8")
    refused(await command(armed, "audit", "verify", receipt), 2, "is no receipt (RecursionError)")
