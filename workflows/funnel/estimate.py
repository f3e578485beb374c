"""How many jobs and core hours a screening will take at most, stage by stage.

The numbers of jobs are exact upper bounds: every composition is taken to pass every gate. Core
hours follow from rough costs per ionic step, stated with each estimate; take them as an order of
magnitude, and replace them by your own first runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.settings.schema import MolecularDynamics, ScreeningFile
from ionsieve.workflows.thermodynamics.competing_phases import elements_of, phases_for

#: Ionic steps of one relaxation, both runs together; a static counts as two steps.
_RELAX_STEPS = 60
_STATIC_STEPS = 2
#: Ions in a typical competing phase with its k-points, as a Gamma-only cell of the same cost.
_PHASE_IONS = 60

Cost = Callable[[float, int], float]


@dataclass(frozen=True)
class StageEstimate:
    """Upper bound of the work of one stage.

    Attributes
    ----------
    stage : str
    n_items : int
        Compositions, or competing phases.
    n_jobs : int
        Calculations by the backend; rankings for the Ewald stage.
    core_hours : float
    """

    stage: str
    n_items: int
    n_jobs: int
    core_hours: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


def cost_model(backend: str) -> tuple[Cost, str]:
    """Return core hours for (ions, ionic steps) with a backend, and the assumption in words."""
    if backend == "vasp":
        return (
            lambda ions, steps: 0.15 * (ions / 200) ** 2.5 * steps,
            "VASP: 0.15 core hours per ionic step of 200 ions (PBE, Gamma point), growing as "
            "ions^2.5; a relaxation takes 60 steps",
        )
    return (
        lambda ions, steps: (steps * ions / 128 / 600 + 3.0) / 3600,
        "mocked VASP: 600 ionic steps per second of 128 ions on one core and 3 s per job; a "
        "relaxation takes 60 steps",
    )


def estimate(plan: PlanDocument, screening: ScreeningFile) -> list[StageEstimate]:
    """Return the work of each stage if every composition passes every gate.

    Raises
    ------
    InputError
        A competing phase given by the user is unfit, or an element is not in the library.
    """
    cost, _ = cost_model(screening.backend.name)
    sizes = [composition.n_ions for composition in plan.compositions]
    n_relaxations = [
        min(screening.ewald.keep, int(composition.n_arrangements))
        for composition in plan.compositions
    ]
    n_phases = count_phases(plan, screening)
    runs = 3 if screening.relax.double_relax else 2
    relax_steps = _RELAX_STEPS + _STATIC_STEPS
    stages = [
        StageEstimate("rank", len(sizes), len(sizes), len(sizes) * screening.ewald.seconds / 3600),
        StageEstimate(
            "relax",
            len(sizes),
            runs * sum(n_relaxations),
            sum(n * cost(ions, relax_steps) for n, ions in zip(n_relaxations, sizes, strict=True)),
        ),
        StageEstimate("hull", n_phases, runs * n_phases, n_phases * cost(_PHASE_IONS, relax_steps)),
    ]
    if screening.phonons.enabled:
        # Without symmetry phonopy moves each ion along three axes in both directions.
        stages.append(
            StageEstimate(
                "phonons",
                len(sizes),
                6 * sum(sizes),
                sum(6 * ions * cost(ions, _STATIC_STEPS) for ions in sizes),
            )
        )
    stages.append(_dynamics("short_md", sizes, screening.short_md, 1, cost))
    stages.append(_dynamics("long_md", sizes, screening.long_md, 1, cost))
    if temperatures := screening.arrhenius.temperatures_k:
        stages.append(_dynamics("arrhenius", sizes, screening.long_md, len(temperatures), cost))
    return stages


def _dynamics(
    stage: str, sizes: list[int], settings: MolecularDynamics, n_runs: int, cost: Cost
) -> StageEstimate:
    n_segments = settings.n_segments_longest
    steps = math.ceil(settings.length_ps * 1e3 / settings.timestep_fs / settings.n_segments)
    return StageEstimate(
        stage,
        len(sizes),
        n_runs * n_segments * len(sizes),
        n_runs * n_segments * sum(cost(ions, steps) for ions in sizes),
    )


def count_phases(plan: PlanDocument, screening: ScreeningFile) -> int:
    """Return how many competing phases the hulls need, the ordered mothers included."""
    systems = {elements_of(composition.formula) for composition in plan.compositions}
    extra = [screening.resolve(path) for path in screening.hull.phases]
    library = phases_for(frozenset[str]().union(*systems), extra=extra)
    n_needed = sum(
        any(elements_of(phase.formula) <= system for system in systems) for phase in library
    )
    return n_needed + sum(mother.is_ordered for mother in plan.mothers)
