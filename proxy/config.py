"""Configuration: what can be set, parsed once and frozen (`settings.py`: where it is written).

A key that is not known is an error with a suggestion: a setting that is silently ignored protects nobody.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from guards.engine.launch import Auxiliary, EngineConfig
from guards.policy import DEFAULT_POLICY, Policy
from indexes.sealed.keys import SealError, SealingKeys
from proxy.settings import Unreadable, merged, written
from proxy.validation import problems

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ARM_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class ConfigError(Exception):
    """The configuration cannot be used. The message names every wrong key and, where there is one, the cure."""


def _checked_policy(changes: dict[str, Any]) -> dict[str, Any]:
    DEFAULT_POLICY.with_changes(changes)
    return changes


def _checked_arms(arms: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    for name, changes in arms.items():
        if not ARM_NAME.fullmatch(name) or name in ("raw", "guarded"):
            raise ValueError(f"'{name}': an arm is named by small letters, digits and '-'; raw and guarded are there")
        DEFAULT_POLICY.with_changes(changes)
    return arms


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{url}' is not a URL such as http://127.0.0.1:8000")
    return url


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Section):
    """Where a port listens."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)


class Upstream(_Section):
    """The vLLM server behind the proxy."""

    url: Annotated[str, AfterValidator(_http_url)] = "http://127.0.0.1:8000"
    api_key: str | None = Field(None, repr=False)
    connect_timeout_s: float = Field(5.0, gt=0)
    idle_timeout_s: float = Field(300.0, gt=0, description="longest silence of the engine within one answer")
    check_every_s: float = Field(2.0, gt=0, description="how often the engine's health and models are read")


def checked_url(url: str | None) -> str | None:
    """Raises ValueError for what is not a URL of a server."""
    return None if url is None else _http_url(url)


class EmbedderSettings(_Section):
    """The model that compares texts, and how many threads it may take."""

    path: Path | None = Field(None, description="a prepared folder; default: all-MiniLM-L6-v2 in the cache")
    url: Annotated[str | None, AfterValidator(checked_url)] = Field(
        None, description="a server with /v1/embeddings, instead of a folder"
    )
    model: str | None = Field(None, description="the model that the server embeds with")
    api_key: str | None = Field(None, repr=False)
    prefix: str = Field("", description="written before each text that the server embeds, as e5 wants 'query: '")
    threads: int = Field(2, ge=1, description="threads inside one forward pass")
    workers: int = Field(2, ge=1, description="requests embedded side by side")
    queue: int = Field(256, ge=1, description="requests waiting for the embedder before new ones are turned away")
    deadline_s: float = Field(15.0, gt=0)
    cache_mib: int = Field(64, ge=0, description="memory for the vectors of texts seen before")

    @model_validator(mode="after")
    def _one_embedder(self) -> "EmbedderSettings":
        if self.url is not None and (self.path is not None or self.model is None):
            raise ValueError("with 'url' goes 'model', and no 'path'")
        return self


def _database_url(url: str | None) -> str | None:
    if url is not None and not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("it is not a URL such as postgresql://user:password@host/database")  # it may hold a secret
    return url


class LedgerSettings(_Section):
    """Where forget entries live: in a SQLite file, or in PostgreSQL for several replicas."""

    path: Path | None = Field(None, description="SQLite; default: ledger.sqlite3 in the state directory")
    url: Annotated[str | None, AfterValidator(_database_url)] = Field(
        None, repr=False, description="PostgreSQL, such as postgresql://user:password@host/database"
    )
    storage: Literal["clear", "sealed"] = Field("clear", description="of new entries that do not say themselves")
    sealing_key: str | None = Field(None, repr=False, description="keys of sealed entries, oldest first, with commas")
    sealing_key_file: Path | None = Field(None, description="the same in a file, one key a line")
    lease_s: float = Field(5.0, ge=1, description="silence of a shared ledger after which a process serves no more")
    snapshot_every: int = Field(
        2000, ge=0, description="changed entries after which the index is written to files to start from; 0: never"
    )
    poll_s: float = Field(1.0, gt=0, description="how often PostgreSQL is asked for changes beside its announcements")


class AuxiliarySettings(_Section):
    """A slot for an auxiliary model inside the engine; `layers:8` and `checkpoint:FOLDER` are short forms."""

    kind: Literal["layers", "checkpoint"]
    name: str | None = Field(None, description="default: a0, a1, … by position")
    layers: int | None = Field(None, ge=1, description="with kind layers: how many of the base's first layers")
    model: str | None = Field(None, description="with kind checkpoint: a folder or hub name")


def _auxiliary(given: Any) -> Any:
    """The long form of a slot."""
    if not isinstance(given, str):
        return given
    kind, _, rest = given.partition(":")
    if kind == "layers" and rest.isdecimal():
        return {"kind": kind, "layers": int(rest)}
    if kind == "checkpoint" and rest:
        return {"kind": kind, "model": rest}
    raise ValueError(f"'{given}' is neither layers:NUMBER nor checkpoint:FOLDER")


def _slots(settings: tuple[AuxiliarySettings, ...]) -> tuple[Auxiliary, ...]:
    return tuple(
        Auxiliary(one.name or f"a{place}", one.kind, model=one.model, layers=one.layers)
        for place, one in enumerate(settings)
    )


def _checked_slots(settings: tuple[AuxiliarySettings, ...]) -> tuple[AuxiliarySettings, ...]:
    if settings:
        EngineConfig(_slots(settings))
    return settings


class EngineSettings(_Section):
    """The engine of `lethe up` and `lethe engine`; `auxiliaries` also tell `lethe serve` what its engine has."""

    model: Path | None = Field(None, description="a checkpoint folder; default: SmolLM2-135M-Instruct in the cache")
    served_model_name: str | None = Field(None, description="what clients call the model; default: the folder's name")
    python: Path | None = Field(None, description="a Python with vLLM; default: that of .venv-engine")
    port: int = Field(8000, ge=1, le=65535, description="on loopback")
    max_model_len: int | None = Field(None, ge=1, description="longest context in tokens; default: the model's own")
    kv_cache_gib: int = Field(2, ge=1, description="memory for contexts, on a CPU; a GPU gives what is left")
    max_restarts: int = Field(5, ge=0, description="of a dead engine within ten minutes, before `lethe up` ends")
    args: tuple[str, ...] = Field((), description="further arguments of vLLM, such as --tensor-parallel-size=2")
    auxiliaries: Annotated[
        tuple[Annotated[AuxiliarySettings, BeforeValidator(_auxiliary)], ...], AfterValidator(_checked_slots)
    ] = Field((), description="slots for assistants: `layers:8` or `checkpoint:FOLDER`, in order; none: no offsets")
    max_lora_rank: int = Field(32, ge=1, description="largest rank of an assistant in slots of layers")
    max_loras: int = Field(4, ge=1, description="assistants that may be at work side by side")

    @property
    def slots(self) -> tuple[Auxiliary, ...]:
        """The auxiliaries as the engine is told of them."""
        return _slots(self.auxiliaries)


class Limits(_Section):
    """Bounds on what one client can ask of the server."""

    max_body_mib: int = Field(8, ge=1, description="a 128k-token chat is about 1 MB of JSON")
    keep_alive_s: float = Field(15.0, gt=0, description="comment interval while a guarded stream is held")
    drain_s: float = Field(20.0, ge=0, description="how long a shutdown waits for answers in flight")
    requests_per_minute: int | None = Field(None, ge=1, description="of each key, in each process; none: any number")
    tokens_per_minute: int | None = Field(None, ge=1, description="of the answers to each key, in each process")
    answers_at_once: int | None = Field(None, ge=1, description="under way for each key, in each process")


class Config(_Section):
    """Everything that can be set."""

    listen: Listen = Listen()
    admin: Listen = Listen(port=8081)
    upstream: Upstream = Upstream()
    embedder: EmbedderSettings = EmbedderSettings()
    ledger: LedgerSettings = LedgerSettings()
    engine: EngineSettings = EngineSettings()
    limits: Limits = Limits()
    policy: Annotated[dict[str, Any], AfterValidator(_checked_policy)] = Field(default_factory=dict)
    arms: Annotated[dict[str, dict[str, Any]], AfterValidator(_checked_arms)] = Field(
        default_factory=dict, description="further arms by name, each with policy settings that win over those of sets"
    )
    surface: Literal["strict", "permissive"] = Field(
        "strict", description="strict or permissive: fields of a request that no table knows are refused, or passed on"
    )
    workers: int = Field(1, ge=1, le=64, description="processes of `lethe serve` on the same ports")
    state: Path = Field(Path(".lethe"), description="folder of the ledger, keys and logs; one for each server")
    cache: Path = Field(
        default_factory=lambda: Path(os.environ.get("LETHE_CACHE") or Path.home() / ".cache" / "lethe"),
        description="folder of prepared models; default: LETHE_CACHE, else ~/.cache/lethe",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def default_policy(self) -> Policy:
        """The policy of every set, before the set's own changes."""
        return DEFAULT_POLICY.with_changes(self.policy)

    @property
    def ledger_path(self) -> Path:
        return self.ledger.path or self.state / "ledger.sqlite3"

    @property
    def snapshots_path(self) -> Path:
        """Where the index is kept in files: beside a SQLite ledger, in the state directory otherwise."""
        return (self.ledger_path.parent if self.ledger.url is None else self.state) / "snapshots"

    def sealing_keys(self) -> SealingKeys | None:
        """The keys of sealed entries, if there are any. Raises ConfigError."""
        text, file = self.ledger.sealing_key, self.ledger.sealing_key_file
        try:
            if text is None and file is not None:
                text = file.read_text("ascii")
            return None if text is None else SealingKeys.read(text)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"ledger.sealing_key_file {file} cannot be read ({type(error).__name__})") from None
        except SealError as error:
            raise ConfigError(str(error)) from None

    @property
    def embedder_path(self) -> Path:
        return self.embedder.path or self.cache / "embedders" / "all-minilm-l6-v2"

    @property
    def model_path(self) -> Path:
        return self.engine.model or self.cache / "models" / "smollm2-135m-instruct"


def load(path: Path | None, overrides: Mapping[str, Any] | None = None, env: Mapping[str, str] = os.environ) -> Config:
    """Reads a configuration. `overrides` are nested settings that win over file and environment. Raises ConfigError."""
    try:
        return Config.model_validate(merged(written(path, env, Config), overrides or {}))
    except Unreadable as error:
        raise ConfigError(str(error)) from None
    except ValidationError as error:
        where = f"{path}: " if path else ""
        raise ConfigError("\n".join(f"{where}{message}" for _, message in problems(Config, error))) from None
