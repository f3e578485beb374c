"""The ``diffusion`` command: results, JSON, and one clear line for bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest
import synthetic
from click.testing import CliRunner

from ionsieve.errors import InputError
from ionsieve.workflows.cli import cli


def save(path, known, **more):
    np.savez(
        path,
        positions=known.positions,
        cell=known.cell,
        species=known.species,
        timestep_fs=known.timestep_fs,
        **more,
    )
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Hopping runs at three temperatures with E_a = 0.2 eV."""
    folder = tmp_path_factory.mktemp("runs")
    for number, temperature in enumerate((600, 750, 900)):
        d = 0.2 * np.exp(-0.2 / 8.617e-5 * (1 / temperature - 1 / 900))
        run = synthetic.Run(number, 50, 10, length_ps=60, timestep_fs=25.0)
        save(folder / f"{temperature}.npz", synthetic.hopping(run, d))
    return folder


def run(*arguments):
    return CliRunner().invoke(cli, ["diffusion", *map(str, arguments)], catch_exceptions=True)


def test_json_of_one_trajectory_has_the_contract_fields(folder):
    done = run(folder / "900.npz", "--species", "Na", "--temperature", 900, "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["verdict"] == "diffusing"
    low, high = data["diffusivity_ci95_cm2_s"]
    assert low < data["diffusivity_cm2_s"] < high
    assert np.shape(data["diffusivity_tensor_cm2_s"]) == (3, 3)
    for key in ("sigma_ne_s_cm", "sigma_collective_s_cm", "haven_ratio"):
        assert data[key] > 0
    assert data["reasons"]
    assert data["trajectories"][0]["verdict"] == data["verdict"]


def test_several_temperatures_give_an_arrhenius_fit_and_figures(folder, tmp_path):
    files = [folder / f"{t}.npz" for t in (600, 750, 900)]
    options = [word for t in (600, 750, 900) for word in ("--temperature", t)]
    done = run(*files, "--species", "Na", *options, "--json", "--plots", tmp_path)
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    low, high = data["activation_energy_ci95_ev"]
    assert low < 0.2 < high
    assert data["sigma_300k_is_extrapolated"] is True
    assert len(list(tmp_path.glob("*.png"))) == 10
    plain = run(*files, "--species", "Na", *options)
    assert "activation energy" in plain.output
    assert "extrapolated" in plain.output


def test_segments_are_joined(folder, tmp_path):
    with np.load(folder / "900.npz") as whole:
        parts = [whole["positions"][:1000], whole["positions"][999:]]
        rest = {k: whole[k] for k in ("cell", "species", "timestep_fs")}
    files = []
    for number, part in enumerate(parts):
        files.append(tmp_path / f"{number}.npz")
        np.savez(files[-1], positions=part, **rest)
    common = ("--species", "Na", "--temperature", 900, "--json")
    joined = json.loads(run(*files, "--join", *common).stdout)
    one = json.loads(run(folder / "900.npz", *common).stdout)
    assert joined["n_frames"] == one["n_frames"]
    assert joined["diffusivity_cm2_s"] == pytest.approx(one["diffusivity_cm2_s"], rel=1e-6)


def test_two_mobile_species_have_their_own_results(folder):
    file = folder / "900.npz"
    common = ("--temperature", 900, "--json")
    done = run(file, "--species", "Na,S", *common)
    assert done.exit_code == 0, done.output
    both = json.loads(done.stdout)["trajectories"]
    assert [found["species"] for found in both] == ["Na", "S"]
    assert {found["frame_of_reference"] for found in both} == {"centre of mass"}
    assert all(found["framework"] == [] for found in both)
    plain = run(file, "--species", "Na,S", "--temperature", 900).output
    assert plain.count("verdict") == 2


def test_a_line_through_different_materials_is_flagged(folder, tmp_path):
    with np.load(folder / "600.npz") as other:
        values = dict(other)
    values["species"] = np.where(values["species"] == "S", "Se", values["species"])
    np.savez(tmp_path / "other.npz", **values)
    files = [tmp_path / "other.npz", folder / "900.npz"]
    options = ["--species", "Na", "--temperature", 600, "--temperature", 900]
    found = json.loads(run(*files, *options, "--json").stdout)
    assert any("different materials" in text for text in found["arrhenius_warnings"])
    assert "! points of different materials" in run(*files, *options).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--species", "Li", "--temperature", "600"], "no Li in the trajectory; it has Na, S"),
        (["--species", "Na"], "temperature"),
        (["--species", "Na", "--temperature", "600", "--temperature", "700"], "2 temperatures"),
        (["--species", "Xx", "--temperature", "600"], "--charge"),
        (["--species", ",", "--temperature", "600"], "names no element"),
        (["--species", "Na,S", "--temperature", "600", "--charge", "1"], "one by one"),
        (["--species", "Na", "--temperature", "600", "--timestep-fs", "1"], "25 fs, 1 fs"),
        (["--species", "Na", "--temperature", "600", "--equilibration-ps", "999"], "skip"),
        (["--species", "Na", "--temperature", "600", "--equilibration-ps", "59.9"], "too few"),
    ],
)
def test_bad_input_is_one_line_that_names_the_remedy(folder, arguments, message):
    done = run(folder / "600.npz", *arguments)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert done.stdout == ""


def test_a_temperature_below_zero_is_refused_before_anything_is_read(folder):
    done = run(folder / "600.npz", "--species", "Na", "--temperature", "-5")
    assert done.exit_code == 2
    assert "'--temperature': -5.0 is not in the range" in done.stderr
    assert done.stdout == ""


def test_the_command_exits_with_2_and_no_traceback(folder):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ionsieve",
            "diffusion",
            str(folder / "600.npz"),
            "--species",
            "Li",
            "--temperature",
            "600",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no Li in the trajectory; it has Na, S" in done.stderr
    assert "Traceback" not in done.stderr
