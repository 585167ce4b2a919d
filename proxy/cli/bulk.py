"""Sends many entries to a running server: some calls at a time, so that its embedder never waits for the next one."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from proxy.cli.admin_client import AdminClient
from proxy.cli.import_lines import Line, batches

IN_FLIGHT = 3  # one is embedded, one is committed and followed by the others, one waits
TIMEOUT_S = 900  # a batch of long passages is embedded for minutes on a slow machine


class Bulk:
    """One import into a set. What the set holds already is recognised by the server, by what it says, and left out."""

    def __init__(self, admin: AdminClient, set_id: str) -> None:
        self._admin = admin
        self._path = f"/admin/v1/sets/{quote(set_id, safe='')}/entries?duplicates=skip&wait=applied&timeout_s=60"
        self.added = 0
        self.duplicates: list[int] = []
        """Numbers of lines that say what the set, or a line before, says already."""
        self.generation = 0
        self.behind: set[str] = set()

    @property
    def done(self) -> int:
        """Lines that are in the set now."""
        return self.added + len(self.duplicates)

    def send(self, lines: Iterable[Line], told: Callable[[int], None]) -> None:
        """Sends all lines; `told` hears how many have been applied each time. Raises AdminError or BadLines.

        What was sent before an error, or before an interruption, may still be applied, each batch whole.
        """
        under_way: deque[tuple[Sequence[Line], Future[Any]]] = deque()
        with ThreadPoolExecutor(IN_FLIGHT, "import") as pool:
            try:
                for batch in batches(lines):
                    if len(under_way) == IN_FLIGHT:
                        self._take(under_way.popleft(), told)
                    under_way.append((batch, pool.submit(self._post, batch)))
                while under_way:
                    self._take(under_way.popleft(), told)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _take(self, sent: tuple[Sequence[Line], "Future[Any]"], told: Callable[[int], None]) -> None:
        batch, future = sent
        reply = future.result()
        left_out = reply["duplicates"]
        self.duplicates += [batch[place].number for place in left_out]
        self.added += len(batch) - len(left_out)
        self.generation = max(self.generation, int(reply["generation"]))
        self.behind = set(reply["behind"])
        told(len(batch))

    def _post(self, batch: Sequence[Line]) -> Any:
        return self._admin.attempt("POST", self._path, {"entries": [line.body for line in batch]}, timeout_s=TIMEOUT_S)
