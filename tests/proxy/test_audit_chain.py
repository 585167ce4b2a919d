"""The audit chain and receipts, tampered with in every way."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.chain import EMPTY, FIRST, RESTORED, Head, Record, hash_of, problems, standing
from proxy.audit.key import AuditKeyError, PublicKey, SigningKey

KEY = SigningKey(bytes(range(32)))
OTHER = SigningKey(bytes(32))


def chain(length: int, key: SigningKey = KEY) -> list[Record]:
    """A log as it is written."""
    made: list[Record] = []
    for number in range(1, length + 1):
        record: Record = {
            "number": number,
            "generation": number,
            "at": f"2026-01-{number:02}T00:00:00+00:00",
            "actor": "key_1",
            "action": "add",
            "set": "art",
            "entry": f"fe_{number}",
            "content": "ab" * 32,
            "acts": "cd" * 32,
            "previous": made[-1]["hash"] if made else FIRST,
        }
        record["hash"] = hash_of(record)
        record["signature"] = key.sign(record["hash"].encode())
        made.append(record)
    return made


def written(records: list[Record]) -> list[bytes]:
    return [orjson.dumps(record) for record in records]


def head(records: list[Record]) -> Head:
    return Head(records[-1]["number"], records[-1]["hash"])


def test_a_log_as_it_was_written_is_whole() -> None:
    assert problems(written(chain(5)), KEY.public) == []
    assert problems([], KEY.public) == []
    assert problems(written(chain(5)), KEY.public, ends=head(chain(3))) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'"actor":"key_1"', b'"actor":"mallory","actor":"key_1"'),  # which one is read?
        lambda line: line.replace(b'{"number"', b'{"note":1,"number"').replace(b'"note":1,', b" "),
        lambda line: line.replace(b"art", b"\\u0061rt"),
        lambda line: line + b"\r",
    ],
)
def test_a_line_is_as_it_was_written_to_the_byte(change: Callable[[bytes], bytes]) -> None:
    lines = written(chain(3))
    changed = change(lines[1])
    assert changed != lines[1]
    assert problems([lines[0], changed, lines[2]], KEY.public) == ["line 2: it is not as it was written"]


@pytest.mark.parametrize("field", [name for name in chain(1)[0] if name != "number"])
def test_any_field_that_is_changed_is_found(field: str) -> None:
    records = chain(4)
    records[1][field] = "0" * 64 if records[1][field] != "0" * 64 else "1" * 64
    assert "line 2" in problems(written(records), KEY.public)[0]


def _rehashed(records: list[Record]) -> None:
    """What somebody without the key can do: make all hashes fit again."""
    before = FIRST
    for record in records:
        record["previous"] = before
        record["hash"] = before = hash_of(record)


def _swap(records: list[Record]) -> None:
    records[1], records[2] = records[2], records[1]


def _change_and_rehash(records: list[Record]) -> None:
    records[1]["actor"] = "somebody else"
    _rehashed(records)


def _remove_and_renumber(records: list[Record]) -> None:
    del records[1]
    for number, record in enumerate(records, 1):
        record["number"] = number
    _rehashed(records)


@pytest.mark.parametrize(
    "tamper",
    [
        _swap,
        _change_and_rehash,
        _remove_and_renumber,
        lambda records: records.pop(1),
        lambda records: records.pop(0),
        lambda records: records.insert(2, records[1]),
        lambda records: records.append(chain(5, OTHER)[4]),
        lambda records: records[1].pop("actor"),
        lambda records: records[1].update(note="added"),
    ],
)
def test_what_is_tampered_with_is_found(tamper: Callable[[list[Record]], object]) -> None:
    records = chain(4)
    tamper(records)
    assert problems(written(records), KEY.public)


def test_what_is_cut_off_shows_beside_a_head() -> None:
    records = chain(5)
    assert problems(written(records[:3]), KEY.public) == []
    assert "ends too early" in problems(written(records[:3]), KEY.public, ends=head(records))[0]
    assert problems([], KEY.public, ends=head(records))
    assert problems(written(records), KEY.public, ends=Head(2, "0" * 64))
    assert problems(written(records), KEY.public, ends=EMPTY) == []


def test_what_stands_is_what_the_ledger_still_has() -> None:
    def told(*changes: tuple[int, str]) -> list[Record]:
        return [{"generation": generation, "action": action} for generation, action in changes]

    assert [one["generation"] for one in standing(told((1, "add"), (2, "add"), (3, "add")))] == [1, 2, 3]
    restored = told((1, "add"), (2, "add"), (3, "add"), (1, RESTORED), (2, "remove"), (1, RESTORED), (2, "add"))
    assert standing(restored) == told((1, "add"), (2, "add"))
    assert standing(told((5, "add"), (0, RESTORED))) == []


def test_another_key_is_found() -> None:
    assert len(problems(written(chain(3)), OTHER.public)) == 3


@given(st.lists(st.binary(max_size=30), max_size=3))
def test_any_bytes_are_read_and_found(lines: list[bytes]) -> None:
    assert bool(problems(lines, KEY.public)) is bool(lines)


# -- keys


def test_a_key_is_made_once_and_is_the_owners(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.key"
    first, second = SigningKey.at(path), SigningKey.at(path)
    assert str(first.public) == str(second.public)
    assert oct(path.stat().st_mode)[-3:] == "600"
    assert PublicKey.parse(str(first.public)).signed(b"x", second.sign(b"x"))
    path.write_bytes(b"short")
    with pytest.raises(AuditKeyError, match="restore it"):
        SigningKey.at(path)


def test_content_is_hashed_with_the_key() -> None:
    assert KEY.content_hash(b"a") != OTHER.content_hash(b"a")
    assert KEY.content_hash(b"a") == SigningKey(bytes(range(32))).content_hash(b"a")


@pytest.mark.parametrize("text", ["", "zzz", "AAAA", "é"])
def test_what_is_no_key_is_named(text: str) -> None:
    with pytest.raises(AuditKeyError, match="32 bytes"):
        PublicKey.parse(text)
