"""How many crystal files of a folder are read, and how many can be doped.

    python benchmarks/crystals.py FOLDER --mobile-ion Li+ --n-ions 200

Every CIF is read as ``ionsieve plan`` reads a mother, then doped by a few aliovalent dopants, one
host after the other, until one composition is admissible. Files of one folder are tried in order;
the outcome of each goes to standard output, the counts come last.
"""

from __future__ import annotations

import argparse
import collections
import time
import traceback
from pathlib import Path

from pymatgen.core.structure import Structure

from ionsieve.errors import InputError
from ionsieve.workflows.documents.raw import MotherDocument
from ionsieve.workflows.planning.doping import dope
from ionsieve.workflows.planning.mothers import read_mothers
from ionsieve.workflows.planning.rules import read_rules
from ionsieve.workflows.settings.schema import Screening

#: Host -> a common dopant of another valence.
DOPANTS = {
    "P5+": "Si4+", "Si4+": "P5+", "Ge4+": "P5+", "Sn4+": "Sb5+", "Ti4+": "Al3+", "Zr4+": "Ta5+",
    "Hf4+": "Ta5+", "Ta5+": "Zr4+", "Nb5+": "Zr4+", "Sb5+": "Sn4+", "V5+": "Si4+", "Al3+": "Si4+",
    "Ga3+": "Ge4+", "Y3+": "Zr4+", "In3+": "Zr4+", "Er3+": "Zr4+", "Sc3+": "Zr4+", "La3+": "Ca2+",
    "B3+": "Si4+", "Mo6+": "Nb5+", "W6+": "Nb5+", "Zn2+": "Ga3+", "Mg2+": "Al3+", "Mn2+": "Al3+",
    "Bi5+": "Sn4+", "Cr3+": "Ti4+", "Fe3+": "Ti4+", "S2-": "Cl-", "O2-": "F-", "Li+": "Mg2+",
}  # fmt: skip


def screening(path: Path, mobile_ion: str, n_ions: int, rules: list[dict]) -> Screening:
    """Return a screening of one file."""
    return Screening(
        mobile_ion=mobile_ion,
        mothers={"files": [str(path)], "allow_disorder": True, "n_elements": [1, 12]},
        doping={"levels": ["1/8", "1/4"], "rules": rules},
        supercell={"n_ions": n_ions},
    )


def admissible(mother: MotherDocument, path: Path, mobile_ion: str, n_ions: int) -> str:
    """Return the first admissible composition, or why there is none."""
    hosts = [str(s) for s in Structure.from_dict(mother.structure).composition]
    reasons = []
    for host in (name for name in DOPANTS if name in hosts):
        rules = [{"host": host, "dopants": [DOPANTS[host]]}]
        settings = screening(path, mobile_ion, n_ions, rules)
        try:
            for variants in read_rules(settings.doping):
                accepted, rejected = dope(mother, variants, settings)
                if accepted:
                    return f"doped: {accepted[0].composition_id}"
                reasons += [r.reason for r in rejected]
        except InputError as error:
            reasons.append(str(error))
    return f"not doped: {reasons[0] if reasons else 'no host with a dopant'}"


def main() -> None:
    """Try every file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mobile-ion", default="Li+")
    parser.add_argument("--n-ions", type=int, default=200)
    parser.add_argument("--read-only", action="store_true", help="don't dope")
    args = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    start = time.perf_counter()
    for path in sorted(args.folder.glob("*.cif")):
        rules = [{"host": args.mobile_ion, "dopants": ["Mg2+"]}]
        begin = time.perf_counter()
        try:
            mothers, _ = read_mothers(screening(path, args.mobile_ion, args.n_ions, rules))
        except InputError as error:
            outcome = f"refused: {error}"
        except Exception:  # counting crashes is the point
            outcome = f"crashed: {traceback.format_exc(limit=-1)}"
        else:
            counts["read"] += 1
            outcome = "read"
            if not args.read_only:
                try:
                    outcome = admissible(mothers[0], path, args.mobile_ion, args.n_ions)
                except Exception:
                    outcome = f"crashed: {traceback.format_exc(limit=-1)}"
        counts[outcome.split(":")[0]] += outcome != "read"
        seconds = time.perf_counter() - begin
        print(f"{path.name} ({seconds:.1f} s) {' '.join(outcome.split())}", flush=True)
    print(f"{dict(counts)} in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
