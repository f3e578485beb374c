"""Why a calculation failed, in the user's words, from what custodian, VASP and its launcher left.

Custodian and the parsers tell which of their checks failed; here it becomes the cause, and whether
it lies outside (:class:`~ionsieve.errors.OutsideFailure`: done once more) or would come back.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from custodian.custodian import (
    CustodianError,
    MaxCorrectionsError,
    MaxCorrectionsPerHandlerError,
    MaxCorrectionsPerJobError,
    NonRecoverableError,
)
from monty.io import zopen
from monty.os.path import zpath
from pymatgen.io.vasp import Vasprun

from ionsieve.errors import IonSieveError, OutsideFailure, disk_is_full
from ionsieve.workflows.backends.tether import STATUS_NAME

#: Sent by schedulers, the kernel out of memory, and people; VASP's own faults raise others.
_FROM_OUTSIDE = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU}
)
#: As shells, srun and mpirun tell of a signal: 128 and its number.
_SIGNAL_CODES = 128
#: Of a shell, or our launcher: the command can't be executed, or isn't there.
_NOT_STARTED = (126, 127)
_GAVE_UP = (
    MaxCorrectionsError,
    MaxCorrectionsPerHandlerError,
    MaxCorrectionsPerJobError,
    NonRecoverableError,
)
_FULL = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
_NO_MEMORY = re.compile(r"out[ _-]of[ _-]memory|oom[ _-]kill", re.IGNORECASE)
_TAIL_BYTES = 1 << 16
#: Told of those that did not help.
_N_REPAIRS = 2
#: Custodian's name of a fault -> ours; the others are named as VASP prints them.
_FAULTS = {
    "Frozen job": "VASP wrote nothing for too long",
    "Non-converging job": "the electronic cycle does not converge",
    "POTIM": "the energy changes too much from one ionic step to the next",
    "Positive energy": "the energy is positive",
}


@contextmanager
def explained() -> Iterator[None]:
    """Translate the errors of a calculation that runs in the current folder.

    Raises
    ------
    OutsideFailure
        A signal that VASP didn't raise itself, a full disk, a command that could not be started.
    IonSieveError
        VASP crashed, its outputs are cut short, or it did not converge.
    """
    try:
        yield
    except IonSieveError:
        raise
    except Exception as error:
        reason = _explanation(error, Path.cwd())
        if reason is None:
            raise
        raise reason from error


def unconverged(folder: Path) -> IonSieveError:
    """Return the error of a calculation whose last document says that it did not converge."""
    return IonSieveError(f"{_what_diverges(folder)}{_tried(_corrections(folder))}; {_LOOK}")


_LOOK = "see OUTCAR there, and set other tags under backend.incar"


@dataclass(frozen=True)
class _End:
    """How the command ended, as its launcher noted it.

    Attributes
    ----------
    number
        Of the signal that ended it, directly or as an exit code of 128 and more; 0: none did.
    exit_code
        None if a signal ended it.
    told
        Whether the launcher passed that signal on: custodian stops VASP so.
    vanished
        Whether the launcher ended before it could note anything.
    """

    number: int = 0
    exit_code: int | None = None
    told: bool = False
    vanished: bool = False

    @classmethod
    def read(cls, folder: Path) -> _End | None:
        """Return what the launcher noted; None if it was not started."""
        try:
            with zopen(zpath(str(folder / STATUS_NAME)), "rt", encoding="utf-8") as file:
                noted = json.loads(str(file.read()))
        except (OSError, ValueError):
            return None
        code = noted.get("exit_code")
        number = int(noted.get("signal") or 0)
        if code is not None and code > _SIGNAL_CODES:
            number = code - _SIGNAL_CODES
        return cls(number, code, bool(noted.get("told")), vanished=not noted)

    @property
    def signal_name(self) -> str:
        """Name of the signal; empty if the number is none."""
        try:
            return signal.Signals(self.number).name
        except ValueError:
            return ""


def _explanation(error: Exception, folder: Path) -> IonSieveError | None:
    """Return the cause of an error; None where the error itself is the best answer."""
    printed = _tail(folder / "std_err.txt") + _tail(folder / "vasp.out")
    if _FULL.search(printed) or disk_is_full(error):
        return OutsideFailure("VASP, or custodian, met a full disk; make room")
    if isinstance(error, _GAVE_UP):
        return _after_repairs(folder)
    end = _End.read(folder)
    if end is not None and (found := _ended_badly(end, printed)) is not None:
        return found
    if isinstance(error, (CustodianError, ParseError)):
        return IonSieveError(
            "VASP ended by itself, but vasprun.xml or another output is cut short or missing; see "
            "vasp.out and std_err.txt there"
        )
    return None


def _ended_badly(end: _End, printed: str) -> IonSieveError | None:
    """Return what ended the command, if it did not end well."""
    name = end.signal_name
    if end.vanished:
        return OutsideFailure("VASP and its launcher were killed; see whether memory ran out")
    if end.number in _FROM_OUTSIDE and not end.told:
        memory = "memory ran out" if _NO_MEMORY.search(printed) else "did memory or time run out?"
        return OutsideFailure(f"VASP was killed by {name}; {memory}")
    if name and not end.told:
        return IonSieveError(f"VASP crashed with {name}; see vasp.out and std_err.txt there")
    if end.exit_code in _NOT_STARTED:
        return OutsideFailure(
            f"VASP could not be started (exit code {end.exit_code}); see std_err.txt there, and "
            "backend.vasp_cmd"
        )
    if end.exit_code:
        said = next((line for line in reversed(printed.splitlines()) if line.strip()), "nothing")
        return IonSieveError(
            f"VASP ended with exit code {end.exit_code}, the last it printed is '{said.strip()}'; "
            "see vasp.out and std_err.txt there"
        )
    return None


def _after_repairs(folder: Path) -> IonSieveError:
    """Return custodian's last error, and what it had tried."""
    corrections = _corrections(folder)
    names = list(corrections[-1].get("errors") or []) if corrections else []
    if "Unconverged" in names:
        return unconverged(folder)
    fault = ", ".join(_FAULTS.get(name, f"VASP's error '{name}'") for name in names)
    return IonSieveError(f"{fault or 'custodian gave up'}{_tried(corrections)}; {_LOOK}")


def _what_diverges(folder: Path) -> str:
    """Return which of the two cycles did not converge."""
    try:
        path = zpath(str(folder / "vasprun.xml"))
        run = Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
        electronic, ionic = run.converged_electronic, run.converged_ionic
        limits = {tag: run.parameters.get(tag) for tag in ("NELM", "NSW")}
    except Exception:  # a parser of files that may be anything
        return "VASP did not converge"
    if not electronic:
        return f"the electronic steps did not converge within NELM = {limits['NELM']}"
    if not ionic:
        return f"the ions did not relax within NSW = {limits['NSW']} steps"
    return "VASP did not converge"


def _corrections(folder: Path) -> list[Mapping[str, Any]]:
    """Return the repairs in custodian's log, in order."""
    try:
        with zopen(zpath(str(folder / "custodian.json")), "rt", encoding="utf-8") as file:
            return [c for run in json.loads(str(file.read())) for c in run["corrections"]]
    except (OSError, ValueError, KeyError):
        return []


def _tried(corrections: Sequence[Mapping[str, Any]]) -> str:
    """Return the repairs that did not help, the last ones by their tags."""
    repairs = [c["actions"] for c in corrections if c.get("actions")]
    if not repairs:
        return ""
    tags = dict.fromkeys(words for actions in repairs if (words := ", ".join(_tags(actions))))
    last = list(tags)[-_N_REPAIRS:]
    shown = ["...", *last] if len(tags) > len(last) else last
    number = "a repair" if len(repairs) == 1 else f"{len(repairs)} repairs"
    return f" after {number} by custodian" + (f" ({'; '.join(shown)})" if shown else "")


def _tags(actions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the INCAR tags that one repair changed; copied and deleted files go with them."""
    for action in actions:
        changes = action.get("action") or {}
        yield from (f"{tag} = {value}" for tag, value in (changes.get("_set") or {}).items())
        yield from (f"no {tag}" for tag in changes.get("_unset") or ())


def _tail(path: Path) -> str:
    """Return the end of what was printed."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
