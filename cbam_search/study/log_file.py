"""The log of a study, `study.log`: what Ray, Optuna and warnings say while it is driven, and which workers died."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cbam_search.errors import RecordsError
from cbam_search.records.folder import StudyFolder
from cbam_search.safe_text import presentable, reason

LOGGERS = ("ray", "ray.tune", "optuna", "py.warnings", "cbam_search.running")


@contextmanager
def messages_kept(folder: StudyFolder, *, verbose: bool) -> Iterator[None]:
    """Keep what LOGGERS say in the study's own file, in place of the terminal; with `verbose`, show it too.

    Raises RecordsError where the file cannot be written.
    """
    handler = _log_file(folder)
    handler.setFormatter(_Presentable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, list(logger.handlers), logger.propagate) for logger in loggers]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.handlers = [*logger.handlers, handler] if verbose else [handler]
        logger.propagate = verbose
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()


class _Presentable(logging.Formatter):
    """Writes neither secrets nor control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return presentable(super().format(record))


class _SteadyFile(logging.FileHandler):
    """A log that a full disk cuts short: the study's records say that the disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _log_file(folder: StudyFolder) -> logging.Handler:
    try:
        return _SteadyFile(folder.log, encoding="utf-8")
    except OSError as error:
        raise RecordsError(f"the study's log cannot be written: {reason(error)}") from error
