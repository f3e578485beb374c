"""A stand-in for VASP: the same files in and out, energies from a fast classical potential.

The program ``ionsieve-mock-vasp`` (:mod:`.main`) reads POSCAR, INCAR, KPOINTS and POTCAR.spec (or
POTCAR) and writes what VASP writes, so that atomate2, custodian and the parsers run unmodified.
It imports numpy and numba only: it is started hundreds of times.

Its numbers are those of a crude ionic model (see :mod:`.potential`), good for testing a screening
from end to end and for nothing else.
"""
