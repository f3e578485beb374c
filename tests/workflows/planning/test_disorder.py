"""Doping of disordered mothers: where vacancies and extra ions go, whole numbers of ions."""

import math

import numpy as np
import pytest

from cif_text import cif
from ionsieve.errors import InputError
from ionsieve.workflows.planning.doping import solid_solution
from ionsieve.workflows.planning.plan import make_plan
from ionsieve.workflows.settings.schema import ScreeningFile

ARGYRODITE = (
    "Li2 Li+ 0.3070 0.0251 0.6930 0.44",
    "Li1 Li+ 0.25 0.0184 0.75 0.12",
    "P1 P5+ 0 0 0.5 1",
    "S1 S2- 0.1197 -0.1197 0.6197 1",
    "S2 S2- 0 0 0 0.385",
    "Cl2 Cl- 0 0 0 0.615",
    "S3 S2- 0.25 0.25 0.75 0.615",
    "Cl3 Cl- 0.25 0.25 0.75 0.385",
)
NASICON = (
    "Na1 Na+ 0 0 0 1",
    "Na2 Na+ 0.6396 0 0.25 0.667",
    "Zr1 Zr4+ 0 0 0.1472 1",
    "Si1 Si4+ 0.2953 0 0.25 0.667",
    "P1 P5+ 0.2953 0 0.25 0.333",
    "O1 O2- 0.1853 0.1665 0.0865 1",
    "O2 O2- 0.1821 -0.0210 0.1920 1",
)


def _argyrodite(tmp_path):
    text = cif(ARGYRODITE, (9.85,) * 3 + (90,) * 3, "_space_group_name_H-M_alt 'F -4 3 m'")
    (tmp_path / "argyrodite.cif").write_text(text)
    return "argyrodite.cif"


def _nasicon(tmp_path):
    cell = (9.1863, 9.1863, 22.181, 90, 90, 120)
    text = cif(NASICON, cell, "_space_group_name_H-M_alt 'R -3 c'")
    (tmp_path / "nasicon.cif").write_text(text)
    return "nasicon.cif"


def _plan(tmp_path, file, mobile, rules, n_ions, tolerance=0.3, **sections):
    sections = {name: dict(values) for name, values in sections.items()}
    doping = {"levels": ["1/4"], "rules": rules, **sections.pop("doping", {})}
    return make_plan(
        ScreeningFile(
            mobile_ion=mobile,
            mothers={"files": [file], "allow_disorder": True},
            doping=doping,
            supercell={"n_ions": n_ions, "tolerance": tolerance},
            root=tmp_path,
            **sections,
        )
    )


def _space(plan):
    (composition,) = plan.compositions
    space = solid_solution(plan.mothers[0], composition)
    assert space.n_ions == composition.n_ions
    assert str(space.n_arrangements) == composition.n_arrangements
    return composition, {s.name: s for s in space.sublattices}


def test_vacancies_over_full_and_partial_sites(tmp_path):
    rules = [{"host": "Zr4+", "dopants": ["Nb5+"]}]
    plan = _plan(tmp_path, _nasicon(tmp_path), "Na+", rules, 80)
    composition, sublattices = _space(plan)
    pool = sublattices["Na1+Na2"]
    n_zirconium = 4 * composition.substitutions[0].count
    assert len(pool.sites) == 2 * n_zirconium
    assert composition.n_mobile_removed == composition.substitutions[0].count
    assert dict(zip(pool.species, pool.counts, strict=True))["Na+"] == (
        1.5 * n_zirconium - composition.n_mobile_removed
    )
    assert composition.compensation == f"{n_zirconium // 4} vacancies of Na+ on Na1+Na2"


def test_extra_ions_take_vacant_sites_and_voids(tmp_path):
    rules = [{"host": "Zr4+", "dopants": ["Y3+"]}]
    file = _nasicon(tmp_path)
    both, in_both = _space(_plan(tmp_path, file, "Na+", rules, 80, ewald={"min_distance": 1.6}))
    vacant, in_vacant = _space(
        _plan(tmp_path, file, "Na+", rules, 80, ewald={"extra_ions_on": "vacant"})
    )
    voids, in_voids = _space(
        _plan(
            tmp_path, file, "Na+", rules, 80, ewald={"extra_ions_on": "voids", "min_distance": 1.6}
        )
    )
    assert len(in_both["Na1+Na2+voids"].sites) > len(in_vacant["Na1+Na2"].sites)
    assert "voids left out" in vacant.compensation
    assert "left out" in voids.compensation
    assert in_voids["voids"].counts[in_voids["voids"].species.index("Na+")] == voids.n_mobile_added
    assert both.n_mobile_added == vacant.n_mobile_added == voids.n_mobile_added > 0


def test_given_interstitial_sites_replace_the_voids(tmp_path):
    rules = [{"host": "Zr4+", "dopants": ["Y3+"]}]
    given = {"nasicon": [[0.0, 0.0, 0.25]]}  # 6a, empty in the file
    composition, sublattices = _space(
        _plan(
            tmp_path,
            _nasicon(tmp_path),
            "Na+",
            rules,
            80,
            ewald={"extra_ions_on": "voids", "interstitial_sites": given},
        )
    )
    # 6a of the hexagonal cell is 2 sites of the primitive one, which has 1/3 of its volume.
    n_cells = round(abs(np.linalg.det(composition.supercell_matrix)))
    assert len(sublattices["voids"].sites) == 2 * n_cells
    given = {"nasicon": [[0.0, 0.0, 0.0]]}
    with pytest.raises(InputError, match=r"interstitial site .* is 0\.00 A from a site"):
        _plan(
            tmp_path,
            _nasicon(tmp_path),
            "Na+",
            rules,
            80,
            ewald={"extra_ions_on": "voids", "interstitial_sites": given},
        )


def test_host_on_several_mixed_sites_is_one_pool(tmp_path):
    rules = [{"host": "S2-", "dopants": ["Cl-"], "levels": ["1/10"]}]
    plan = _plan(tmp_path, _argyrodite(tmp_path), "Li+", rules, 208, 0.6)
    composition, sublattices = _space(plan)
    (host,) = (s for name, s in sublattices.items() if "S1" in name)
    counts = dict(zip(host.species, host.counts, strict=True))
    n_units = len(host.sites) / 6
    assert counts == {"S2-": round(4.5 * n_units), "Cl-": round(1.5 * n_units)}
    assert composition.n_mobile_removed == composition.substitutions[0].count
    assert "Li1" in composition.compensation
    assert "Li2" in composition.compensation


@pytest.mark.parametrize("site", ["S3", "Cl3", "4d"])
def test_host_sites_by_label_or_wyckoff_letter(tmp_path, site):
    rules = [{"host": "S2-", "dopants": ["Cl-"], "sites": [site]}]
    plan = _plan(tmp_path, _argyrodite(tmp_path), "Li+", rules, 208, 0.6)
    composition, sublattices = _space(plan)
    assert composition.composition_id == f"argyrodite_Cl-_1-4_at-{site}"
    assert composition.substitutions[0].sites == [site]
    assert {"S3/Cl3", "S2/Cl2"} <= set(sublattices)
    assert not any("S1" in name for name in sublattices)


def test_unknown_site_is_refused_and_the_sites_are_named(tmp_path):
    rules = [{"host": "S2-", "dopants": ["Cl-"], "sites": ["S9"]}]
    with pytest.raises(InputError, match=r"no site 'S9'; it has .*Li2 \(48h, Li\+\)"):
        _plan(tmp_path, _argyrodite(tmp_path), "Li+", rules, 208)


def test_same_number_of_mobile_ions_keeps_the_occupancy_of_each_site(tmp_path):
    rules = [{"host": "P5+", "dopants": ["Sb5+"]}]
    composition, sublattices = _space(
        _plan(tmp_path, _argyrodite(tmp_path), "Li+", rules, 208, 0.6)
    )
    for name, occupancy in (("Li1", 0.12), ("Li2", 0.44)):
        one = sublattices[name]
        n_ions = dict(zip(one.species, one.counts, strict=True))["Li+"]
        assert n_ions / len(one.sites) == pytest.approx(occupancy, abs=0.05)
    assert composition.compensation == ""


def test_supercell_of_whole_numbers_goes_first(tmp_path):
    atoms = (
        "Li1 Li+ 0.3562 0.013 0.439 1",
        "Li2 Li+ 0 0 0.5 0.70",
        "Li3 Li+ 0.999 0.25 0.889 0.30",
        "P1 P5+ 0.0872 0.25 0.1719 1",
        "S1 S2- 0.1551 0.0458 0.2852 1",
        "S2 S2- 0.9346 0.25 0.2574 1",
        "S3 S2- 0.1068 0.25 0.8366 1",
    )
    text = cif(
        atoms,
        (12.819, 8.2195, 6.1236, 90, 90, 90),
        "_space_group_name_H-M_alt 'P n m a'",
    )
    (tmp_path / "beta.cif").write_text(text)
    rules = [{"host": "P5+", "dopants": ["Sb5+"]}]
    composition, _ = _space(_plan(tmp_path, "beta.cif", "Li+", rules, 160))
    assert composition.n_ions == 160
    assert composition.notes == []
    exact = _plan(tmp_path, "beta.cif", "Li+", rules, 160, doping={"occupancy_tolerance": 0.0})
    assert exact.compositions[0].n_ions == 160


def test_mobile_ion_on_shared_sites_only(tmp_path):
    """Perovskite of the La-Li-Ti family: vacancies and lithium share lanthanum's site."""
    atoms = (
        "La1 La3+ 0 0 0 0.56",
        "Li1 Li+ 0 0 0 0.32",
        "Ti1 Ti4+ 0.5 0.5 0.5 1",
        "O1 O2- 0.5 0.5 0 1",
    )
    text = cif(atoms, (3.87,) * 3 + (90,) * 3, "_space_group_name_H-M_alt 'P m -3 m'")
    (tmp_path / "llto.cif").write_text(text)
    rules = [{"host": "Ti4+", "dopants": ["Nb5+"], "levels": ["1/9"]}]
    composition, sublattices = _space(_plan(tmp_path, "llto.cif", "Li+", rules, 130, 0.4))
    (shared,) = (s for name, s in sublattices.items() if "La1" in name)
    counts = dict(zip(shared.species, shared.counts, strict=True))
    assert composition.n_mobile_removed == composition.substitutions[0].count
    assert counts["vacancy"] > 0
    assert 3 * counts["La3+"] + counts["Li+"] + 5 * composition.substitutions[0].count + 4 * (
        len(shared.sites) - composition.substitutions[0].count
    ) == 6 * len(shared.sites)


def test_realised_formula_is_shown_against_the_files(tmp_path):
    rules = [{"host": "Si4+", "dopants": ["P5+"]}]
    plan = _plan(tmp_path, _nasicon(tmp_path), "Na+", rules, 80)
    (composition,) = plan.compositions
    assert math.isfinite(composition.log10_n_arrangements)
    assert composition.wanted_formula != composition.host_formula


def test_other_mothers_go_on(tmp_path):
    (tmp_path / "broken.cif").write_text("data_x\n_cell_length_a 'open\n_atom_site_label Na1\n")
    _nasicon(tmp_path)
    plan = make_plan(
        ScreeningFile(
            mobile_ion="Na+",
            mothers={"files": ["*.cif"], "allow_disorder": True},
            doping={"levels": ["1/4"], "rules": [{"host": "Zr4+", "dopants": ["Nb5+"]}]},
            supercell={"n_ions": 80},
            root=tmp_path,
        )
    )
    assert [m.mother_id for m in plan.mothers] == ["nasicon"]
    assert [r.source_file for r in plan.rejected] == ["broken.cif"]


def test_rejected_mother_is_named_where_its_host_is_missed(tmp_path):
    (tmp_path / "bad.cif").write_text(cif(("Sn1 Sn2+ 0 0 0 1", "F1 F- 0.5 0.5 0.5 1")))
    _nasicon(tmp_path)
    with pytest.raises(InputError, match=r"no mother has the host Sn2\+.*bad\.cif.*rejected"):
        make_plan(
            ScreeningFile(
                mobile_ion="Na+",
                mothers={"files": ["*.cif"], "allow_disorder": True},
                doping={"rules": [{"host": "Sn2+", "dopants": ["In3+"]}]},
                root=tmp_path,
            )
        )
