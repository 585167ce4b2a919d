"""`lethe check` and `lethe compare`: looking into a running server."""

from typing import TextIO

import click

from proxy.cli.admin_client import AdminClient, admin_options
from proxy.cli.asked import dialect_option, given, request_of, request_option, text_of
from proxy.cli.output import fail, json_option, print_json, print_table, say

COMPARE_TIMEOUT_S = 900  # two answers, one after the other, of a model that may run on two cores

_MEANING = {
    "pass": "it goes to the model as it is",
    "observe": "it goes to the model as it is, and the match is reported",
    "offset": "the model answers without what an assistant knows",
    "instruct": "the model is told to answer as one who does not know",
    "offset_instruct": "the model is told so, and answers without what an assistant knows",
    "refuse": "it is answered without the model, as by one who does not know",
}


@click.command()
@click.argument("text", required=False)
@request_option
@dialect_option
@admin_options
@json_option
def check(admin: AdminClient, text: str | None, request_file: TextIO | None, dialect: str, as_json: bool) -> None:
    """Say what would happen to TEXT, or to a whole request, and why.

    The model answers nothing.

    \b
    lethe check "Who wrote Romeo and Juliet?"
    lethe check --request request.json --dialect messages
    """
    request = given(text, request_file, "TEXT")
    asked = {"text": text} if request is None else {"request": request, "dialect": dialect}
    reply = admin.call("POST", "/admin/v1/check", asked)
    if as_json:
        print_json(reply)
        return
    rung = reply["rung"]
    say((rung, "bold"), f": {_MEANING.get(rung, '')} (generation {reply['generation']})")
    if offset := reply["offset"]:
        say(("subtracted: ", "dim"), f"{offset['assistant']}, strength {offset['strength']:g}")
    for finding in reply["findings"]:
        if finding["lacked"]:
            say(("not loaded: ", "dim"), f"{finding['lacked']}, so the ladder of {finding['guard']} goes without it")
    # -1 says that the set has no retain example.
    rows = [
        row
        | {"retain": None if row["retain"] <= -1 else row["retain"]}
        | {"made of": _terms(row["terms"]), "read as": ", ".join(row["view"])}
        for row in reply["nearest"]
    ]
    columns = ("entry", "set", "via", "score", "threshold", "retain", "margin", "state", "made of", "read as", "text")
    print_table(rows, columns, "nothing in the forget index is near", texts=("made of", "text"))


@click.command()
@click.argument("question", required=False)
@request_option
@dialect_option
@click.option("--model", help="Default: the first model that is served.")
@click.option("--max-tokens", type=click.IntRange(1), default=128, show_default=True, help="Length of each answer.")
@admin_options
@json_option
def compare(
    admin: AdminClient,
    question: str | None,
    request_file: TextIO | None,
    dialect: str,
    model: str | None,
    max_tokens: int,
    as_json: bool,
) -> None:
    """Ask both arms the same QUESTION, or send both a whole request, and show both answers.

    \b
    lethe compare "Who wrote Romeo and Juliet?"
    lethe compare "Who wrote Romeo and Juliet?" --dialect responses
    lethe compare --request request.json --dialect messages
    """
    request = given(question, request_file, "QUESTION")
    if request is None:
        request = request_of(dialect, question or "", model or _first_model(admin), max_tokens)
    asked = {"request": request, "dialect": dialect}
    reply = admin.call("POST", "/admin/v1/compare", asked, timeout_s=COMPARE_TIMEOUT_S)
    if as_json:
        print_json(reply)
        return
    texts = {arm: text_of(dialect, reply[arm]["answer"]) for arm in ("raw", "guarded")}
    for arm, text in texts.items():
        say((f"{arm:<8} ", "bold"), text)
    same = texts["raw"] == texts["guarded"]
    say(("the same, to the letter" if same else f"guarded by: {reply['guarded']['rung']}", "dim"))


def _terms(terms: dict[str, float]) -> str:
    """What a score is made of, as it was measured."""
    return ", ".join(f"{name} {value:g}" for name, value in terms.items())


def _first_model(admin: AdminClient) -> str:
    models = admin.call("GET", "/admin/v1/generations")["models"]
    return str(models[0]) if models else fail("no model is served: the engine does not answer (see /readyz)")
