"""Import paths are stored with every job and document: they are a data format."""

import json
from pathlib import Path

from monty.json import MontyEncoder

from ionsieve.workflows.funnel.phases import phase_requests
from ionsieve.workflows.funnel.table import FUNNEL
from store_writer import SALT, StoreWriter

LIST = Path(__file__).parents[2] / "data" / "frozen_paths.txt"
HIGH = (0.9, 1.0, 1.1)
ALL = {"phonons": {"enabled": True}, "arrhenius": {"temperatures_k": [700.0]}}


def paths_in(value):
    """Yield every module with what is named in it, below a decoded JSON value."""
    if isinstance(value, dict):
        if "@module" in value:
            yield f"{value['@module']}:{value.get('@class') or value.get('@callable')}"
        for entry in value.values():
            yield from paths_in(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from paths_in(entry)


def paths_of_flows(requests):
    found = set()
    for request in requests:
        for job, _ in request.make().iterflow():
            found |= set(paths_in(json.loads(json.dumps(job, cls=MontyEncoder))))
    return found


def test_stored_paths_are_those_of_the_list(candidate):
    writer = StoreWriter(candidate)
    steps = {
        "rank": lambda: writer.write_ranking(1),
        "relax": lambda: writer.write_relaxed([-1.0], **ALL),
        "hull": lambda: (writer.write_phases(), writer.write_hull(0.05, **ALL)),
        "phonons": lambda: writer.write_phonons(0.0, 10.0, **ALL),
        "short_md": lambda: writer.write_look("short_md", HIGH, **ALL),
        "long_md": lambda: writer.write_look("long_md", HIGH, **ALL),
        "arrhenius": lambda: writer.write_look("arrhenius", HIGH, **ALL),
        "conductor": lambda: None,
    }
    assert list(steps) == [stage.name for stage in FUNNEL]
    case = writer.case(**ALL)
    phases = phase_requests(case.phases, case.records, case.screening, lambda key: SALT)
    found = paths_of_flows(phases)
    for name, step in steps.items():
        if name == "hull":
            writer.write_phases()
        found |= paths_of_flows(writer.case(**ALL).outcomes[name].requests)
        step()
    documents = writer.job_store.query({}, properties=["output"])
    found |= {path for document in documents for path in paths_in(document["output"])}
    ours = sorted(path for path in found if path.startswith("ionsieve."))
    frozen = LIST.read_text().split()
    assert ours == frozen, (
        "stores written before would not be read any more: keep the old path importable, raise the "
        "store's schema version with a migration, and only then change the list"
    )
