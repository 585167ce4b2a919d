"""Structured logs on standard error: ids, scores and causes, never prompt or forget text."""

import logging
import sys

import structlog


def raised_at(error: BaseException) -> str:
    """File and line where an error was raised: what may be logged of one whose message may hold anything."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"


def unquoted(record: logging.LogRecord) -> bool:
    """Logs a record of a library by its wording and what was raised; False: nobody else is to have it.

    Its arguments, the message of its error and what follows a line end quote what a client sent.
    """
    error = record.exc_info[1] if record.exc_info else None
    raised = {"fault": type(error).__name__, "at": raised_at(error)} if error else {}
    said = str(record.msg).partition("\n")[0]
    structlog.get_logger(record.name).log(record.levelno, "library", said=said, **raised)
    return False


def of_libraries() -> logging.Logger:
    """The logger for those who quote in their records, such as the HTTP server what it could not parse."""
    logger = logging.getLogger("lethe.libraries")
    if unquoted not in logger.filters:
        logger.addFilter(unquoted)
    return logger


def configure(level: str) -> None:
    """Plain lines on a terminal, JSON elsewhere; what libraries log, too."""
    others = logging.StreamHandler()
    others.setLevel(logging.WARNING)
    others.addFilter(unquoted)
    logging.getLogger().handlers = [others]
    human = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(colors=human) if human else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # A line at a time: several workers share standard error, and `print` writes the line's end by itself.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
