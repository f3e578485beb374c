"""The program ``ionsieve-mock-vasp``: started in a folder with VASP's inputs, as VASP is."""

from __future__ import annotations

import sys
from pathlib import Path

_USAGE = """\
usage: ionsieve-mock-vasp [--help]

A stand-in for VASP with a classical pair potential. Start it without arguments in a folder that
holds POSCAR, INCAR, POTCAR or POTCAR.spec, and (optional) KPOINTS; it writes vasprun.xml, OUTCAR,
OSZICAR, CONTCAR, XDATCAR, WAVECAR and CHGCAR (both empty) there.

Obeyed: NSW, IBRION (-1, 0, 1, 2, 3, 5, 6), ISIF (0-8), EDIFF, EDIFFG, POTIM, NELM, PSTRESS, TEBEG,
TEEND, MDALGO (0-3), SMASS, ANDERSEN_PROB, LANGEVIN_GAMMA, LANGEVIN_GAMMA_L, PMASS, RANDOM_SEED,
NBLOCK, ML_OUTBLOCK (steps between full records in vasprun.xml and OUTCAR), LWAVE, LCHARG, and a
STOPCAR. All else is ignored.

Faults can be injected by IONSIEVE_MOCK_VASP_FAULT or a file MOCK_VASP_FAULT:
  KIND[:MESSAGE][@STEP][;first=N][;formula=FORMULA][;counter=FILE]
  with KIND one of crash, kill, exit, full, hang, unconverged, nan, truncate, error
  example: IONSIEVE_MOCK_VASP_FAULT="crash@5;first=1;formula=Na3PS4"

The energies are those of a crude ionic model: good for testing, not for science.
"""


def main() -> int:
    """Run in the current folder; return the exit code."""
    if len(sys.argv) > 1:
        is_help = sys.argv[1] in ("-h", "--help")
        print(_USAGE, file=sys.stdout if is_help else sys.stderr)
        return 0 if is_help else 2
    # Numba looks for SciPy's BLAS when it loads; nothing here needs it, and its import takes longer
    # than a relaxation.
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]
    from ionsieve.workflows.backends.mock_vasp.faults import InjectedError
    from ionsieve.workflows.backends.mock_vasp.inputs import VaspInputError
    from ionsieve.workflows.backends.mock_vasp.run import run

    try:
        run(Path.cwd())
    except (VaspInputError, InjectedError) as error:
        print(f" {error}\n", flush=True)
        print(" ----> I REFUSE TO CONTINUE WITH THIS SICK JOB ... BYE!!! <----", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
