"""vasprun.xml, in the form VASP 6 writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ionsieve.workflows.backends.mock_vasp.elements import element
from ionsieve.workflows.backends.mock_vasp.inputs import Crystal, Kpoints, Tag

Array = NDArray[np.float64]

VERSION = "6.4.3"
#: A made-up band gap (eV) between bands at -1 and 2 eV, for ionic crystals; metals have none.
_VALENCE_EV, _CONDUCTION_EV = -1.0, 2.0
#: pymatgen wants states below the Fermi level in a metal too.
_METAL_EV = 1e-3
#: Tags that are lists even for a single ion.
_PER_ION = frozenset({"MAGMOM"})


@dataclass(frozen=True)
class Energies:
    """The energies of one step, eV; the extra ones are those of molecular dynamics."""

    potential_ev: float
    kinetic_ev: float | None = None
    total_ev: float | None = None


def rows(name: str, values: NDArray[np.floating], indent: str = "  ") -> str:
    """Return a varray element of an (n, 3) array."""
    line = f"{indent} <v> %.16g %.16g %.16g </v>\n"
    body = (line * len(values)) % tuple(np.asarray(values, dtype=float).ravel())
    return f'{indent}<varray name="{name}" >\n{body}{indent}</varray>\n'


def _number(name: str, value: Tag) -> str:
    if isinstance(value, bool):
        return f'  <i type="logical" name="{name}"> {"T" if value else "F"} </i>\n'
    if isinstance(value, int):
        return f'  <i type="int" name="{name}"> {value} </i>\n'
    if isinstance(value, float):
        return f'  <i name="{name}"> {value:.12g} </i>\n'
    return f'  <i type="string" name="{name}">{escape(str(value))}</i>\n'


def _tag(name: str, value: Tag) -> str:
    if name in _PER_ION and not isinstance(value, list):
        value = [value]
    if not isinstance(value, list):
        return _number(name, value)
    if value and isinstance(value[0], bool):
        words, kind = ["T" if v else "F" for v in value], ' type="logical"'
    elif all(isinstance(v, int) for v in value):
        words, kind = [str(v) for v in value], ' type="int"'
    else:
        words, kind = [f"{v:.10g}" for v in value], ""
    return f'  <v{kind} name="{name}"> {" ".join(words)} </v>\n'


def _section(name: str, tags: Mapping[str, Tag]) -> str:
    return f" <{name}>\n{''.join(_tag(k, v) for k, v in tags.items())} </{name}>\n"


def _kpoints(kpoints: Kpoints) -> str:
    grids = [(np.arange(n) + s) / n for n, s in zip(kpoints.divisions, kpoints.shift, strict=True)]
    mesh = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, 3)
    weight = 1 / len(mesh)
    weights = "".join(f"   <v> {weight:.10f} </v>\n" for _ in mesh)
    return (
        f' <kpoints>\n  <generation param="{kpoints.style}">\n'
        f'   <v type="int" name="divisions"> {" ".join(map(str, kpoints.divisions))} </v>\n'
        f'   <v name="usershift"> {" ".join(map(str, kpoints.shift))} </v>\n'
        f"  </generation>\n{rows('kpointlist', mesh)}"
        f'  <varray name="weights" >\n{weights}  </varray>\n </kpoints>\n'
    )


def _atominfo(crystal: Crystal, potentials: list[str]) -> str:
    kinds = [k for k, n in enumerate(crystal.counts) for _ in range(n)]
    atoms = "".join(
        f"    <rc><c>{s:2s}</c><c>{k + 1:4d}</c></rc>\n"
        for s, k in zip(crystal.symbols, kinds, strict=True)
    )
    types = "".join(
        f"    <rc><c>{n:4d}</c><c>{s:2s}</c><c>{element(s).mass_amu:.4f}</c><c>1.0</c>"
        f"<c>  PAW_PBE {p} mock            </c></rc>\n"
        for n, s, p in zip(crystal.counts, crystal.species, potentials, strict=True)
    )
    return (
        f" <atominfo>\n  <atoms> {crystal.n_ions} </atoms>\n  <types> {len(crystal.counts)} "
        '</types>\n  <array name="atoms" >\n   <dimension dim="1">ion</dimension>\n'
        '   <field type="string">element</field>\n   <field type="int">atomtype</field>\n'
        f'   <set>\n{atoms}   </set>\n  </array>\n  <array name="atomtypes" >\n'
        '   <dimension dim="1">type</dimension>\n   <field type="int">atomspertype</field>\n'
        '   <field type="string">element</field>\n   <field>mass</field>\n'
        '   <field>valence</field>\n   <field type="string">pseudopotential</field>\n'
        f"   <set>\n{types}   </set>\n  </array>\n </atominfo>\n"
    )


def _structure(fractional: Array, cell: Array, name: str = "", selective: str = "") -> str:
    volume = abs(np.linalg.det(cell))
    attribute = f' name="{name}"' if name else ""
    reciprocal = np.linalg.inv(cell).T
    return (
        f" <structure{attribute} >\n  <crystal>\n{rows('basis', cell, '   ')}"
        f'   <i name="volume"> {volume:.8f} </i>\n{rows("rec_basis", reciprocal, "   ")}'
        f"  </crystal>\n{rows('positions', fractional)}{selective} </structure>\n"
    )


def _selective(crystal: Crystal) -> str:
    if not crystal.is_selective:
        return ""
    flags = "".join(
        f'   <v type="logical"> {" ".join("T" if f else "F" for f in row)} </v>\n'
        for row in crystal.movable
    )
    return f'  <varray type="logical" name="selective" >\n{flags}  </varray>\n'


def _energy(energies: Energies) -> str:
    value = f"{energies.potential_ev:.10f}"
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    lines = [f'   <i name="{name}"> {value} </i>\n' for name in names]
    if energies.kinetic_ev is not None:
        lines.append(f'   <i name="kinetic"> {energies.kinetic_ev:.8f} </i>\n')
        lines.append(f'   <i name="total"> {energies.total_ev:.8f} </i>\n')
    return f"  <energy>\n{''.join(lines)}  </energy>\n"


def _eigenvalues(kpoints: Kpoints, n_bands: int, is_metal: bool) -> str:
    """Bands without dispersion; those of a metal meet at the Fermi level."""
    n_filled = n_bands // 2
    gap = (-_METAL_EV, _METAL_EV) if is_metal else (_VALENCE_EV, _CONDUCTION_EV)
    bands = [(gap[0], 1.0)] * n_filled + [(gap[1], 0.0)] * (n_bands - n_filled)
    lines = "".join(f"      <r> {e:9.4f} {f:9.4f} </r>\n" for e, f in bands)
    sets = "".join(
        f'     <set comment="kpoint {k + 1}">\n{lines}     </set>\n'
        for k in range(int(np.prod(kpoints.divisions)))
    )
    return (
        '  <eigenvalues>\n   <array>\n    <dimension dim="1">band</dimension>\n'
        '    <dimension dim="2">kpoint</dimension>\n    <dimension dim="3">spin</dimension>\n'
        "    <field>eigene</field>\n    <field>occ</field>\n    <set>\n"
        f'    <set comment="spin 1">\n{sets}    </set>\n    </set>\n   </array>\n  </eigenvalues>\n'
    )


def _density_of_states() -> str:
    return (
        '  <dos>\n   <i name="efermi"> 0.0 </i>\n   <total><array>\n'
        '    <dimension dim="1">gridpoints</dimension>\n    <dimension dim="2">spin</dimension>\n'
        "    <field>energy</field><field>total</field><field>integrated</field>\n"
        '    <set><set comment="spin 1">\n     <r> -10.0 0.0 0.0 </r>\n     <r> 10.0 0.0 0.0 </r>\n'
        "    </set></set>\n   </array></total>\n  </dos>\n"
    )


class VasprunWriter:
    """Writes vasprun.xml piece by piece; a killed run leaves an unfinished file, as VASP does."""

    def __init__(self, stream: TextIO, crystal: Crystal, kpoints: Kpoints) -> None:
        self._stream, self._crystal, self._kpoints = stream, crystal, kpoints

    def start(
        self, incar: Mapping[str, Tag], parameters: Mapping[str, Tag], potentials: list[str]
    ) -> None:
        """Write everything that precedes the first step."""
        crystal = self._crystal
        self._stream.write(
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n'
            '  <i name="program" type="string">vasp </i>\n'
            f'  <i name="version" type="string">{VERSION}  </i>\n'
            '  <i name="subversion" type="string">ionsieve-mock-vasp </i>\n </generator>\n'
            + _section("incar", incar)
            + _kpoints(self._kpoints)
            + _section("parameters", parameters)
            + _atominfo(crystal, potentials)
            + _structure(crystal.fractional, crystal.cell, "initialpos", _selective(crystal))
        )

    def step(
        self,
        fractional: Array,
        cell: Array,
        forces: Array,
        stress_kbar: Array,
        energies: Energies,
        n_electronic: int = 1,
        extra: Iterable[str] = (),
    ) -> None:
        """Write one ionic step in full."""
        electronic = f" <scstep>\n{_energy(Energies(energies.potential_ev))} </scstep>\n"
        self._stream.write(
            " <calculation>\n"
            + electronic * n_electronic
            + _structure(fractional, cell)
            + rows("forces", forces)
            + rows("stress", stress_kbar)
            + _energy(energies)
            + "".join(extra)
            + " </calculation>\n"
        )

    def short_step(self, energies: Energies) -> None:
        """Write one ionic step with its energy only."""
        self._stream.write(f" <calculation>\n{_energy(energies)} </calculation>\n")

    def bands(self, n_bands: int, is_metal: bool) -> str:
        """Return the elements with bands and Fermi level, part of the last step."""
        return _eigenvalues(self._kpoints, n_bands, is_metal) + _density_of_states()

    def finish(self, fractional: Array, cell: Array) -> None:
        """Write the final structure and close the document."""
        self._stream.write(_structure(fractional, cell, "finalpos") + "</modeling>\n")
