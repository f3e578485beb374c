"""Check that a backend keeps the promises that the funnel counts on.

For authors of backends, in a test of their own:

>>> from ionsieve.testing import check_backend
>>> check_backend(MyBackend(), structure)  # doctest: +SKIP
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jobflow import Flow, Job, JobStore, run_locally
from jobflow.core.reference import find_and_resolve_references
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from numpy.typing import NDArray
from pydantic import ValidationError
from pymatgen.core import Structure

from ionsieve.errors import IonSieveError
from ionsieve.md_analysis import Trajectory
from ionsieve.workflows.backends.protocol import (
    CAPABILITIES,
    Backend,
    Calculation,
    Checkpoint,
    Limits,
    MDCalculation,
    MDSpec,
)
from ionsieve.workflows.settings.backend_section import BackendSection
from ionsieve.workflows.settings.schema import Relax

__all__ = ["check_backend"]

#: Short enough for an engine of any speed, with frames that are not all steps.
_SPEC = MDSpec(temperature_k=300.0, timestep_fs=2.0, n_steps=12, frame_interval=3, seed=1)
#: Fractional coordinates of two runs that must be one (files of positions have eight digits), and
#: energies of a relaxation and the static calculation after it, eV/atom.
_POSITION_TOLERANCE, _ENERGY_TOLERANCE_EV_ATOM = 1e-6, 0.01
#: No ion moves so far in one step, in fractional coordinates of a small cell.
_STEP_TOLERANCE = 0.02


def check_backend(
    backend: Backend, structure: Structure, *, spec: MDSpec = _SPEC, folder: Path | None = None
) -> None:
    """Run a relaxation, a static calculation and molecular dynamics, and check what comes out.

    Parameters
    ----------
    backend
        Installed or not.
    structure
        A small crystal the engine can compute, not relaxed; a few ions make it quick.
    spec
        One segment of molecular dynamics; two of them are run, and both in one.
    folder
        Where to work; None takes a temporary folder.

    Raises
    ------
    AssertionError
        The first promise that isn't kept, in words.
    """
    with tempfile.TemporaryDirectory() as temporary:
        bench = _Bench(backend, structure, spec, folder or Path(temporary))
        for check in (_check_declarations, _check_settings, _check_identity, _check_cost):
            check(bench)
        _check_energies(bench)
        if "md" in backend.capabilities:
            _check_dynamics(bench)
        if "phonons" in backend.capabilities:
            phonons = backend.phonons(structure, "phonons")
            _demand(bool(phonons.jobs), "phonons: no jobs")


def _demand(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(promise)


@contextmanager
def _refuses(action: str, kind: type[Exception] = IonSieveError) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    except Exception as error:
        raise AssertionError(
            f"{action} raises {type(error).__name__} instead of {kind.__name__}: {error}"
        ) from error
    raise AssertionError(f"{action} is not refused")


@dataclass
class _Bench:
    """Runs jobs in a folder, over a store in memory."""

    backend: Backend
    structure: Structure
    spec: MDSpec
    folder: Path

    def __post_init__(self) -> None:
        self.store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        self.store.connect()

    def run(self, *calculations: Calculation | MDCalculation) -> None:
        """Run all jobs after they were written and read, as a queue does."""
        jobs = [job for calculation in calculations for job in calculation.jobs]
        text = json.dumps(Flow(jobs), cls=MontyEncoder)
        run_locally(
            json.loads(text, cls=MontyDecoder),
            store=self.store,
            create_folders=True,
            root_dir=self.folder,
            raise_immediately=True,
            log=False,
        )

    def resolve(self, argument: Any) -> Any:
        """Return what a job with this argument gets."""
        return find_and_resolve_references(argument, self.store)

    def read(self, run: MDCalculation, spec: MDSpec) -> Trajectory:
        """Return the trajectory of a finished segment."""
        return self.backend.read_segment(self.resolve(run.end), spec)

    def stored(self, end: Checkpoint) -> Checkpoint:
        """Return the kept end of a finished segment, as it comes back from a store."""
        kept = self.backend.keep(self.resolve(end))
        return Checkpoint.model_validate_json(kept.model_dump_json())


def _check_declarations(bench: _Bench) -> None:
    backend = bench.backend
    unknown = set(backend.capabilities) - CAPABILITIES
    _demand(not unknown, f"capabilities: {', '.join(sorted(unknown))} unknown")
    _demand({"relax", "static"} <= set(backend.capabilities), "capabilities: relax and static")
    _demand(issubclass(backend.Settings, BackendSection), "Settings must be a BackendSection")
    default = backend.Settings.model_fields["name"].default
    _demand(
        default == backend.name, f"Settings.name is {default!r}, the backend's {backend.name!r}"
    )
    for name, field in backend.Settings.model_fields.items():
        _demand(bool(field.description), f"Settings.{name} has no description")
    backend.check()


def _check_settings(bench: _Bench) -> None:
    settings = bench.backend.settings
    text = settings.model_dump_json()
    again = type(settings).model_validate_json(text)
    _demand(again == settings, f"settings change on their way through JSON: {text}")
    with _refuses("an unknown key in the settings", ValidationError):
        type(settings).model_validate({**json.loads(text), "no_such_key": 1})


def _check_identity(bench: _Bench) -> None:
    backend = bench.backend
    identity = backend.identity()
    _demand(_is_json(identity), f"identity: not JSON values: {identity!r}")
    _demand(backend.identity() == identity, "identity: changes from call to call")
    short, long = (
        backend.create(backend.settings, Relax(), Limits(walltime_seconds=seconds)).identity()
        for seconds in (None, 3600)
    )
    _demand(short == long, "identity: depends on the wall time")
    _demand(not any(map(_is_place, _leaves(identity))), f"identity: names a path: {identity!r}")


def _check_cost(bench: _Bench) -> None:
    one, two = (bench.backend.cost(100, n) for n in (1000, 2000))
    _demand(0 < one.core_hours < two.core_hours < math.inf, "cost: must grow with the steps")
    _demand(bool(one.assumption), "cost: no assumption")


def _check_energies(bench: _Bench) -> None:
    backend, structure = bench.backend, bench.structure
    start = backend.static(structure, "start")
    relaxation = backend.relax(structure, "relax")
    static = backend.static(relaxation.structure, "static", after=relaxation)
    for calculation in (start, relaxation, static):
        _demand(calculation.uuid == _last(calculation.jobs).uuid, "uuid: not that of the last job")
    bench.run(start, relaxation, static)
    energies = [bench.resolve(c.energy_ev_atom) for c in (start, relaxation, static)]
    _demand(all(map(math.isfinite, energies)), f"energies: not finite: {energies}")
    _demand(energies[1] < energies[0] + 1e-6, "relax: the energy rises")
    same = abs(energies[2] - energies[1]) < _ENERGY_TOLERANCE_EV_ATOM
    _demand(same, f"static: {energies[2]} eV/atom after a relaxation to {energies[1]}")
    ends = [bench.resolve(c.structure) for c in (start, relaxation, static)]
    _demand(all(isinstance(end, Structure) for end in ends), "structure: not a Structure")
    _demand(all(end.composition == structure.composition for end in ends), "structure: other ions")
    _demand(_apart(ends[0].frac_coords, structure.frac_coords) < 1e-6, "static: ions move")
    _demand(_apart(ends[1].frac_coords, ends[2].frac_coords) < 1e-6, "static: ions move")
    _demand(bool(bench.resolve(static.folder)), "folder: empty")
    found = backend.energy_identity(bench.resolve(static.engine))
    _demand(_is_json(found), f"energy_identity: not JSON values: {found!r}")
    _demand(found.get("settings") == backend.identity(), "energy_identity: lacks the identity")
    name, _, version = str(found.get("engine", "")).rpartition(" ")
    _demand(bool(name and version), "energy_identity: engine must be a name and a version")


def _check_dynamics(bench: _Bench) -> None:
    backend, spec = bench.backend, bench.spec
    twice = replace(spec, n_steps=2 * spec.n_steps)
    whole = backend.md(twice, bench.structure, "whole")
    first = backend.md(spec, bench.structure, "first")
    second = backend.md(spec, first.end, "second")
    other = backend.md(replace(spec, seed=spec.seed + 1), bench.structure, "other seed")
    bench.run(whole, first, second, other)
    one, two, both, elsewhere = (
        bench.read(run, of)
        for run, of in ((first, spec), (second, spec), (whole, twice), (other, spec))
    )
    for trajectory, run, of in ((one, first, spec), (two, second, spec), (both, whole, twice)):
        _check_trajectory(trajectory, of, bench.resolve(run.end.structure))
    joined = np.concatenate([one.fractional, two.fractional], axis=-1)
    apart = _apart(joined, both.fractional)
    _demand(apart < _POSITION_TOLERANCE, f"md: two segments are not one run ({apart:.1e} apart)")
    is_other = _apart(elsewhere.fractional, one.fractional) > _POSITION_TOLERANCE
    _demand(is_other, "md: another seed gives the same run")
    with _refuses("reading a segment that is shorter than asked for"):
        bench.read(first, twice)
    _check_checkpoint(bench, first, two)


def _check_trajectory(trajectory: Trajectory, spec: MDSpec, end: Structure | dict) -> None:
    wanted_fs = spec.timestep_fs * spec.frame_interval
    found = (trajectory.n_frames, trajectory.timestep_fs, trajectory.md_timestep_fs)
    _demand(
        found == (spec.n_frames, wanted_fs, spec.timestep_fs),
        f"read_segment: {found[0]} frames of {spec.n_frames}, {found[1]} fs apart instead of "
        f"{wanted_fs}, from steps of {found[2]} fs instead of {spec.timestep_fs}",
    )
    last = end if isinstance(end, Structure) else Structure.from_dict(end)
    apart = _apart(trajectory.fractional[..., -1], last.frac_coords)
    # Engines differ in whether the structure they end with is that of the last frame or the next.
    _demand(apart < _STEP_TOLERANCE, "read_segment: the last frame is not near the run's end")


def _check_checkpoint(bench: _Bench, first: MDCalculation, second: Trajectory) -> None:
    backend, spec = bench.backend, bench.spec
    kept = bench.stored(first.end)
    _demand(kept.is_stored, "keep: references are left")
    folder = Path(str(kept.folder).rpartition(":")[2])
    _demand(folder.is_dir(), f"md: the folder {folder} does not exist")
    shutil.rmtree(folder)
    with _refuses("reading a segment whose folder is gone"):
        backend.read_segment(kept, spec)
    again = backend.md(spec, kept, "from the store")
    bench.run(again)
    found = backend.read_segment(bench.resolve(again.end), spec)
    apart = _apart(found.fractional, second.fractional)
    _demand(
        apart < _POSITION_TOLERANCE,
        f"keep: without its folder a run goes on differently ({apart:.1e} apart)",
    )


def _last(jobs: tuple[Job | Flow, ...]) -> Job | Flow:
    last = jobs[-1]
    while isinstance(last, Flow):
        last = last.jobs[-1]
    return last


def _apart(first: NDArray, second: NDArray) -> float:
    """Return the largest difference of fractional coordinates, across the cell's borders too."""
    if np.shape(first) != np.shape(second):
        return math.inf
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    return float(np.abs(difference - np.round(difference)).max(initial=0.0))


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("/", "~"))
