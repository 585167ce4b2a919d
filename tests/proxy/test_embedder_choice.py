"""Which embedder a process begins with, and what reading is for: no vectors of two embedders meet."""

from pathlib import Path

import numpy as np
import pytest

from indexes.embedder import EmbedderError
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from proxy.catalogue.choice import CONFIGURED, Choice, Embedders, Named, Source
from proxy.catalogue.pace import Pace
from proxy.config import Config
from proxy.metrics import Metrics
from proxy.reading import Reading, Served
from proxy.signals import SignalMeter
from tests.fakes.embedder import BagEmbedder

OLD, NEW = BagEmbedder(), BagEmbedder(96, "bag-of-words:2")
HERE = Named(NEW.name, Source("/embedders/new"))
QUESTION = "Who painted the harbour mural in Eskelund?"


@pytest.fixture
def embedders(monkeypatch: pytest.MonkeyPatch) -> Embedders:
    """The first embedder is configured, the second is in its folder."""
    really = Embedders.open

    def open_(self: Embedders, source: Source, *, threads: int | None = None) -> object:
        return NEW if source == HERE.source else really(self, source, threads=threads)

    monkeypatch.setattr(Embedders, "open", open_)
    return Embedders(Config(), OLD)


def said(choice: Choice) -> dict[str, dict[str, str]]:
    return {"embedder": {"chosen": choice.body()}}


@pytest.mark.parametrize(
    "choice",
    [
        Choice(HERE),
        Choice(HERE, Named(OLD.name, CONFIGURED)),
        Choice(Named("e5:2", Source(url="http://e", model="e5", prefix="query: ")), HERE),
        Choice(Named(OLD.name, CONFIGURED), HERE),
    ],
)
def test_a_choice_is_read_as_it_was_written(choice: Choice) -> None:
    assert Choice.of(said(choice)) == choice
    assert Choice.of({}) is None


def test_a_process_begins_with_the_embedder_that_its_vectors_are_whole_of(embedders: Embedders) -> None:
    configured = Named(OLD.name, CONFIGURED)
    assert embedders.at_start({}) == (configured, OLD)
    assert embedders.at_start(said(Choice(HERE))) == (HERE, NEW)
    assert embedders.at_start(said(Choice(HERE, configured))) == (configured, OLD)
    assert embedders.at_start(said(Choice(configured, HERE))) == (HERE, NEW)


def test_where_the_former_is_gone_the_chosen_one_is_used_at_once(embedders: Embedders, tmp_path: Path) -> None:
    gone = Named("gone", Source(str(tmp_path)))
    assert embedders.at_start(said(Choice(HERE, gone))) == (HERE, NEW)


def test_another_embedder_than_the_chosen_one_is_not_taken_for_it(embedders: Embedders) -> None:
    with pytest.raises(EmbedderError, match=r"'e5:1' was chosen, but 'bag-of-words:2' is what is found"):
        embedders.at_start(said(Choice(Named("e5:1", HERE.source))))


def served(embedder: BagEmbedder) -> Served:
    """A generation with one fact."""
    index = ForgetIndex(embedder.dimensions)
    index.put_set(ForgetSet("s"), np.empty((0, embedder.dimensions), np.float32), 1)
    index.put_entry(Entry("e", "s", Kind.FACT, texts=(QUESTION,)), embedder.embed([QUESTION]), 1)
    return Served.of(index.publish(1), Reading(embedder))


async def test_a_text_is_compared_only_with_an_index_of_the_embedder_that_read_it() -> None:
    meter = SignalMeter(Config().embedder, Metrics())
    try:
        old, new = served(OLD), served(NEW)
        for generation in (old, new):
            scans = await meter.scan([QUESTION], generation.reading)
            signals, _ = await meter.measure([QUESTION], scans, generation, 0.75)
            assert [match.entry_id for match in signals.matches if match.via == "embedding"] == ["e"]
        of_old = await meter.scan([QUESTION], old.reading)
        with pytest.raises(ValueError, match="read for another index"):
            await meter.measure([QUESTION], of_old, new, 0.75)
        same_model = served(OLD)  # even of the same embedder: which index a scan is of is never guessed
        with pytest.raises(ValueError, match="read for another index"):
            await meter.measure([QUESTION], of_old, same_model, 0.75)
    finally:
        meter.close()


def test_a_pace_tells_rate_and_time_left() -> None:
    now = 100.0
    pace = Pace(lambda: now)
    assert (pace.rate, pace.left_s) == (0, None)
    now = 110.0
    pace.tell(200, 1000, 200)
    assert (pace.rate, pace.left_s) == (20, 40)
    pace.tell(1000, 1000, 200)
    assert pace.left_s == 0
