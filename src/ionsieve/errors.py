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
