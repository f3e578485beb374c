"""A candidate for the tests of the stages."""

import pytest
from pymatgen.core import Lattice, Structure

from ionsieve.workflows.documents.raw import CompositionDocument, MotherDocument
from ionsieve.workflows.funnel.candidate import Candidate
from ionsieve.workflows.settings.schema import Screening


@pytest.fixture
def structure():
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture
def candidate(structure):
    decorated = structure.copy()
    decorated.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    return Candidate(
        screening=Screening.model_validate(
            {
                "mothers": {"files": ["*.cif"]},
                "doping": {"rules": [{"host": "Cl-", "dopants": ["Br-"]}]},
            }
        ),
        mother=MotherDocument(
            mother_id="NaCl",
            formula="NaCl",
            structure=decorated.as_dict(),
            space_group="Fm-3m",
            n_elements=2,
            mobile_ion="Na+",
            anions=["Cl-"],
            is_ordered=True,
            oxidation_source="file",
            source_file="NaCl.cif",
        ),
        composition=CompositionDocument(
            composition_id="NaCl_none",
            mother_id="NaCl",
            formula="NaCl",
            host_formula="NaCl",
            substitutions=[],
            supercell_matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            n_ions=8,
            mobile_ion="Na+",
            n_arrangements="1",
            log10_n_arrangements=0.0,
        ),
    )
