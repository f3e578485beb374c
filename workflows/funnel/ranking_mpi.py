"""Rank one composition's arrangements as an MPI job: a program for every rank, and its launch."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ionsieve.errors import IonSieveError
from ionsieve.workflows.documents.raw import RankingDocument
from ionsieve.workflows.funnel.arrangements import RankingTask, ranking_document

_QUESTION, _ANSWER, _LOG = Path("task.json"), Path("ranking.json"), Path("ranking.log")


def rank_with_mpi(task: RankingTask) -> RankingDocument:
    """Rank in processes that the task's launcher starts in the current folder.

    Raises
    ------
    IonSieveError
        The launcher isn't there or the ranks failed; the log is in ``ranking.log``.
    """
    launcher = shlex.split(task.launcher)
    # The launcher of a virtual environment that isn't activated is beside its Python.
    found = shutil.which(launcher[0]) or shutil.which(launcher[0], path=Path(sys.executable).parent)
    if found is None:
        raise IonSieveError(
            f"compute.mpi_launcher: '{launcher[0]}' is not on the PATH; load its module, or set "
            "compute.resources.ranking.ranks to 1"
        )
    _QUESTION.write_text(task.model_dump_json(), encoding="utf-8")
    # mpi4py ends all ranks when one fails.
    program = [sys.executable, "-m", "mpi4py", "-m", __name__, str(_QUESTION), str(_ANSWER)]
    with _LOG.open("w", encoding="utf-8") as log:
        status = subprocess.run([found, *launcher[1:], *program], stdout=log, stderr=log).returncode
    if status or not _ANSWER.exists():
        raise IonSieveError(
            f"the MPI ranking ended with status {status}; see {_LOG.absolute()}: {_last_line(_LOG)}"
        )
    return RankingDocument.model_validate_json(_ANSWER.read_text(encoding="utf-8"))


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"


def main(question: str, answer: str) -> None:
    """Rank together with the other processes; the first writes the document."""
    # For start-up time: only the ranks need MPI and the kernels.
    from ionsieve.ewald.parallel import world

    comm = world()
    task = RankingTask.model_validate_json(Path(question).read_text(encoding="utf-8"))
    document = ranking_document(task, comm)
    if comm is None or comm.Get_rank() == 0:
        Path(answer).write_text(document.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
