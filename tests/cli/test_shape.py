"""How commands look and fail: help, exit codes, what goes to a terminal and what elsewhere."""

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import click
import pytest

from proxy.cli import output
from proxy.cli.main import COMMANDS, main
from tests.cli.conftest import Run, out, runner
from tests.clients.system import LETHE, Forgetting, System, clean_environment, lethe
from tests.conftest import unused_port

WITH_EXAMPLES = [
    "lethe",
    "lethe up",
    "lethe serve",
    "lethe engine",
    "lethe validate",
    "lethe check",
    "lethe compare",
    "lethe forget add",
    "lethe forget list",
    "lethe forget show",
    "lethe forget import",
    "lethe forget export",
    "lethe sets add",
    "lethe assistant load",
    "lethe assistant rollback",
    "lethe assistant unload",
    "lethe keys create",
    "lethe eval gate",
    "lethe calibrate",
    "lethe embedder export",
    "lethe embedder use",
    "lethe eval run",
    "lethe eval report",
    "lethe attack",
    "lethe audit export",
    "lethe audit verify",
]


def commands(command: click.Command = main, name: str = "lethe") -> dict[str, click.Command]:
    """Every command by its full name."""
    found = {name: command}
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for part in command.list_commands(context):
                below = command.get_command(context, part)
                assert below is not None, part
                found |= commands(below, f"{name} {part}")
    return found


ALL = commands()


def help_of(name: str) -> str:
    return out(runner({})(*name.split()[1:], "--help", terminal_width=120))


# -- help


@pytest.mark.parametrize("name", ALL)
def test_help_says_what_a_command_does(name: str):
    said = help_of(name)
    assert said.startswith(f"Usage: {name}")
    command = ALL[name]
    assert not any(line.endswith("...") for line in said.splitlines()[1:]), "a list of commands cuts its explanations"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.name} is not explained"


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_help_shows_an_example(name: str):
    assert re.search(rf"^  (\w+=\S+ )?{name} \S", help_of(name), re.MULTILINE) or name == "lethe engine"


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_help_are_commands_that_exist(name: str):
    for words, rest in re.findall(r"^  (?:\w+=\S+ )?(lethe(?: [a-z]+)*)(.*)$", help_of(name), re.MULTILINE):
        [command] = [words] if words in ALL else [one for one in (words.rpartition(" ")[0],) if one in ALL]
        known = {option for one in ALL[command].params for option in one.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z-]+", rest)) <= known


def test_every_command_has_json_but_those_that_run_or_write_lines():
    without = {
        name
        for name, command in ALL.items()
        if not isinstance(command, click.Group) and not any("--json" in one.opts for one in command.params)
    }
    assert without == {"lethe up", "lethe serve", "lethe engine", "lethe forget export"}


def test_a_command_is_where_the_table_says():
    assert set(COMMANDS) == {name.split()[1] for name in ALL if name != "lethe"}
    assert runner({})("forgot").exit_code == 2


def test_the_version():
    assert re.fullmatch(r"lethe, version \d+\.\d+\.\d+\n", out(runner({})("--version")))


# -- exit codes


def test_exit_codes_are_the_ones_that_are_documented(run: Run, lone: System, tmp_path: Path):
    assert output.__doc__
    documented = {meaning: int(code) for code, meaning in re.findall(r"(\d+) ([a-z ]+)[,.]", output.__doc__)}
    wrong_key = {"LETHE_ADMIN_KEY": "not-the-key-of-this-server"}
    client_key = lone.new_key("client")
    codes = {
        "done": run("sets", "list").exit_code,
        "failed": run("forget", "add", "-q", "x", "-a", "!").exit_code,
        "wrong usage": run("forget", "add", "--no-such-option").exit_code,
        "configuration wrong": run("validate", "-c", tmp_path / "missing.yaml").exit_code,
        "not allowed": run("sets", "list", env=wrong_key).exit_code,
        "not found": run("forget", "show", "nothing").exit_code,
        "interrupted": 130,  # test_ctrl_c below, and of an import
    }
    assert codes == documented
    assert run("sets", "list", env={"LETHE_ADMIN_KEY": client_key}).exit_code == documented["not allowed"]
    for key in lone.admin("GET", "/keys").json()["data"]:
        if key["scopes"] == ["client"]:
            lone.admin("DELETE", f"/keys/{key['id']}")


@pytest.mark.parametrize(
    ("args", "env", "code", "said"),
    [
        ((), {"LETHE_ADMIN_KEY": "wrong"}, 4, "the admin key was not accepted: set LETHE_ADMIN_KEY to the key that"),
        ((), {"LETHE_ADMIN_KEY": None}, 4, "an admin key is needed: set LETHE_ADMIN_KEY to the key that"),
        (
            ("--admin-url", "http://127.0.0.1:1"),
            {},
            1,
            "no server answers at http://127.0.0.1:1: start one with 'lethe up'",
        ),
        (("--admin-url", "nonsense"), {}, 1, "'nonsense' is not a URL such as http://127.0.0.1:8081: set --admin-url"),
        (("--admin-url", "http://no host"), {}, 1, "set --admin-url"),
    ],
)
@pytest.mark.parametrize("command", ["sets list", "forget list", "check x", "keys list", "forget add -q x"])
def test_a_server_that_cannot_be_asked(
    run: Run, command: str, args: tuple[str, ...], env: dict[str, str | None], code: int, said: str
):
    result = run(*command.split(), *args, env=env)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""


def test_the_port_for_clients_is_not_the_admin_port(run: Run, lone: System):
    result = run("sets", "list", "--admin-url", lone.client_url)
    assert result.exit_code == 5
    assert "has no admin API (is it the port for clients?)" in result.stderr


def test_something_else_that_listens_there(run: Run):
    port = unused_port()
    with subprocess.Popen(
        ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)], stderr=subprocess.DEVNULL
    ) as other:
        try:
            deadline = time.monotonic() + 20
            while (
                "no server answers" in (result := run("sets", "list", "--admin-url", f"http://127.0.0.1:{port}")).stderr
            ):
                assert time.monotonic() < deadline
        finally:
            other.terminate()
    assert result.exit_code == 1
    assert "is no admin API of Lethe (status 404)" in result.stderr


def test_ctrl_c(lone: System):
    """A command that waits for its input is left with 130, and without a traceback."""
    pipe = subprocess.PIPE
    command = [LETHE, "forget", "import", "-"]
    with subprocess.Popen(command, env=lone.env, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        while "pipe_read" not in Path(f"/proc/{process.pid}/wchan").read_text():  # loaded, and asleep over its input
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said.split()) == (130, [b"interrupted"])


# -- terminals


def on_a_terminal(*args: str, env: dict[str, str], columns: int = 120) -> str:
    """What a command writes to a terminal of some width."""
    ours, theirs = pty.openpty()
    terminal = env | {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    with subprocess.Popen([LETHE, *args], env=terminal, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # Linux tells the end of a terminal so
                break
            if not block:
                break
            written += block
        os.close(ours)
        process.wait(20)
    return written.decode().replace("\r\n", "\n")


ESCAPE = "\x1b["


def test_colours_are_for_terminals_and_not_for_those_who_do_not_want_them(forget: Forgetting, lone: System):
    forget.add("Who is it?", "nobody here")
    wrong = {**lone.env, "LETHE_ADMIN_KEY": "wrong"}
    assert f"{ESCAPE}31merror: " in on_a_terminal("sets", "list", env=wrong)
    assert ESCAPE + "31m" not in on_a_terminal("sets", "list", env={**wrong, "NO_COLOR": "1"})
    assert ESCAPE not in lethe("sets", "list", env=wrong).stderr
    assert ESCAPE in on_a_terminal("forget", "list", env=lone.env)
    assert ESCAPE not in lone.lethe("forget", "list").stdout


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_ids_stay_whole_however_narrow_the_terminal_is(forget: Forgetting, lone: System, columns: int):
    entry = forget.add("Who is it?", "nobody here", label="a rather long label " * 6, reference="CASE-7")["id"]
    for args in (("forget", "list"), ("check", "Who is it?")):
        shown = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(*args, env=lone.env, columns=columns))
        assert re.search(rf"^{entry} +{forget.name} ", shown, re.MULTILINE)


def test_elsewhere_a_row_is_a_line(forget: Forgetting, lone: System):
    entry = forget.add("Who is it?", "nobody here", label="a rather long label " * 6)["id"]
    said = lethe("forget", "list", env={**lone.env, "COLUMNS": "40"}).stdout
    [row] = [row for row in said.splitlines() if row.startswith(entry)]
    assert "a rather long label" in row
    assert row.split()[-1].isdigit()


def test_an_import_shows_how_far_it_is_on_a_terminal_only(forget: Forgetting, lone: System, tmp_path: Path):
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(f'{{"question": "What is in box {number}?"}}\n' for number in range(3)))
    shown = on_a_terminal("forget", "import", "--set", forget.name, str(file), env=lone.env)
    assert "importing" in shown
    assert "3/3" in shown
    quiet = lone.lethe("forget", "import", "--set", forget.name, file)
    assert quiet.stderr == ""
    assert quiet.stdout.startswith("imported 0 entries")


def test_a_reader_that_goes_away_makes_no_noise(lone: System):
    done = subprocess.run(
        ["bash", "-c", f"{LETHE} --help | head -1; {LETHE} sets list | true"],
        env=clean_environment() | lone.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "Usage: lethe [OPTIONS] COMMAND [ARGS]...\n"
    assert "Traceback" not in done.stderr
