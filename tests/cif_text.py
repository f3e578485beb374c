"""CIF text for tests, from a few facts."""

from __future__ import annotations

from collections.abc import Sequence

NACL = ("Na1 Na+ 0 0 0 1", "Cl1 Cl- 0.5 0.5 0.5 1")
LOOP = """loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


def cif(
    atoms: Sequence[str] = NACL,
    cell: Sequence[float] = (5.64, 5.64, 5.64, 90, 90, 90),
    symmetry: str = "_space_group_name_H-M_alt 'F m -3 m'",
    more: str = "",
    block: str = "x",
    loop: str = LOOP,
) -> str:
    """Return one data block."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"data_{block}"]
    lines += [f"_cell_{name} {value}" for name, value in zip(names, cell, strict=True)]
    return "\n".join([*lines, symmetry, more, loop + "\n".join(atoms)]) + "\n"
