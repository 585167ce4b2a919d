"""Which snapshot may be served: one that this very code would make of this very ledger.

A snapshot is derived, and wrong rules are worse than a slow start. So it says what it was made of, and whatever differs
is a reason to make it anew: the ledger's own history up to its generation (not only the number, which comes again when
a ledger is restored), the embedder, the sealing keys, and the code and data that decide what is looked up how.
"""

import hashlib
import json
import sys
import unicodedata
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from indexes.ledger.records import Ledger
from indexes.mapped import Head
from indexes.sealed.keys import SealingKeys

FORMAT = 1

_DECIDES = ("numpy", "faiss-cpu", "anyascii")  # packages whose versions change what is stored, or how


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What a snapshot depends on, beside the state of the ledger."""

    embedder: str
    dimensions: int
    sealing: str
    """The fingerprint of the sealing keys; "" for none."""
    recipe: str
    format: int = FORMAT

    @classmethod
    def now(cls, embedder: str, dimensions: int, sealing: SealingKeys | None) -> "MadeOf":
        """With the code that runs."""
        return cls(embedder, dimensions, sealing.fingerprint if sealing is not None else "", recipe())

    def head(self, generation: int, history: str) -> Head:
        """What a snapshot of a generation says of itself."""
        return asdict(self) | {"generation": generation, "history": history}

    def differs(self, head: Head) -> str | None:
        """Why a snapshot does not fit; None when it does."""
        for name, value in asdict(self).items():
            if head.get(name) != value:
                return f"its {name} is another one"
        return None


def history_of(ledger: Ledger, generation: int) -> str:
    """Tells apart what happened in a generation from what happened under the same number in another ledger's life."""
    lines = [asdict(change) for change in ledger.changes(generation - 1, 1) if change.generation == generation]
    return hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest() if lines else ""


@cache
def recipe() -> str:
    """Tells apart code that would make other tables of the same entries."""
    told = hashlib.sha256(f"{sys.version}\0{unicodedata.unidata_version}".encode())
    for package in _DECIDES:
        told.update(f"\0{package} {version(package)}".encode())
    room = Path(__file__).parents[1]
    for path in sorted(room.rglob("*.py")):
        told.update(f"\0{path.relative_to(room)}\0".encode() + path.read_bytes())
    return told.hexdigest()[:32]
