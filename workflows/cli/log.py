"""What the packages log, as lines on stderr."""

from __future__ import annotations

import logging

import click

from ionsieve.errors import one_line


class _Lines(logging.Handler):
    """Print each message once, on one line."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        line = one_line(f"{record.levelname.lower()}: {record.getMessage()}")
        if line not in self._seen:
            self._seen.add(line)
            click.echo(line, err=True)


def show_log(verbose: int, quiet: bool) -> None:
    """Show warnings; with ``verbose`` 1 what is done, with 2 details too; errors only if quiet."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logger = logging.getLogger("ionsieve")
    logger.setLevel(logging.ERROR if quiet else level)
    for handler in [h for h in logger.handlers if isinstance(h, _Lines)]:
        logger.removeHandler(handler)
    logger.addHandler(_Lines())
