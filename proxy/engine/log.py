"""The engine's output: the last lines in memory, all of it in a file of bounded size, written off the event loop."""

import logging
import queue
from collections import deque
from logging.handlers import QueueListener, RotatingFileHandler
from pathlib import Path

KEPT_LINES = 400  # three processes of vLLM print a traceback each when one fails to start
MAX_FILE_BYTES = 10 * 1024**2
OLDER_FILES = 2


class EngineLog:
    """`append` never blocks; a thread writes the file. Use `start` and `close` once each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._queue: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._listener: QueueListener | None = None

    def start(self) -> None:
        """Begin to write. The file is opened by the writing thread, with the first line."""
        handler = RotatingFileHandler(
            self.path, maxBytes=MAX_FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8", delay=True
        )
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._listener = QueueListener(self._queue, handler)
        self._listener.start()

    def append(self, line: str) -> None:
        """Take one line without its end."""
        self._lines.append(line)
        # `makeLogRecord` and no arguments: a "%" in the line is text.
        self._queue.put(logging.makeLogRecord({"msg": line}))

    def tail(self, lines: int = KEPT_LINES) -> list[str]:
        """The last lines, oldest first."""
        return list(self._lines)[-lines:]

    def forget(self) -> None:
        """Drop the lines in memory: what comes now belongs to another process."""
        self._lines.clear()

    def close(self) -> None:
        """Write what is left and end the thread. Blocks for as long as a disk takes."""
        if self._listener is not None:
            self._listener.stop()
            for handler in self._listener.handlers:
                handler.close()
            self._listener = None
