"""Configuration: what is wrong is named, with the cure where there is one; nothing is ignored in silence."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from guards.engine.launch import Auxiliary
from guards.policy import OnFault, Rung, ScanOutput
from proxy.config import Config, ConfigError, load


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Writes a configuration and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "lethe.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_defaults_alone_are_enough() -> None:
    config = load(None, env={})
    assert (config.listen.host, config.listen.port, config.admin.port) == ("127.0.0.1", 8080, 8081)
    assert config.default_policy.on_match == (Rung.INSTRUCT, Rung.REFUSE)
    assert config.surface == "strict"
    assert config.ledger_path == Path(".lethe/ledger.sqlite3")


def test_file_is_read(written: Any) -> None:
    config = load(
        written("listen: {port: 9}\nstate: /x\npolicy: {threshold: 0.9, on_match: [refuse], scan_output: always}\n"),
        env={},
    )
    assert config.listen.port == 9
    assert config.ledger_path == Path("/x/ledger.sqlite3")
    assert config.default_policy.threshold == 0.9
    assert config.default_policy.on_match == (Rung.REFUSE,)
    assert config.default_policy.scan_output is ScanOutput.ALWAYS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lissten: {}", "unknown setting 'lissten'; did you mean 'listen'?"),
        ("listen: {prot: 1}", "unknown setting 'listen.prot'; did you mean 'port'?"),
        ("limits: {zzz: 1}", "unknown setting 'limits.zzz'; known here: max_body_mib, keep_alive_s, drain_s"),
        ("upstream: {idle_timeout: 3}", "did you mean 'idle_timeout_s'?"),
        ("listen: {port: 99999}", "'listen.port'"),
        ("listen: {port: http}", "'listen.port'"),
        ("listen: 7", "'listen'"),
        ("embedder: {workers: 0}", "'embedder.workers'"),
        ("surface: lax", "'surface'"),
        ("policy: {treshold: 0.5}", "unknown policy setting 'treshold'; did you mean 'threshold'?"),
        ("policy: {threshold: 7}", "'threshold' is a number from 0 to 1"),
        ("policy: {on_match: [refuse, instruct]}", "'on_match' climbs"),
        ("policy: {style: rude}", "'style' is one of unknown, refusal"),
        ("log_level: loud", "'log_level'"),
        ("arms: {raw: {}}", "raw and guarded are there"),
        ("arms: {Strict: {}}", "an arm is named by small letters"),
        ("arms: {strict: {treshold: 0.5}}", "did you mean 'threshold'?"),
    ],
)
def test_wrong_setting_is_named(written: Any, text: str, says: str) -> None:
    path = written(text)
    with pytest.raises(ConfigError) as error:
        load(path, env={})
    assert says in str(error.value)
    assert str(error.value).startswith(f"{path}: ")


def test_everything_that_is_wrong_is_named_at_once(written: Any) -> None:
    with pytest.raises(ConfigError) as error:
        load(written("lissten: {}\nlisten: {port: x}\nsurface: lax\n"), env={})
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("listen:\n  port: 1\n bad", "not valid YAML in line 3"),
        ("a: [1,\nb: 2", "not valid YAML in line"),
        ("a: *x", "not valid YAML in line 1"),
        ("- 1", "must hold settings by name"),
        ("7", "must hold settings by name"),
        ("!!python/object/apply:os.system [ls]", "not valid YAML"),
        ("listen: {port: 1}\nadmin: {port: 2}\nlisten: {host: h}", "in line 3: 'listen' is given twice"),
        ("policy:\n  style: unknown\n  style: refusal", "in line 3: 'style' is given twice"),
        ("arms: &a {strict: *a}", "an alias that stands for what it is part of"),
        ("engine: {args: &a [*a]}", "an alias that stands for what it is part of"),
    ],
)
def test_file_that_is_no_configuration(written: Any, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(written(text), env={})


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        load(tmp_path / "nothing.yaml", env={})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, env={})
    (tmp_path / "latin.yaml").write_bytes(b"state: caf\xe9")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "latin.yaml", env={})


def test_what_is_written_once_may_be_used_again(written: Any) -> None:
    text = "listen: &here {host: h, port: 1}\nadmin: {<<: *here, port: 2}\nupstream: {url: 'http://h'}\nlimits: {}\n"
    config = load(written(text), env={})
    assert (config.listen.host, config.listen.port) == (config.admin.host, 1)
    assert config.admin.port == 2


def test_empty_file_is_all_defaults(written: Any) -> None:
    assert load(written("# nothing\n"), env={}) == load(None, env={})


def test_secrets_come_from_the_environment(written: Any) -> None:
    path = written("upstream: {api_key: '${VLLM_KEY}', url: 'http://${HOST}:${PORT}'}\nengine: {args: ['${A}']}\n")
    env = {"VLLM_KEY": "s3cret", "HOST": "h", "PORT": "1", "A": "--x"}
    config = load(path, env=env)
    assert config.upstream.api_key == "s3cret"
    assert config.upstream.url == "http://h:1"
    assert config.engine.args == ("--x",)
    assert "s3cret" not in repr(config)
    del env["PORT"]
    with pytest.raises(ConfigError, match=r"uses \${PORT}, but the environment variable PORT is not set"):
        load(path, env=env)


def test_secret_of_a_wrong_type_is_not_repeated(written: Any) -> None:
    with pytest.raises(ConfigError) as error:
        load(written("upstream: {api_key: [s3cret]}"), env={})
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "secret", ["12345", "true", "a: b", "*x", "{", "null", "0x10", "- a", "1e5", "'q'", "#x", " s "]
)
def test_secret_in_an_override_stays_as_it_is(secret: str) -> None:
    assert load(None, env={"LETHE_UPSTREAM__API_KEY": secret}).upstream.api_key == secret


def test_environment_wins_over_the_file_and_arguments_over_both(written: Any) -> None:
    path = written("listen: {port: 1, host: '::1'}\nsurface: strict\n")
    env = {"LETHE_LISTEN__PORT": "2", "LETHE_SURFACE": "permissive", "LETHE_LIMITS__DRAIN_S": "1.5"}
    config = load(path, {"listen": {"port": 3}}, env)
    assert (config.listen.port, config.listen.host) == (3, "::1")
    assert (config.surface, config.limits.drain_s) == ("permissive", 1.5)
    assert load(path, env=env).listen.port == 2
    assert load(written("cache: /of/the/file"), env={"LETHE_CACHE": "/of/the/environment"}).cache == Path(
        "/of/the/environment"
    )


def test_lists_and_policies_in_the_environment_are_yaml() -> None:
    env = {
        "LETHE_POLICY__ON_MATCH": "[refuse]",
        "LETHE_POLICY__THRESHOLD": "0.8",
        "LETHE_POLICY__ON_FAULT": "allow",
        "LETHE_POLICY__REASONING": "true",
        "LETHE_ENGINE__ARGS": "[--a, --b]",
    }
    config = load(None, env=env)
    policy = config.default_policy
    assert (policy.on_match, policy.threshold) == ((Rung.REFUSE,), 0.8)
    assert (policy.on_fault, policy.reasoning) == (OnFault.ALLOW, True)
    assert config.engine.args == ("--a", "--b")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"LETHE_LISTEN__PROT": "1"}, "unknown setting 'listen.prot'; did you mean 'port'?"),
        ({"LETHE_LISTTEN__PORT": "1"}, "did you mean 'listen'?"),
        ({"LETHE_LISTEN__PORT": "x"}, "'listen.port'"),
        ({"LETHE_POLICY__TRESHOLD": "1"}, "did you mean 'threshold'?"),
        ({"LETHE_POLICY__ON_MATCH": "[refuse"}, "LETHE_POLICY__ON_MATCH is not valid YAML"),
        ({"LETHE_SURFACE": "lax"}, "'surface'"),
        ({"LETHE_LISTEN_PORT": "1"}, "LETHE_LISTEN_PORT sets nothing; did you mean LETHE_LISTEN__PORT?"),
        ({"LETHE_POLICY_THRESHOLD": "1"}, "did you mean LETHE_POLICY__THRESHOLD?"),
        ({"LETHE_ENGINE_KV_CACHE_GIB": "1"}, "did you mean LETHE_ENGINE__KV_CACHE_GIB?"),
    ],
)
def test_wrong_override_is_named(env: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(None, env=env)
    assert says in str(error.value)


def test_other_variables_are_left_alone() -> None:
    env = {"LETHE_ADMIN_KEY": "k", "LETHE_CACHE": "/c", "LETHE_CONFIG": "x", "HOME__X": "1"}
    assert load(None, env=env | {"LETHE_ENGINE_PYTHON": "python", "LETHE_DB_PASSWORD": "p"}).listen.port == 8080


def test_variable_that_the_file_uses_may_be_spelt_like_a_setting(written: Any) -> None:
    config = load(written("upstream: {api_key: '${LETHE_UPSTREAM_API_KEY}'}"), env={"LETHE_UPSTREAM_API_KEY": "k"})
    assert config.upstream.api_key == "k"


def test_arms_in_the_environment_are_yaml() -> None:
    config = load(None, env={"LETHE_ARMS__STRICT": "{threshold: 0.6, on_match: [refuse]}"})
    assert config.arms == {"strict": {"threshold": 0.6, "on_match": ["refuse"]}}


def test_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError):
        load(None, env={}).listen.port = 7  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Config().surface = "permissive"  # type: ignore[misc]


# -- auxiliaries


def test_slots_have_short_forms_and_names(written: Any) -> None:
    config = load(
        written(
            "engine: {auxiliaries: ['layers:8', 'checkpoint:/models/b', {kind: layers, layers: 4, name: short}]}\n"
        ),
        env={},
    )
    assert config.engine.slots == (
        Auxiliary("a0", "layers", layers=8),
        Auxiliary("a1", "checkpoint", model="/models/b"),
        Auxiliary("short", "layers", layers=4),
    )
    assert load(None, env={"LETHE_ENGINE__AUXILIARIES": "[layers:8]"}).engine.slots == (config.engine.slots[0],)
    assert load(None, env={}).engine.slots == ()


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        ("[layers]", "'layers' is neither layers:NUMBER nor checkpoint:FOLDER"),
        ("[layers:many]", "neither layers:NUMBER"),
        ("[8]", "engine.auxiliaries"),
        ("[layers:0]", "engine.auxiliaries"),
        ("[{kind: layers}]", "'layers' must be a positive int"),
        ("[{kind: checkpoint, layers: 2}]", "'model' belongs to kind 'checkpoint'"),
        ("[{kind: layers, layers: 2, name: x}, {kind: layers, layers: 2, name: x}]", "two auxiliaries have one name"),
        ("[layers:1, layers:1, layers:1, layers:1, layers:1, layers:1, layers:1, layers:1, layers:1]", "1 and 8"),
    ],
)
def test_slots_that_cannot_be_are_named(written: Any, slots: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(written(f"engine: {{auxiliaries: {slots}}}\n"), env={})
