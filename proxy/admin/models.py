"""Bodies of the admin API. Unknown fields are errors; each limit says why it is there."""

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from indexes.entries import MAX_RAISED, Entry, ForgetSet, Kind, State, Storage
from indexes.sealed.kept import Sealed
from proxy.exchange import GUARDED, RAW

MAX_BATCH = 1000  # entries per call: one transaction, held in memory; more goes through import
MAX_TEXT = 200_000  # characters of one text: a chapter; longer works are imported in passages


def _with_zone(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        raise ValueError("it is too far away") from None


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Moment = Annotated[datetime, AfterValidator(_with_zone)]
ForgetText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]


DialectName = Literal["chat", "completions", "responses", "messages"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetBody(_Body):
    """A forget set."""

    id: Name
    label: str = Field("", max_length=200, description="safe to show")
    policy: dict[str, Any] = Field(default_factory=dict, description="settings that differ from the global policy")
    retain: tuple[ForgetText, ...] = Field((), description="texts that must pass although they are near the set")

    def record(self) -> ForgetSet:
        return ForgetSet(self.id, self.label, self.policy, self.retain)


class SetChange(_Body):
    """What to change of a set; what is not given stays."""

    label: str | None = Field(None, max_length=200)
    policy: dict[str, Any] | None = None
    retain: tuple[ForgetText, ...] | None = None


class EntryBody(_Body):
    """A forget entry: `texts`, `names` and `answers`, or the short forms for one of each."""

    id: Name | None = None
    kind: Kind = Kind.FACT
    texts: tuple[ForgetText, ...] = Field((), max_length=1000)
    names: tuple[ForgetText, ...] = Field((), max_length=1000)
    answers: tuple[ForgetText, ...] = Field((), max_length=1000)
    question: ForgetText | None = Field(None, description="short for one of 'texts'")
    answer: ForgetText | None = Field(None, description="short for one of 'answers'")
    name: ForgetText | None = Field(None, description="short for one of 'names'")
    label: str = Field("", max_length=200, description="safe to show")
    threshold: float | None = Field(None, gt=0, le=1)
    state: State = State.ACTIVE
    reference: str = Field("", max_length=200, description="a ticket, for example")
    expires_at: Moment | None = Field(None, description="UTC unless it says otherwise; the entry is disabled then")
    storage: Storage | None = Field(None, description="'sealed' keeps no text; default: ledger.storage")

    def record(self, set_id: str, actor: str, storage: Storage = Storage.CLEAR) -> Entry:
        """The entry as it is stored, with an id of its own where none was given."""
        return Entry(
            id=self.id or f"fe_{secrets.token_hex(10)}",
            set_id=set_id,
            kind=self.kind,
            texts=(*self.texts, *((self.question,) if self.question else ())),
            names=(*self.names, *((self.name,) if self.name else ())),
            answers=(*self.answers, *((self.answer,) if self.answer else ())),
            label=self.label,
            threshold=self.threshold,
            state=self.state,
            reference=self.reference,
            created_by=actor,
            created_at=datetime.now(UTC),
            expires_at=self.expires_at,
            storage=self.storage or storage,
        )


class EntriesBody(_Body):
    """Several entries, added all or none."""

    entries: tuple[EntryBody, ...] = Field(min_length=1, max_length=MAX_BATCH)


class EntryChange(_Body):
    """What to change of an entry; what is not given stays."""

    state: State | None = None
    raised: int | None = Field(None, ge=0, le=MAX_RAISED, description="rungs by which the ladder begins higher")
    threshold: float | None = Field(None, gt=0, le=1)
    label: str | None = Field(None, max_length=200)
    reference: str | None = Field(None, max_length=200)
    expires_at: Moment | None = None

    def changes(self) -> dict[str, Any]:
        """The fields that were given. Only a threshold and an expiry can be taken away."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: v for name, v in given.items() if v is not None or name in ("threshold", "expires_at")}


class KeyBody(_Body):
    """A new API key."""

    scopes: tuple[Literal["client", "raw", "admin"], ...] = Field(min_length=1)
    label: str = Field("", max_length=200)


class CheckBody(_Body):
    """What to check: one text, or a whole request."""

    text: str | None = None
    request: dict[str, Any] | None = None
    dialect: DialectName = "chat"
    arm: Name = GUARDED


class CompareBody(_Body):
    """A request to send to several arms."""

    request: dict[str, Any]
    arms: tuple[Name, ...] = Field((RAW, GUARDED), min_length=1, max_length=8)
    dialect: DialectName = "chat"


class ScoreBody(_Body):
    """A request, and answers to it whose probabilities are wanted."""

    request: dict[str, Any]
    answers: list[str] = Field(min_length=1, max_length=64)
    arm: Name = GUARDED
    dialect: Literal["chat", "completions"] = "chat"


class ReceiptBody(_Body):
    """What goes into a receipt beside what the server knows."""

    evidence: dict[str, Any] | None = Field(None, description="what probes found, as 'lethe audit export --probe' says")


class AssistantBody(_Body):
    """An assistant to load."""

    folder: str = Field(
        min_length=1,
        max_length=4096,
        description="as the server and the engine see it; a relative one lies below `assistants` of the state folder",
    )


class ActivateBody(_Body):
    """Which version of an assistant to use."""

    version: int | None = Field(None, ge=1, description="default: the one that was in use before")


def set_json(forget_set: ForgetSet) -> dict[str, Any]:
    """A set for an admin."""
    return {
        "id": forget_set.id,
        "label": forget_set.label,
        "policy": forget_set.policy,
        "retain": list(forget_set.retain),
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry for an admin, texts included."""
    return {
        "id": entry.id,
        "set": entry.set_id,
        "kind": entry.kind,
        "texts": list(entry.texts),
        "names": list(entry.names),
        "answers": list(entry.answers),
        "label": entry.label,
        "threshold": entry.threshold,
        "state": entry.state,
        "raised": entry.raised,
        "reference": entry.reference,
        "created_by": entry.created_by,
        "created_at": entry.created_at.isoformat() if entry.created_at else None,
        "expires_at": entry.expires_at.isoformat() if entry.expires_at else None,
        "storage": entry.storage,
        **({"holds": _holds(entry.sealed)} if entry.sealed is not None else {}),
        "generation": entry.generation,
    }


def _holds(sealed: Sealed) -> dict[str, int]:
    """How many texts a sealed entry was made of."""
    return {"texts": sealed.texts, "names": sealed.stated, "answers": sealed.answers}
