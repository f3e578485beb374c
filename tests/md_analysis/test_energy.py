"""The energy's drift and phonons in the check of the time step, with known answers."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from click.testing import CliRunner

from ionsieve.errors import InputError
from ionsieve.md_analysis import Trajectory, analyze, read_trajectory
from ionsieve.md_analysis.conserved_energy import EnergyDrift, energy_drift
from ionsieve.md_analysis.oszicar import read_energy_drift, vasprun_drift
from ionsieve.md_analysis.read_options import ReadOptions
from ionsieve.md_analysis.vibrations import check_timestep, read_phonon_frequencies
from ionsieve.workflows.cli import cli


def energies(drift_mev_atom_ps, n_steps=5000, step_fs=2.0, n_ions=100, seed=0, bath=True):
    """Energies of a thermostatted run: total with an oscillation and noise, kinetic, the bath's."""
    rng = np.random.default_rng(seed)
    time_ps = np.arange(n_steps) * step_fs / 1e3
    total = -400 + drift_mev_atom_ps * 1e-3 * n_ions * time_ps
    total += 0.02 * np.sin(40 * time_ps) + rng.normal(0, 0.01, n_steps)
    kinetic = 10 + np.cumsum(rng.normal(0, 0.1, n_steps)) * 0.1 + rng.normal(0, 0.5, n_steps)
    potential = -3 + np.sin(5 * time_ps) if bath else np.zeros(n_steps)
    return np.array([total, kinetic, potential, 0.1 * potential**2])


@pytest.mark.parametrize("true", [0.0, 0.05, 3.0, -3.0])
def test_known_slopes_lie_within_their_errors(true):
    found = [energy_drift(energies(true, seed=seed), 2.0, 100) for seed in range(40)]
    errors = np.array([(drift.mev_atom_ps - true) / drift.standard_error for drift in found])
    assert found[0].length_ps == pytest.approx(10)
    assert np.abs(errors).mean() < 1.5  # Student's t with eight degrees of freedom: 0.88
    assert true == 0 or all(drift.certain > 0 for drift in found)
    assert max(drift.standard_error for drift in found) < 0.01


def test_an_energy_that_is_not_conserved_has_no_drift():
    """Langevin dynamics: the total energy follows the kinetic one, and there is no bath."""
    total, kinetic, *none = energies(3.0, bath=False)
    assert energy_drift(np.array([total, kinetic, *none]), 2.0, 100) is not None
    assert energy_drift(np.array([total + kinetic, kinetic, *none]), 2.0, 100) is None
    # With the thermostat's energies the sum is conserved by right, however badly it is kept.
    assert energy_drift(np.array([total + kinetic, *energies(3.0)[1:]]), 2.0, 100) is not None


def test_a_short_run_has_no_drift():
    assert energy_drift(energies(3.0, n_steps=150), 2.0, 100) is None


def test_segments_count_by_their_length_and_jumps_between_them_do_not():
    first = EnergyDrift(1.0, 0.3, 10.0)
    second = EnergyDrift(4.0, 0.6, 20.0)
    mean = EnergyDrift.mean([first, second])
    assert mean.mev_atom_ps == pytest.approx(3.0)
    assert mean.standard_error == pytest.approx(np.hypot(0.1, 0.4))
    assert mean.length_ps == 30
    assert EnergyDrift.mean([first, None]) is None
    assert EnergyDrift(-3.0, 1.0, 5.0).certain == 1.0
    assert EnergyDrift(0.5, 1.0, 5.0).certain == 0.0


def oszicar(rows):
    return "".join(
        "   N       E                     dE             d eps       ncg     rms          rms(c)\n"
        "RMM:   1    -0.1E+03   -0.1E+03\n"
        f"{n:7d} T=   300. E= {e:.8E} F= -.12E+03 E0= -.12E+03  EK= {k:.5E} SP= {p:.2E} "
        f"SK= {m:.2E}\n"
        for n, (e, k, p, m) in enumerate(rows.T, 1)
    )


def vasprun(rows):
    steps = "".join(
        "<calculation><scstep><energy><i name='e_fr_energy'> -9.0 </i></energy></scstep><energy>"
        f'<i name="e_fr_energy">   -100.0 </i><i name="kinetic">   {k:.8f} </i>'
        f'<i name="lattice kinetic"> 0.0 </i>\n<i name="nosepot">  {p:.8f} </i>'
        f'<i name="nosekinetic">  {m:.8f} </i>\n<i name="total">  {e:.8f} </i></energy>'
        "</calculation>\n"
        for e, k, p, m in rows.T
    )
    return f"<modeling>\n{steps}</modeling>\n"


def static_run(n_frames, frame_fs, n_ions=100, **more):
    rng = np.random.default_rng(0)
    positions = rng.random((1, n_ions, 3)) * 20 + rng.normal(0, 0.01, (n_frames, n_ions, 3))
    return Trajectory.from_arrays(positions, 20 * np.eye(3), ["Na"] * n_ions, frame_fs, **more)


def test_both_files_of_vasp_tell_the_same(tmp_path):
    rows = energies(2.0, n_steps=600)
    known = energy_drift(rows, 2.0, 100)
    path = tmp_path / "OSZICAR.gz"
    path.write_bytes(gzip.compress(oszicar(rows).encode()))
    # Five steps per frame: 120 frames.
    for found in (
        read_energy_drift(path, static_run(120, 10.0)),
        vasprun_drift(vasprun(rows).encode(), 2.0, 100),
    ):
        assert found.mev_atom_ps == pytest.approx(known.mev_atom_ps, rel=1e-3)
        assert found.length_ps == pytest.approx(1.2)
    assert read_energy_drift(path, static_run(130, 10.0)) is None  # of another run
    with pytest.raises(InputError, match="cannot read"):
        read_energy_drift(tmp_path / "nothing", static_run(120, 10.0))


def test_the_drift_survives_storing_and_joining():
    run = replace(static_run(100, 2.0)[:50], energy_drift=EnergyDrift(2.0, 0.1, 0.1))
    assert Trajectory.from_bytes(run.to_bytes()).energy_drift == run.energy_drift
    assert run.skip(10).energy_drift == run.energy_drift
    assert Trajectory.from_bytes(static_run(50, 2.0).to_bytes()).energy_drift is None
    rest = replace(static_run(100, 2.0)[50:], energy_drift=EnergyDrift(4.0, 0.1, 0.1))
    assert Trajectory.join([run, rest]).energy_drift.mev_atom_ps == pytest.approx(3.0)


@pytest.fixture(scope="module")
def hopping():
    known = synthetic.hopping(synthetic.Run(1, 30, 10, length_ps=40, timestep_fs=20.0), 0.3)
    return Trajectory.from_arrays(
        known.positions, known.cell, known.species, known.timestep_fs, md_timestep_fs=10.0
    )


@pytest.mark.parametrize(
    ("drift", "verdict", "warned"),
    [
        (EnergyDrift(40.0, 1.0, 40.0), "timestep_too_long", True),
        (EnergyDrift(-40.0, 1.0, 40.0), "timestep_too_long", True),
        (EnergyDrift(40.0, 20.0, 40.0), "diffusing", False),  # may be noise
        (EnergyDrift(8.0, 0.5, 40.0), "diffusing", True),
        (EnergyDrift(0.1, 0.01, 40.0), "diffusing", False),
        (None, "diffusing", False),
    ],
)
def test_a_drifting_energy_is_warned_of_and_refused(hopping, drift, verdict, warned):
    result = analyze(replace(hopping, energy_drift=drift), "Na", 600.0)
    assert result.verdict == verdict
    assert any("meV per atom and ps" in reason for reason in result.reasons) is warned
    check = result.timestep_check
    assert (check.energy_drift if check else None) == drift
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("phonon_thz", "refused"),
    # 420 and 1020 1/cm: thiophosphate and oxoanion.
    [(12.6, False), (30.6, True)],
)
def test_phonons_are_checked_where_frames_are_too_rare_for_the_spectrum(
    hopping, phonon_thz, refused
):
    check = check_timestep(hopping, 600.0, phonon_thz)
    assert (check.species, check.written_every_step) == ("", True)
    assert check.fastest_per_cm == pytest.approx(33.356 * phonon_thz, rel=1e-4)
    result = analyze(hopping, "Na", 600.0, fastest_phonon_thz=phonon_thz)
    assert (result.verdict == "timestep_too_long") is refused
    assert any("from the phonons" in reason for reason in result.reasons)


def test_phonons_say_nothing_about_an_unknown_step(hopping):
    unknown = replace(hopping, md_timestep_fs=None)
    assert check_timestep(unknown, 600.0, 30.6) == check_timestep(unknown, 600.0)


PHONOPY = """\
nqpoint: 1
phonon:
- q-position: [    0.0000000,    0.0000000,    0.0000000 ]
  distance:    0.0000000
  band:
  - # 1
    frequency:   -0.0312000000
  - # 2
    frequency:   12.5500000000
"""


def test_frequencies_are_read_from_phonopy_and_from_lists(tmp_path):
    path = tmp_path / "band.yaml"
    path.write_text(PHONOPY)
    assert read_phonon_frequencies(path).tolist() == [-0.0312, 12.55]
    path.write_text("1.5\n17.25 3\n")
    assert read_phonon_frequencies(path).max() == 17.25
    for wrong in ("", "natom: 8\n"):
        path.write_text(wrong)
        with pytest.raises(InputError, match="no phonon frequencies"):
            read_phonon_frequencies(path)


def test_command_finds_energies_and_takes_phonons(tmp_path):
    known = synthetic.hopping(synthetic.Run(1, 20, 10, length_ps=10, timestep_fs=10.0), 0.3)
    fractional = known.positions @ np.linalg.inv(known.cell) % 1
    lines = ["test", "1.0", *(" ".join(map(str, row)) for row in known.cell), "Na S", "20 10"]
    for number, frame in enumerate(fractional, 1):
        lines.append(f"Direct configuration= {number:5d}")
        lines += [" ".join(f"{x:.8f}" for x in row) for row in frame]
    path = tmp_path / "XDATCAR"
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "OSZICAR").write_text(oszicar(energies(60.0, len(fractional), 10.0, n_ions=30)))
    drift = read_trajectory(path, ReadOptions(timestep_fs=10.0)).energy_drift
    assert drift.mev_atom_ps == pytest.approx(60, abs=1)
    command = ["diffusion", str(path), "--species", "Na", "--temperature", "600"]
    command += ["--timestep-fs", "10"]
    done = CliRunner().invoke(cli, [*command, "--json"])
    found = json.loads(done.stdout)
    assert found["verdict"] == "timestep_too_long"
    assert found["timestep_check"]["energy_drift"]["mev_atom_ps"] == pytest.approx(60, abs=1)
    (tmp_path / "OSZICAR").unlink()
    phonons = tmp_path / "mesh.yaml"
    phonons.write_text(PHONOPY.replace("12.55", "30.60"))
    command += ["--md-timestep-fs", "10", "--phonons", str(phonons)]
    done = CliRunner().invoke(cli, command)
    assert "timestep_too_long" in done.output
    assert "1021 1/cm vibration from the phonons" in done.output
