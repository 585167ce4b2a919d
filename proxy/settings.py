"""Where settings are written: a YAML file, in which `${NAME}` takes from the environment, and the environment itself.

Nothing that was written is ignored in silence: a key that is given twice, or a variable of the environment that is
spelt almost like a setting, is an error.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel

from guards.policy import Policy

ALONE = ("state", "cache", "surface", "workers", "log_level")
"""Settings of no section that the environment may hold: LETHE_STATE and so on."""

OTHERS = frozenset({"LETHE_ENGINE_PYTHON"})
"""Variables that are spelt like a setting and are something else."""

_POLICY = tuple(field.name for field in dataclasses.fields(Policy))


class Unreadable(Exception):
    """Settings cannot be read. The message names the place, and the cure where there is one."""


def written(path: Path | None, env: Mapping[str, str], model: type[BaseModel]) -> dict[str, Any]:
    """What file and environment say, the environment winning, not validated. Raises Unreadable.

    `model` is what it is to become: its fields tell settings apart from other variables.
    """
    used: set[str] = set()
    settings = _expanded(_parsed(path), env, used) if path else {}
    _refuse_near_misses(model, env, used)
    return merged(settings, _from_env(env, model))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, of which those of `over` win."""
    both = dict(base)
    for key, value in over.items():
        under = both.get(key)
        nested = isinstance(value, Mapping) and isinstance(under, Mapping)
        both[key] = merged(under, value) if nested and under is not None else value
    return both


class _OnceOnly(yaml.SafeLoader):
    """Plain YAML in which no mapping holds a key twice: of two, PyYAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                problem = f"'{key.value}' is given twice: put both together"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.load(path.read_text("utf-8"), _OnceOnly) or {}  # noqa: S506 - it is a SafeLoader
    except FileNotFoundError:
        raise Unreadable(f"there is no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} cannot be read ({type(error).__name__})") from None
    except (yaml.YAMLError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        raise Unreadable(f"{path} is not valid YAML{line}: {getattr(error, 'problem', 'syntax error')}") from None
    if not isinstance(settings, dict):
        raise Unreadable(f"{path} must hold settings by name, such as 'listen:'")
    return settings


def _expanded(value: Any, env: Mapping[str, str], used: set[str], above: tuple[int, ...] = ()) -> Any:
    """The same with the variables that it names, whose names go to `used`."""
    if id(value) in above:
        raise Unreadable("the configuration holds an alias that stands for what it is part of")
    inside = (*above, id(value))
    if isinstance(value, dict):
        return {key: _expanded(item, env, used, inside) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, env, used, inside) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda found: _variable(found[1], env, used), value)
    return value


def _variable(name: str, env: Mapping[str, str], used: set[str]) -> str:
    if name not in env:
        raise Unreadable(f"the configuration uses ${{{name}}}, but the environment variable {name} is not set")
    used.add(name)
    return env[name]


def _refuse_near_misses(model: type[BaseModel], env: Mapping[str, str], used: set[str]) -> None:
    """LETHE_LISTEN_PORT is no setting, and whoever wrote it believes that it is one."""
    for section, field in model.model_fields.items():
        keys = _POLICY if section == "policy" else getattr(field.annotation, "model_fields", {})
        for key in keys:
            near = f"LETHE_{section}_{key}".upper()
            if near in env and near not in used | OTHERS:
                right = f"LETHE_{section}__{key}".upper()
                raise Unreadable(f"the environment variable {near} sets nothing; did you mean {right}?")


def _from_env(env: Mapping[str, str], model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in env.items():
        if name.startswith("LETHE_") and "__" in name:
            section, key = name.removeprefix("LETHE_").lower().split("__", 1)
            found = merged(found, {section: {key: _setting(name, value, model.model_fields.get(section), key)}})
    for name in ALONE:
        if setting := env.get(f"LETHE_{name.upper()}"):
            found[name] = setting
    return found


def _setting(name: str, value: str, section: Any, key: str) -> Any:
    """A setting from the environment: lists and policies are YAML, the rest is not, so that a secret stays as it is."""
    field = getattr(section and section.annotation, "model_fields", {}).get(key)
    free = section is not None and get_origin(section.annotation) is dict  # policy, arms: their keys are not fields
    if not free and not (field and get_origin(field.annotation) is tuple):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise Unreadable(f"the environment variable {name} is not valid YAML") from None
