"""`duplicates=skip`: what a set says already is left out before it is embedded, and told by place."""

import asyncio
from typing import Any

import pytest

from tests.wire.harness import Lethe

PATH = "/sets/art/entries?duplicates=skip"


def facts(*numbers: int, **more: Any) -> dict[str, Any]:
    return {"entries": [{"question": f"Who painted mural {n}?", "answer": f"Painter {n}", **more} for n in numbers]}


async def test_what_is_there_is_left_out_and_not_embedded(lethe: Lethe) -> None:
    first = (await lethe.admin("POST", PATH, facts(1, 2))).body
    assert first["duplicates"] == []
    calls = lethe.embedder.calls
    again = (await lethe.admin("POST", PATH, facts(2, 1))).body
    assert again == {"generation": first["generation"], "ids": first["ids"][::-1], "duplicates": [0, 1]}
    assert lethe.embedder.calls == calls
    more = (await lethe.admin("POST", PATH, facts(1, 3, 3, 2, 4))).body
    assert more["duplicates"] == [0, 2, 3]
    assert more["ids"][0] == first["ids"][0]
    assert more["ids"][1] == more["ids"][2] not in first["ids"]
    assert (await lethe.admin("GET", "/generations")).body["entries"] == 4
    one = await lethe.admin("POST", PATH, facts(4)["entries"][0])
    assert (one.body["id"], one.body["duplicates"]) == (more["ids"][4], [0])


async def test_without_it_the_same_is_added_again(lethe: Lethe) -> None:
    for _ in range(2):
        reply = await lethe.admin("POST", "/sets/art/entries", facts(1))
        assert (reply.status, "duplicates" in reply.body) == (201, False)
    assert (await lethe.admin("GET", "/generations")).body["entries"] == 2


async def test_several_who_add_the_same_at_once_add_it_once(lethe: Lethe) -> None:
    replies = await asyncio.gather(*(lethe.admin("POST", PATH, facts(*range(20))) for _ in range(4)))
    assert sorted(len(reply.body["duplicates"]) for reply in replies) == [0, 20, 20, 20]
    assert len({tuple(reply.body["ids"]) for reply in replies}) == 1
    assert (await lethe.admin("GET", "/generations")).body["entries"] == 20


async def test_what_was_removed_is_added_again(lethe: Lethe) -> None:
    made = (await lethe.admin("POST", PATH, facts(1))).body["ids"][0]
    await lethe.admin("DELETE", f"/sets/art/entries/{made}")
    again = (await lethe.admin("POST", PATH, facts(1))).body
    assert again["duplicates"] == []
    assert again["ids"] != [made]


async def test_all_or_none(lethe: Lethe) -> None:
    await lethe.admin("POST", PATH, facts(1, id="taken"))
    reply = await lethe.admin("POST", PATH, {"entries": [*facts(2)["entries"], *facts(3, id="taken")["entries"]]})
    assert reply.status == 409
    assert (await lethe.admin("GET", "/generations")).body["entries"] == 1
    reply = await lethe.admin("POST", PATH, {"entries": [*facts(2)["entries"], {"question": "x", "answer": "..."}]})
    assert reply.status == 400
    assert (await lethe.admin("GET", "/generations")).body["entries"] == 1


@pytest.mark.parametrize("wanted", ["", "keep", "SKIP"])
async def test_another_word_is_refused_before_anything_is_added(lethe: Lethe, wanted: str) -> None:
    reply = await lethe.admin("POST", f"/sets/art/entries?duplicates={wanted}", facts(1))
    assert (reply.status, reply.error["param"]) == (400, "duplicates")
    assert (await lethe.admin("GET", "/generations")).body["entries"] == 0
