"""The rows near each window of a text, of every set that acts: none is hidden behind the entries of another.

The nearest rows are enough where they act: any of them is a reason. Where they are removed, only watched, or all of one
set, others are looked for *among* what acts and was not heard yet. Entries with a threshold of their own are heard
beside the others of their set: where those are too far to count, one that lies behind them may count. So what a look-up
costs depends on how many sets act near a text, not on how many entries lie there.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from indexes.rows import RowTable
from indexes.slots import Group, SlotTable
from indexes.vectors import Among, Vectors, VectorView

NEIGHBOURS = 16
"""Rows of active entries looked at per window, and of each set that acts near it (`slots.Group`)."""

FLOOR = 0.3
"""Similarities below this are noise for every encoder measured and are not reported."""

DETAILED = 0.45
"""Similarity from which details are compared: below, no number of them reaches a threshold."""

DEEPER = 4  # times as many rows are asked for where no further set was heard
KEPT = 4  # answers to "which rows act, of these groups" that a generation keeps: a byte for each row

Near = tuple[float, int]
"""A similarity and a row."""


class Neighbours:
    """What is near in one generation; `acting` are the groups of its sets that do not only look on."""

    def __init__(self, rows: RowTable, slots: SlotTable, generation: int, acting: Collection[Group]) -> None:
        self._rows = rows
        self._slots = slots
        self._generation = generation
        self._acting = frozenset(acting)
        self._known: dict[frozenset[Group], Among] = {}

    def of(self, queries: Vectors, view: VectorView) -> Iterator[tuple[int, float, int]]:
        """Window, similarity and row of the visible rows near each window, no row of a window twice.

        `view` are the rows of the generation.
        """
        scores, rows = view.search(queries, NEIGHBOURS)
        for window, (row_scores, row_numbers) in enumerate(zip(scores.tolist(), rows.tolist(), strict=True)):
            near = _above_the_floor(row_scores, row_numbers)
            yield from ((window, score, row) for score, row in near if self._visible(row))
            if len(near) == NEIGHBOURS < len(view):
                seen = {row for _, row in near}
                further = self._behind(queries[window : window + 1], view, near)
                yield from ((window, score, row) for score, row in further if row not in seen)

    def _behind(self, query: Vectors, view: VectorView, near: Sequence[Near]) -> Iterator[Near]:
        """Rows that act, of sets that were not heard among the nearest ones."""
        heard = self._heard(near)
        if heard.total() >= NEIGHBOURS and near[-1][0] < DETAILED:
            return
        unheard = frozenset(group for group in self._acting if heard[group] < NEIGHBOURS)
        depth, seen = DEEPER * NEIGHBOURS, set[int]()
        while unheard:
            scores, rows = view.search(query, depth, self._among(unheard, len(view)))
            near = _above_the_floor(scores[0].tolist(), rows[0].tolist())
            yield from (one for one in near if one[1] not in seen)
            if len(near) < depth or near[-1][0] < DETAILED:
                return
            seen.update(row for _, row in near)
            heard = self._heard(near)
            further = frozenset(group for group in unheard if heard[group] < NEIGHBOURS)
            if further == unheard:
                depth *= DEEPER
            unheard = further

    def _heard(self, near: Sequence[Near]) -> Counter[Group]:
        """How many of some rows act, by group."""
        slots = (self._rows.slot(row) for _, row in near)
        groups = (self._slots.group(slot) for slot in slots if self._slots.acts(slot, self._generation))
        return Counter(group for group in groups if group in self._acting)

    def _visible(self, row: int) -> bool:
        return self._slots.visible(self._rows.slot(row), self._generation)

    def _among(self, groups: frozenset[Group], count: int) -> Among:
        """Which of the generation's rows act, of some groups."""
        known = self._known.get(groups)
        if known is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            slots = self._rows.slots(count)
            known = self._known[groups] = self._slots.acting(groups, self._generation)[slots]
        return known


def _above_the_floor(scores: Sequence[float], rows: Sequence[int]) -> list[Near]:
    return [(score, row) for score, row in zip(scores, rows, strict=True) if row >= 0 and score >= FLOOR]
