"""`lethe check`, `lethe compare`, `lethe sets`, `lethe keys`: looking into and steering a running server."""

from typing import Any, TextIO
from urllib.parse import quote

import click

from proxy.cli.admin_client import EVERYWHERE, AdminClient, admin_options
from proxy.cli.asked import dialect_option, given, request_of, request_option, text_of
from proxy.cli.output import USAGE, fail, json_option, print_json, print_table, say

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


@click.group()
def sets() -> None:
    """List, add and remove forget sets."""


@sets.command("list")
@admin_options
@json_option
def list_sets(admin: AdminClient, as_json: bool) -> None:
    """List all forget sets."""
    reply = admin.call("GET", "/admin/v1/sets")
    if as_json:
        print_json(reply)
        return
    rows = [item | {"retain": len(item["retain"]) or None, "policy": _plain(item["policy"])} for item in reply["data"]]
    print_table(rows, ("id", "label", "policy", "retain"), "there are no forget sets", texts=("label", "policy"))


@sets.command("add")
@click.argument("name")
@click.option("--label", default="", help="A name for the set that is safe to show.")
@click.option("--policy", "-p", multiple=True, help="A setting as name=value, for example on_match=refuse.")
@click.option("--retain", "-r", multiple=True, help="A text that must pass although it is near.")
@admin_options
@json_option
def add_set(admin: AdminClient, name: str, as_json: bool, policy: tuple[str, ...], **given: Any) -> None:
    """Create a forget set.

    \b
    lethe sets add authors -p on_match=instruct,refuse -p threshold=0.8
    """
    settings = dict(_setting(item) for item in policy)
    body = {"id": name, "label": given["label"], "policy": settings, "retain": list(given["retain"])}
    reply = admin.call("POST", f"/admin/v1/sets?{EVERYWHERE}", body)
    if as_json:
        print_json(reply)
    else:
        say(f"created '{name}', generation {reply['generation']}")


@sets.command("remove")
@click.argument("name")
@click.confirmation_option(prompt="Remove the set and all its entries?")
@admin_options
@json_option
def remove_set(admin: AdminClient, name: str, as_json: bool) -> None:
    """Remove a forget set with all its entries."""
    reply = admin.call("DELETE", f"/admin/v1/sets/{quote(name, safe='')}?{EVERYWHERE}")
    if as_json:
        print_json(reply)
    else:
        say(f"removed '{name}', generation {reply['generation']}")


@click.group()
def keys() -> None:
    """List, make and revoke API keys."""


@keys.command("list")
@admin_options
@json_option
def list_keys(admin: AdminClient, as_json: bool) -> None:
    """List all keys, without their secrets."""
    reply = admin.call("GET", "/admin/v1/keys")
    if as_json:
        print_json(reply)
    else:
        rows = [
            key | {"scopes": ", ".join(key["scopes"]), "created_at": key["created_at"][:19].replace("T", " ") + " UTC"}
            for key in reply["data"]
        ]
        print_table(rows, ("id", "scopes", "label", "created_at"), "there are no keys")


@keys.command("create")
@click.option(
    "--scope", multiple=True, type=click.Choice(["client", "raw", "admin"]), required=True, help="May be repeated."
)
@click.option("--label", default="", help="Who uses the key.")
@admin_options
@json_option
def create_key(admin: AdminClient, scope: tuple[str, ...], label: str, as_json: bool) -> None:
    """Make a key and print its secret, once.

    \b
    lethe keys create --scope client --label "chat frontend"
    """
    reply = admin.call("POST", "/admin/v1/keys", {"scopes": list(scope), "label": label})
    if as_json:
        print_json(reply)
    else:
        say(f"{reply['id']}: {reply['key']}")


@keys.command("revoke")
@click.argument("key_id")
@admin_options
@json_option
def revoke_key(admin: AdminClient, key_id: str, as_json: bool) -> None:
    """Revoke a key."""
    reply = admin.call("DELETE", f"/admin/v1/keys/{quote(key_id, safe='')}")
    if as_json:
        print_json(reply)
    else:
        say(f"revoked {key_id}")


def _setting(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition("=")
    if not equals:
        fail(f"'{item}' is not a setting: write name=value", USAGE)
    if name == "on_match":
        return name, value.split(",")
    if value in ("true", "false"):
        return name, value == "true"
    try:
        return name, int(value) if value.isdigit() else float(value)
    except ValueError:
        return name, value


def _plain(policy: dict[str, Any]) -> str:
    """Settings as they are given to 'lethe sets add'."""
    return " ".join(f"{name}={_written(value)}" for name, value in policy.items())


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
