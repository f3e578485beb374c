r"""``ionsieve rank``: the lowest-energy arrangements of one solid solution."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.cli.numbers import NOT_NEGATIVE, POSITIVE, SEED, Number

if TYPE_CHECKING:
    from ionsieve.ewald import EnergyHistogram, Ranking, SolidSolution

#: Of the progress bar.
_BAR_STEPS = 10_000


@click.command(name="rank")
@click.argument("parent", type=click.Path(path_type=Path))
@click.option("--supercell", default="1 1 1", show_default=True, help="3 or 9 whole numbers.")
@click.option("--replace", multiple=True, metavar="SITE=SPECIES:N", help="N ions in the supercell.")
@click.option("--vacate", multiple=True, metavar="SITE:N", help="Vacancies in the supercell.")
@click.option("--insert", multiple=True, metavar="SPECIES:N", help="Extra ions on voids.")
@click.option(
    "--charges",
    default="",
    metavar="SPECIES...",
    help="Such as 'Na+ Sb5+ S2-'; V1=V4+ for one site.",
)
@click.option("--block", help="Data block of a CIF that has several.")
@click.option(
    "--symmetry-tolerance",
    type=Number(0, 0.5),
    default=0.05,
    show_default=True,
    help="Atoms of a CIF this near to a symmetry element are moved onto it, Angstrom.",
)
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, help="Arrangements to return."
)
@click.option(
    "--method",
    type=click.Choice(["auto", "exhaustive", "bound", "anneal"]),
    default="auto",
    show_default=True,
)
@click.option("--seconds", type=POSITIVE, help="Time budget.  [default: 60 with auto]")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the annealing.")
@click.option(
    "--symprec",
    type=Number(0, 1, min_open=True),
    default=0.01,
    show_default=True,
    help="Symmetry tolerance, Angstrom.",
)
@click.option("--min-distance", type=NOT_NEGATIVE, help="From an extra ion to any other, Angstrom.")
@click.option(
    "--interstitial-site",
    "interstitial_sites",
    multiple=True,
    metavar="'X Y Z'",
    help="Fractional, instead of the voids found; completed by symmetry.",
)
@click.option(
    "--arrange",
    multiple=True,
    metavar="SITES=SPECIES:N",
    help="One sublattice of several sites, such as Li1+Li2+voids=Li+:40.",
)
@click.option(
    "--occupancy-tolerance",
    type=Number(0, 1),
    default=0.05,
    show_default=True,
    help="How far occupancies may be changed to make whole numbers of ions; 0 takes whole ones.",
)
@click.option(
    "--min-site-distance",
    type=NOT_NEGATIVE,
    default=1.0,
    show_default=True,
    help="Sites closer than this are never filled at once, Angstrom.",
)
@click.option("--checkpoint", type=click.Path(path_type=Path), help="File to resume from.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for structure files.")
@click.option(
    "--histogram", is_flag=True, help="Count all energies too (picture and JSON in --out)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the ranking as JSON.")
def command(parent: Path, **options: Any) -> None:
    """Rank every arrangement of one solid solution by its point-charge energy.

    PARENT is a CIF or any structure file; oxidation states that it lacks are guessed, and the guess
    is told. Partially occupied sites are arranged as they are; SITE is an element, a species or the
    label of a crystallographic site.

    \b
    Examples:
      ionsieve rank Na3SbS4.cif --supercell "2 2 2" --replace Sb=W6+:2 --vacate Na:2 --out ranked
      mpiexec -n 8 ionsieve rank disordered.cif --method bound --checkpoint search.npz
    """
    from ionsieve.ewald.parallel import world

    comm = world()
    try:
        ranking, space = _rank(parent, options, comm)
        histogram = None
        if options["histogram"]:
            from ionsieve.ewald.spectrum import energy_histogram

            histogram = energy_histogram(space, comm=comm)
        if comm is not None and comm.Get_rank() > 0:
            return
        if options["out"] is not None:
            _write(ranking, histogram, options["out"])
    except IonSieveError as error:
        if comm is None or comm.Get_rank() == 0:
            raise
        sys.exit(error.exit_code)
    if options["as_json"]:
        click.echo(json.dumps(ranking.to_dict()))
    else:
        _print(ranking)


def _rank(parent: Path, options: dict[str, Any], comm: Any) -> tuple[Ranking, SolidSolution]:
    from ionsieve.ewald import SolidSolution, rank
    from ionsieve.workflows.planning.crystal_file import read_crystal

    if options["histogram"] and options["out"] is None:
        raise InputError("--histogram writes files: name their folder with --out")
    crystal = read_crystal(
        parent, options["charges"].split(), options["block"], options["symmetry_tolerance"]
    )
    is_root = comm is None or comm.Get_rank() == 0
    if is_root:
        for note in crystal.notes:
            click.echo(f"note: {note}", err=True)
    space = SolidSolution.from_structure(
        crystal.structure,
        _supercell(options["supercell"]),
        replace=_replacements(options["replace"]),
        vacate=_counts(options["vacate"], "--vacate", "Na:2"),
        insert=_counts(options["insert"], "--insert", "Na+:2"),
        min_distance=options["min_distance"],
        interstitial_sites=_points(options["interstitial_sites"]),
        symprec=options["symprec"],
        arrange=_groups(options["arrange"]),
        occupancy_tolerance=options["occupancy_tolerance"],
        min_site_distance=options["min_site_distance"],
    )
    if is_root:
        for note in space.remarks:
            click.echo(f"note: {note}", err=True)
    report, close = _progress_bar(space, comm)
    try:
        ranking = rank(
            space,
            options["top"],
            options["method"],
            options["seconds"],
            options["seed"],
            comm,
            options["checkpoint"],
            report,
        )
    finally:
        close()
    return ranking, space


def _supercell(text: str) -> list[Any]:
    numbers = re.split(r"[\s,x]+", text.strip())
    if len(numbers) not in (3, 9) or not all(re.fullmatch(r"-?\d+", n) for n in numbers):
        raise InputError(f"--supercell '{text}': give 3 or 9 whole numbers, such as '2 2 2'")
    values = [int(n) for n in numbers]
    return values if len(values) == 3 else [values[:3], values[3:6], values[6:]]


def _split_count(text: str, option: str, example: str) -> tuple[str, int]:
    match = re.fullmatch(r"\s*(.+?)\s*:\s*(\d+)\s*", text)
    if match is None:
        raise InputError(f"{option} '{text}': write it as {example}")
    return match[1], int(match[2])


def _counts(texts: tuple[str, ...], option: str, example: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text in texts:
        name, count = _split_count(text, option, example)
        counts[name] = counts.get(name, 0) + count
    return counts


def _replacements(texts: tuple[str, ...]) -> dict[str, dict[str, int]]:
    replace: dict[str, dict[str, int]] = {}
    for text in texts:
        pair, count = _split_count(text, "--replace", "Sb=W6+:2")
        selector, equals, species = (part.strip() for part in pair.partition("="))
        if not equals:
            raise InputError(f"--replace '{text}': write it as Sb=W6+:2")
        targets = replace.setdefault(selector, {})
        targets[species] = targets.get(species, 0) + count
    return replace


def _groups(texts: tuple[str, ...]) -> dict[str, dict[str, int]]:
    groups: dict[str, dict[str, int]] = {}
    for text in texts:
        pair, count = _split_count(text, "--arrange", "Li1+Li2=Li+:40")
        sites, equals, species = (part.strip() for part in pair.partition("="))
        if not equals:
            raise InputError(f"--arrange '{text}': write it as Li1+Li2=Li+:40")
        groups.setdefault(sites, {})[species] = count
    return groups


def _points(texts: tuple[str, ...]) -> list[list[float]] | None:
    points = []
    for text in texts:
        try:
            point = [float(part) for part in re.split(r"[\s,]+", text.strip())]
        except ValueError:
            point = []
        if len(point) != 3:
            raise InputError(f"--interstitial-site '{text}': give three fractional coordinates")
        points.append(point)
    return points or None


def _progress_bar(
    space: SolidSolution, comm: Any
) -> tuple[Callable[[Any], None] | None, Callable[[], None]]:
    """Return what shows the progress of a search on stderr, and what ends it."""
    if not sys.stderr.isatty() or (comm is not None and comm.Get_rank() > 0):
        return None, lambda: None
    # click's bar counts whole steps; it needs nothing but click.
    bar = click.progressbar(
        length=_BAR_STEPS, label="ranking", file=sys.stderr, item_show_func=_as_it_is
    )
    start = time.monotonic()

    def report(progress: Any) -> None:
        elapsed = max(time.monotonic() - start, 1e-6)
        done = int(_BAR_STEPS * progress.n_covered // space.n_arrangements)
        bar.update(done - bar.pos, f"{progress.n_evaluated / elapsed:.3g} arrangements/s")

    return report, bar.render_finish


def _as_it_is(item: str | None) -> str | None:
    return item


def _print(ranking: Ranking) -> None:
    kind = "certified: nothing lower exists" if ranking.certified else "not certified"
    click.echo(
        f"{ranking.n_arrangements} arrangements, {100 * ranking.coverage:.6g} % covered by "
        f"{ranking.method} in {ranking.seconds:.2f} s ({kind})"
    )
    if not ranking.certified:
        click.echo(f"no arrangement is below {ranking.lower_bound_ev:.6f} eV")
    click.echo(f"{'rank':>4}  {'energy (eV)':>16}  {'relative':>10}  {'degeneracy':>10}")
    lowest = ranking.entries[0].energy_ev
    for number, entry in enumerate(ranking.entries, 1):
        relative = entry.energy_ev - lowest
        click.echo(
            f"{number:>4}  {entry.energy_ev:>16.6f}  {relative:>10.6f}  {entry.degeneracy:>10}"
        )


def _write(ranking: Ranking, histogram: EnergyHistogram | None, folder: Path) -> None:
    from ionsieve.ewald.structure_files import write_ranking

    write_ranking(ranking, folder)
    if histogram is None:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    (folder / "histogram.json").write_text(json.dumps(histogram.to_dict()))
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    histogram.plot(axes)
    figure.savefig(folder / "histogram.png", dpi=150)
