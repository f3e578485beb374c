"""The errors IonSieve raises on purpose.

Each message is one line that names the value, the limit and the remedy; the command line prints it
without a traceback.
"""


class IonSieveError(Exception):
    """Something went wrong that the user can act on (exit code 1)."""

    exit_code = 1


class InputError(IonSieveError):
    """The input is bad and nothing was started (exit code 2)."""

    exit_code = 2


def one_line(text: str) -> str:
    r"""Return a text as one line that is safe to print on a terminal.

    Line breaks become spaces; other control characters, which could move the cursor or hide what
    follows, are written out (``\x1b``).
    """
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
