"""Faults on demand, to see recovery at work.

The environment variable ``IONSIEVE_MOCK_VASP_FAULT``, or a file ``MOCK_VASP_FAULT`` in the run's
folder, holds one fault::

    KIND[:MESSAGE][@STEP][;first=N][;formula=FORMULA][;counter=FILE]

``crash``
    dies of a segmentation fault
``kill``
    kills itself with SIGKILL, as the kernel does when memory runs out
``exit``
    ends with exit code 3 without a word
``full``
    meets a full disk
``nan``
    the energies are no numbers from this step on
``hang``
    stops writing and waits for ever
``unconverged``
    the electronic cycle uses up NELM from this step on
``truncate``
    stops in the middle of vasprun.xml, with exit code 0
``error``
    prints a VASP error and exits with code 1; MESSAGE is one of ``eddrmm`` (the default),
    ``zpotrf``, ``brmix``, ``posmap``

``@STEP`` is the ionic step (1 by default). ``first=N`` limits the fault to the first N runs in
this folder, or, with ``counter``, to the first N runs of all that share that file. ``formula``
limits it to one composition.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ionsieve.workflows.backends.mock_vasp.inputs import VaspInputError

VARIABLE = "IONSIEVE_MOCK_VASP_FAULT"
FILE_NAME = "MOCK_VASP_FAULT"
_COUNTER_NAME = "mock_vasp_attempts"
_KINDS = (
    *("crash", "kill", "exit", "full", "hang"),
    *("unconverged", "nan", "truncate", "error"),
)
_MESSAGES = {
    "eddrmm": " WARNING in EDDRMM: call to ZHEGV failed, returncode =   8  4  1",
    "zpotrf": " LAPACK: Routine ZPOTRF failed!",
    "brmix": " BRMIX: very serious problems\n the old and the new charge density differ",
    "posmap": " POSMAP internal error: symmetry equivalent atom not found,",
}


class InjectedError(Exception):
    """A VASP error message to be printed before exit code 1."""


@dataclass(frozen=True)
class Fault:
    """One fault and when it strikes."""

    kind: str
    step: int = 1
    message: str = "eddrmm"

    def is_unconverged(self, step: int) -> bool:
        """Tell whether the electronic cycle fails in this step."""
        return self.kind == "unconverged" and step >= self.step

    def spoils_energy(self, step: int) -> bool:
        """Tell whether the energy of this step is no number."""
        return self.kind == "nan" and step >= self.step

    def strike(self, step: int, flush: Callable[[], None]) -> bool:
        """Strike if it is time; return True if the outputs are to be cut short here."""
        if step != self.step or self.kind in ("unconverged", "nan"):
            return False
        flush()
        if self.kind == "crash":
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "exit":
            os._exit(3)
        if self.kind == "full":
            # The device that has never room; not buffered, so that nothing is tried again later.
            os.write(os.open("/dev/full", os.O_WRONLY), b"frame")
        while self.kind == "hang":
            time.sleep(3600)
        if self.kind == "error":
            raise InjectedError(_MESSAGES[self.message])
        return self.kind == "truncate"


def _reduced(counts: Mapping[str, float]) -> dict[str, float]:
    total = sum(counts.values())
    return {s: round(n / total, 6) for s, n in counts.items()}


def _matches(formula: str, composition: Mapping[str, int]) -> bool:
    wanted: dict[str, float] = {}
    for symbol, number in re.findall(r"([A-Z][a-z]?)([\d.]*)", formula):
        wanted[symbol] = wanted.get(symbol, 0.0) + float(number or 1)
    return bool(wanted) and _reduced(wanted) == _reduced(composition)


def _count_attempt(path: Path) -> int:
    """Return which run this is of those sharing the file."""
    with path.open("a+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        attempt = int(stream.read() or 0) + 1
        stream.truncate(0)
        stream.write(str(attempt))
    return attempt


def _parse(text: str) -> tuple[Fault, dict[str, str]]:
    head, *options = text.strip().split(";")
    match = re.fullmatch(r"(\w+)(?::(\w+))?(?:@(\d+))?", head.strip())
    if match is None or match[1] not in _KINDS or (match[2] or "eddrmm") not in _MESSAGES:
        raise VaspInputError(
            f"ERROR: {VARIABLE} = {head!r} is no fault; kinds: {', '.join(_KINDS)}; "
            f"messages: {', '.join(_MESSAGES)}"
        )
    pairs = dict(option.strip().partition("=")[::2] for option in options)
    if unknown := set(pairs) - {"first", "formula", "counter"}:
        raise VaspInputError(f"ERROR: {VARIABLE}: unknown option {min(unknown)!r}")
    return Fault(match[1], int(match[3] or 1), match[2] or "eddrmm"), pairs


def read_fault(folder: Path, composition: Mapping[str, int]) -> Fault | None:
    """Return the fault that applies to this run, if any.

    Raises
    ------
    VaspInputError
        The fault can't be understood.
    """
    file = folder / FILE_NAME
    text = file.read_text() if file.exists() else os.environ.get(VARIABLE, "")
    if not text.strip():
        return None
    fault, options = _parse(text)
    if "formula" in options and not _matches(options["formula"], composition):
        return None
    if "first" in options:
        counter = Path(options.get("counter", folder / _COUNTER_NAME))
        if _count_attempt(counter) > int(options["first"]):
            return None
    return fault
