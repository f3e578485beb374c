"""vasprun.xml laid out as VASP 6 writes it: its tags, force-field steps and cut symbols."""

import numpy as np
import pytest

from ionsieve.errors import InputError
from ionsieve.md_analysis import ReadOptions, read_trajectory

N_FRAMES = 40
TYPES = (("Na", 3, "PAW_PBE Na_pv 19Sep2006"), ("Zr", 2, "PAW_PBE Zr_sv 04Jan2005"))


def table(name, rows, indent="   "):
    lines = "\n".join(
        f"{indent} <v>" + "".join(f"{x:17.8f}" for x in row) + " </v>" for row in rows
    )
    return f'{indent}<varray name="{name}" >\n{lines}\n{indent}</varray>\n'


def structure(frame, name=""):
    cell = table("basis", 12 * np.eye(3), "    ")
    return (
        f' <structure{name}>\n  <crystal>\n{cell}    <i name="volume">   1728.00000000 </i>\n'
        f"  </crystal>\n{table('positions', frame)} </structure>\n"
    )


def tags(values):
    text = ""
    for name, value in values.items():
        kind = {int: ' type="int"', bool: ' type="logical"', float: ""}[type(value)]
        shown = f" {'T' if value else 'F'}  " if isinstance(value, bool) else f"  {value:14.8f}"
        shown = f"{value:6d}" if kind == ' type="int"' else shown
        text += f'  <i{kind} name="{name}">{shown}</i>\n'
    return text


def vasprun(path, symbols=("Na", "Zr"), potentials=None, dft_steps=None, end=True, **changed):
    rng = np.random.default_rng(0)
    steps = np.cumsum(rng.normal(0, 0.01, (N_FRAMES, 5, 3)), axis=0)
    frames = (rng.random((5, 3)) + steps) % 1
    told = {"IBRION": 0, "NSW": N_FRAMES, "POTIM": 2.0, "TEBEG": 600.0, "TEEND": 600.0} | changed
    told = {name: value for name, value in told.items() if value is not None}
    potentials = potentials or [potential for _, _, potential in TYPES]
    ions = "".join(
        f"    <rc><c>{symbol:2s}</c><c>{number:4d}</c></rc>\n" * count
        for number, (symbol, (_, count, _)) in enumerate(zip(symbols, TYPES, strict=True), 1)
    )
    kinds = "".join(
        f"    <rc><c>{count:4d}</c><c>{symbol:2s}</c><c>     22.98900000</c>"
        f"<c>      7.00000000</c><c>  {potential:38s}</c></rc>\n"
        for symbol, (_, count, _), potential in zip(symbols, TYPES, potentials, strict=True)
    )
    text = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
 </generator>
 <incar>
{tags(told)} </incar>
{structure(frames[0], ' name="primitive_cell" ')} <parameters>
  <separator name="ionic" >
{tags(told)}  </separator>
 </parameters>
 <atominfo>
  <atoms>       5 </atoms>
  <types>       2 </types>
  <array name="atoms" >
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
{ions}   </set>
  </array>
  <array name="atomtypes" >
   <set>
{kinds}   </set>
  </array>
 </atominfo>
{structure(frames[0], ' name="initialpos" ')}"""
    for number, frame in enumerate(frames):
        inside = structure(frame) + table("forces", frame)
        is_dft = dft_steps is None or number in dft_steps
        text += f" <calculation>\n{inside} </calculation>\n" if is_dft else inside
    last = structure(frame, ' name="finalpos" ') + "</modeling>\n"
    path.write_text(text + (last if end else ""))
    return path, frames


def refuse(path, *words, **options):
    with pytest.raises(InputError) as caught:
        read_trajectory(path, ReadOptions(**options))
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def moved(frames):
    steps = np.diff(frames, axis=0)
    return np.cumsum(steps - np.rint(steps), axis=0)


def test_a_run_is_read_with_its_step_and_temperature(tmp_path):
    path, frames = vasprun(tmp_path / "vasprun.xml")
    found = read_trajectory(path)
    assert found.species == ("Na",) * 3 + ("Zr",) * 2
    assert (found.timestep_fs, found.temperature_k, found.n_frames) == (2.0, 600.0, N_FRAMES)
    assert found.notes == ()
    expected = np.moveaxis(moved(frames), 0, 2)
    np.testing.assert_allclose(
        found.fractional[:, :, 1:] - found.fractional[:, :, :1], expected, atol=1e-6
    )
    refuse(path, "2 fs", "20 fs", timestep_fs=20.0)
    refuse(path, "POTIM = 2 fs", "1 fs", md_timestep_fs=1.0)
    refuse(path, "TEBEG = 600 K", "300 K", temperature_k=300.0)


def test_steps_of_a_force_field_are_frames_too(tmp_path):
    path, _ = vasprun(tmp_path / "vasprun.xml", ML_LMLFF=True, dft_steps=range(0, N_FRAMES, 5))
    found = read_trajectory(path)
    assert (found.n_frames, found.timestep_fs) == (N_FRAMES, 2.0)
    path, _ = vasprun(tmp_path / "vasprun.xml", ML_LMLFF=True, NSW=400)
    refuse(path, "40 structures", "NSW = 400", "XDATCAR")
    path, _ = vasprun(tmp_path / "vasprun.xml", ML_LMLFF=True, ML_OUTBLOCK=10)
    refuse(path, "ML_OUTBLOCK = 10", "XDATCAR")


@pytest.mark.parametrize("ibrion", [-1, 1, 2, 3, 5, 6])
def test_what_is_no_dynamics_is_refused_whatever_the_step(ibrion, tmp_path):
    path, _ = vasprun(tmp_path / "vasprun.xml", IBRION=ibrion)
    for step in (None, 2.0):
        refuse(path, f"IBRION = {ibrion}", timestep_fs=step)


def test_a_run_without_one_temperature_is_refused(tmp_path):
    path, _ = vasprun(tmp_path / "vasprun.xml", TEEND=900.0)
    refuse(path, "TEBEG = 600", "TEEND = 900")
    path, _ = vasprun(tmp_path / "vasprun.xml", TEBEG=1e-4, TEEND=1e-4)
    assert read_trajectory(path).temperature_k is None


@pytest.mark.parametrize(
    ("symbols", "potentials", "note"),
    [
        (("Na", "r "), None, "r is read as Zr"),
        (("Na", "r "), ["PAW_PBE Na 1Jan2000", "lost"], "r is read as Zr"),
    ],
)
def test_symbols_that_vasp_cut_are_mended_and_named(symbols, potentials, note, tmp_path):
    path, _ = vasprun(tmp_path / "vasprun.xml", symbols, potentials)
    found = read_trajectory(path)
    assert found.species == ("Na",) * 3 + ("Zr",) * 2
    assert note in found.notes[0]


def test_atoms_that_contradict_each_other_are_refused(tmp_path):
    path, _ = vasprun(tmp_path / "vasprun.xml", ("Na", "S "))
    refuse(path, "atoms S", "pseudopotential of Zr")
    path, _ = vasprun(tmp_path / "vasprun.xml", ("Na", "q "), ["lost", "lost"])
    refuse(path, "'q'", "no element")
    path, _ = vasprun(tmp_path / "vasprun.xml")
    path.write_text(path.read_text().replace("<atoms>       5", "<atoms>       6"))
    refuse(path, "tells 6 atoms", "names 5")
    text = vasprun(path)[0].read_text().replace("<atoms>       5 </atoms>", "")
    path.write_text(text.replace("    <rc><c>Na</c><c>   1</c></rc>\n", "", 1))
    refuse(path, "more positions than the 4 atoms")
