"""Time the stand-in for VASP: start-up, molecular dynamics with files, relaxation.

``python benchmarks/mock_vasp.py`` runs the program in temporary folders on Na3SbS4 (2x2x2, 128
ions) and prints the best of three runs, in wall time and in CPU time.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pymatgen.core import Structure
from pymatgen.io.vasp import Poscar

import ionsieve.workflows
from ionsieve.workflows.backends.mock_vasp.backend import program_path

MOTHER = Path(ionsieve.workflows.__file__).parent / "data" / "mothers" / "Na3SbS4-cubic.cif"
N_STEPS = 3000
DYNAMICS = {
    "IBRION": 0,
    "MDALGO": 2,
    "SMASS": 0,
    "TEBEG": 600,
    "POTIM": 2,
    "RANDOM_SEED": "1 0 0",
    "NSW": N_STEPS,
}
CASES: dict[str, Mapping[str, object]] = {
    "static": {"NSW": 0},
    "relaxation": {"IBRION": 2, "ISIF": 3, "NSW": 99, "EDIFFG": -0.01},
    "dynamics, everything written": DYNAMICS,
    "dynamics, thinned (ML_OUTBLOCK = 150)": {**DYNAMICS, "ML_OUTBLOCK": 150},
    "dynamics, thinned, NBLOCK = 10": {**DYNAMICS, "ML_OUTBLOCK": 150, "NBLOCK": 10},
}


def timed(tags: Mapping[str, object], structure: Structure) -> tuple[float, float, float]:
    """Run once; return wall seconds, CPU seconds and the size of the outputs in MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        poscar = Poscar(structure)
        poscar.write_file(folder / "POSCAR")
        (folder / "POTCAR.spec").write_text("\n".join(poscar.site_symbols))
        (folder / "INCAR").write_text("\n".join(f"{k} = {v}" for k, v in tags.items()))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run([program_path()], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        size_mb = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    return wall, cpu, size_mb


def main() -> None:
    structure = Structure.from_file(MOTHER)
    structure.remove_oxidation_states()
    structure.make_supercell(2)
    structure.sort()
    timed(CASES["static"], structure)
    for name, tags in CASES.items():
        runs = [timed(tags, structure) for _ in range(3)]
        wall, cpu = min(run[0] for run in runs), min(run[1] for run in runs)
        rate = f", {N_STEPS / cpu:6.0f} steps per CPU second" if "POTIM" in tags else ""
        print(f"{name:40s} {wall:6.2f} s wall, {cpu:6.2f} s CPU, {runs[0][2]:6.1f} MB{rate}")


if __name__ == "__main__":
    main()
