"""What is logged goes out a line at a time: the workers of one server share one standard error."""

import json
import logging
import sys
from io import StringIO

import pytest
import structlog

from proxy.logs import configure


class Written(StringIO):
    """Keeps each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    before, handlers = structlog.get_config(), logging.getLogger().handlers
    err = Written()
    monkeypatch.setattr(sys, "stderr", err)
    try:
        configure("info")
        log = structlog.get_logger("lethe.test")
        log.info("first", number=1)
        log.warning("second")
    finally:
        logging.getLogger().handlers = handlers
        structlog.configure(**before)
    assert [json.loads(piece)["event"] for piece in err.pieces] == ["first", "second"]
    assert all(piece.endswith("}\n") for piece in err.pieces)
