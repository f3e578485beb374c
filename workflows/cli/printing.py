"""Text and tables on a terminal. Names and error texts are printed as they are.

rich takes ``[/scratch]`` for markup: it raises, or drops it. Here no string is markup; what has a
colour is written with `marked`.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text


class _PlainConsole(Console):
    """A console that shows strings as they are, without control characters."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Return a string as text."""
        return super().render_str(_printable(text), **how)


def console(stderr: bool = False) -> Console:
    """Return where to print: no string printed there is taken for markup or emoji."""
    return _PlainConsole(stderr=stderr, markup=False, emoji=False, highlight=False)


def marked(*parts: str | tuple[str, str]) -> Text:
    """Return a line of strings, and of pairs of a string and its style such as ``red``."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((_printable(text), style) for text, style in pairs))


def _printable(text: str) -> str:
    """Return a text whose control characters, but line breaks, are written out."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )
