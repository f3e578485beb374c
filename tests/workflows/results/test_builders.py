"""The builders against the documents they are built from."""

from __future__ import annotations

import json

import pytest

from ionsieve.workflows.documents.collections import COLLECTIONS
from ionsieve.workflows.documents.raw import Look
from ionsieve.workflows.results.builders import BUILDERS, build_collections
from ionsieve.workflows.store.opening import open_collection, open_job_store
from synthetic_results import Imagined, compositions, is_close, screening


@pytest.fixture
def settings(tmp_path):
    return screening(tmp_path)


@pytest.fixture
def job_store(settings):
    with open_job_store(settings) as store:
        yield store


@pytest.fixture
def imagined(job_store):
    return Imagined(job_store)


def built(settings, name):
    """Return a built collection by document id, less the screening's prefix."""
    with open_collection(settings, name) as store:
        documents = list(store.query({"screening": settings.name}))
    for document in documents:
        document.pop("_id")
    return {d["document_id"].removeprefix(f"{settings.name}/"): d for d in documents}


def everything(settings):
    return {name: built(settings, name) for name in COLLECTIONS}


def raw_outputs(job_store, document):
    """Return all outputs of one class: the slow twin of the builders' index."""
    return [
        (raw["uuid"], raw["output"])
        for raw in job_store.query()
        if raw["metadata"]["document"] == document
    ]


def test_every_number_is_the_one_its_provenance_names(settings, job_store, imagined):
    imagined.run()
    build_collections(settings, job_store)
    hulls = dict(raw_outputs(job_store, "HullDocument"))
    runs = dict(raw_outputs(job_store, "TransportDocument"))
    conductors = built(settings, "conductors")
    assert len(conductors) == len(hulls) == len(compositions())
    for document in conductors.values():
        source = document["provenance"]
        hull = hulls[source["hull"]["uuid"]]
        assert document["composition_id"] == hull["composition_id"]
        assert document["e_hull_ev_atom"] == hull["e_hull_ev_atom"]
        assert document["e_hull_is_lower_bound"] == hull["is_lower_bound"]
        assert set(document["uuids"]) == {entry["uuid"] for entry in source.values()}
        gates = [hull["passed"]]
        for suffix in ("short", "long"):
            run = runs[source[f"{suffix}_md"]["uuid"]] if f"{suffix}_md" in source else {}
            low, high = run.get("sigma_ne_ci95_s_cm", (None, None))
            assert is_close(document[f"sigma_{suffix}_s_cm"], run.get("sigma_ne_s_cm"))
            assert is_close(document[f"sigma_{suffix}_s_cm_lo"], low)
            assert is_close(document[f"sigma_{suffix}_s_cm_hi"], high)
            assert is_close(document[f"diffusivity_{suffix}_cm2_s"], run.get("diffusivity_cm2_s"))
            assert document[f"verdict_{suffix}"] == run.get("verdict")
            gates.append(run.get("passed", False))
        assert document["passed"] == all(gates)
        assert document["provenance"]["hull"]["versions"] == hull["provenance"]["versions"]


def test_the_funnel_narrows_as_the_gates_decided(settings, job_store, imagined):
    imagined.run()
    build_collections(settings, job_store)
    states = [document["state"] for document in built(settings, "compositions").values()]
    runs = [output for _, output in raw_outputs(job_store, "TransportDocument")]
    hulls = [output for _, output in raw_outputs(job_store, "HullDocument")]
    failed = {
        stage: sum(run["stage"] == stage and not run["passed"] for run in runs)
        for stage in ("short_md", "long_md")
    }
    assert states.count("hull_failed") == sum(not hull["passed"] for hull in hulls) > 0
    assert states.count("short_failed") == failed["short_md"] > 0
    assert states.count("long_failed") == failed["long_md"]
    assert states.count("conductor") == len(raw_outputs(job_store, "ConductorDocument")) > 0


def test_building_twice_writes_nothing_the_second_time(settings, job_store, imagined):
    imagined.run(8)
    build_collections(settings, job_store, {"Na4SnS4_Ta-1_8": "it broke"})
    before = everything(settings)
    for kind in BUILDERS:
        target = open_collection(settings, kind.collection)
        failures = {"Na4SnS4_Ta-1_8": "it broke"}
        assert list(kind(job_store, target, settings.name, failures).get_items()) == []
    build_collections(settings, job_store, {"Na4SnS4_Ta-1_8": "it broke"})
    assert everything(settings) == before


def test_building_as_results_arrive_ends_where_building_once_does(settings, job_store, imagined):
    first, second = compositions()[:2]
    imagined.plan()
    build_collections(settings, job_store)
    state = lambda: built(settings, "compositions")[first.composition_id]["state"]  # noqa: E731
    assert state() == "waiting"
    steps = (
        (lambda: imagined.rank(first), "ranked"),
        (lambda: imagined.relax(first), "relaxed"),
        (lambda: imagined.hull(first, 0.02), "hull_passed"),
        (lambda: imagined.transport(first, "short_md", 5e-3), "short_passed"),
        (lambda: imagined.transport(first, "long_md", 4e-3), "long_passed"),
        (lambda: imagined.conclude(first, 4e-3), "conductor"),
    )
    for step, expected in steps:
        step()
        build_collections(settings, job_store)
        assert state() == expected
    imagined.rank(second)
    build_collections(settings, job_store)
    stepwise = everything(settings)
    for name in COLLECTIONS:
        open_collection(settings, name).remove_docs({})
    build_collections(settings, job_store)
    assert everything(settings) == stepwise


def test_the_newest_output_counts_and_drops_what_rested_on_the_old(settings, job_store, imagined):
    composition = compositions()[0]
    name = composition.composition_id
    imagined.plan()
    imagined.rank(composition)
    imagined.relax(composition, energy=-4.0)
    imagined.hull(composition, 0.02)
    imagined.transport(composition, "short_md", 5e-3)
    imagined.hull(composition, 0.03, key="md-2")
    build_collections(settings, job_store)
    conductor = built(settings, "conductors")[name]
    assert conductor["e_hull_ev_atom"] == 0.03
    assert conductor["sigma_short_s_cm"] is None
    assert conductor["stage_reached"] == "hull"
    imagined.transport(composition, "short_md", 2e-3, key="md-2")
    imagined.rank(composition, key="relax-2", n=2)
    build_collections(settings, job_store)
    assert built(settings, "conductors")[name]["sigma_short_s_cm"] == 2e-3
    arrangements = built(settings, "arrangements").values()
    assert sorted(entry["rank"] for entry in arrangements) == [1, 2]
    assert all(entry["energy_ev_atom"] is None for entry in arrangements)
    assert built(settings, "materials") == {}


def test_a_replaced_job_counts_with_its_last_index(settings, job_store, imagined):
    composition = compositions()[0]
    imagined.plan()
    uuid = imagined.hull(composition, 0.02)
    document = job_store.query_one({"uuid": uuid})
    document.pop("_id", None)
    document["index"] = 2
    document["output"]["e_hull_ev_atom"] = 0.07
    job_store.update(document)
    build_collections(settings, job_store)
    conductor = built(settings, "conductors")[composition.composition_id]
    assert conductor["e_hull_ev_atom"] == 0.07
    assert conductor["provenance"]["hull"]["index"] == 2


def test_failures_are_recorded_kept_and_cleared(settings, job_store, imagined):
    composition, other = compositions()[:2]
    name = composition.composition_id
    imagined.plan()
    imagined.rank(composition)
    imagined.rank(other)
    imagined.hull(other, 0.5)
    failures = {name: "SCF diverged", other.composition_id: "late", "WS3": "no energy"}
    build_collections(settings, job_store, failures)
    found = built(settings, "compositions")
    assert found[name]["state"] == "failed"
    assert found[name]["stage_reached"] == "rank"
    assert found[name]["reason"] == "SCF diverged"
    assert found[other.composition_id]["state"] == "hull_failed"  # its verdict was reached
    assert found[other.composition_id]["failure"] == "late"
    assert built(settings, "phases")["WS3"]["reason"] == "no energy"
    build_collections(settings, job_store)
    assert built(settings, "compositions") == found
    build_collections(settings, job_store, {})
    assert built(settings, "compositions")[name]["state"] == "ranked"
    assert built(settings, "phases") == {}


def test_what_the_plan_dropped_disappears(settings, job_store, imagined):
    imagined.run(4)
    build_collections(settings, job_store)
    assert len(built(settings, "conductors")) == 4
    document = job_store.query_one({"metadata.document": "PlanDocument"})
    document.pop("_id", None)
    document["output"]["compositions"] = document["output"]["compositions"][:2]
    document |= {"uuid": "another plan", "completed_at": "2026-03-01T00:00:00"}
    job_store.update(document)
    build_collections(settings, job_store)
    counts = {name: len(documents) for name, documents in everything(settings).items()}
    assert counts["compositions"] == counts["conductors"] == counts["materials"] == 2
    assert counts["arrangements"] == 10
    assert len(raw_outputs(job_store, "HullDocument")) == 4


def test_without_a_plan_the_rankings_tell_the_compositions(settings, job_store, imagined):
    composition = compositions()[0]
    imagined.rank(composition)
    build_collections(settings, job_store)
    assert list(built(settings, "compositions")) == [composition.composition_id]
    assert built(settings, "mothers") == {}


def test_two_screenings_share_a_store(settings, job_store, imagined, tmp_path):
    other = screening(tmp_path, name="another")
    imagined.run(2)
    Imagined(job_store, "another", seed=5).run(3)
    build_collections(settings, job_store)
    build_collections(other, job_store)
    build_collections(settings, job_store)
    assert len(built(settings, "conductors")) == 2
    assert len(built(other, "conductors")) == 3


def test_infinite_bounds_become_none(settings, job_store, imagined):
    composition = compositions()[0]
    imagined.plan()
    imagined.hull(composition, 0.02)
    uuid = imagined.transport(composition, "short_md", 5e-4, verdict="upper_bound")
    document = job_store.query_one({"uuid": uuid})
    document.pop("_id", None)
    document["output"]["sigma_ne_ci95_s_cm"] = [0.0, float("inf")]
    document["output"]["haven_ratio"] = float("nan")
    job_store.update(document)
    build_collections(settings, job_store)
    conductor = built(settings, "conductors")[composition.composition_id]
    assert (conductor["sigma_short_s_cm_lo"], conductor["sigma_short_s_cm_hi"]) == (0.0, None)
    assert conductor["haven_ratio_short"] is None
    assert (conductor["end_reason_short"], conductor["end_reason_long"]) == ("length", None)
    json.dumps(conductor, allow_nan=False)


def test_looks_at_an_unfinished_run_are_no_result(settings, job_store, imagined):
    composition = compositions()[0]
    imagined.plan()
    imagined.hull(composition, 0.02)
    look = Look(
        run_length_ps=30.0,
        verdict="not_converged",
        sigma_ne_s_cm=1e-3,
        sigma_ne_ci95_s_cm=(0.0, 5e-3),
        action="extend",
        settled=False,
    )
    label = composition.composition_id
    imagined.writer.write(look, "short_md", f"md-1-{label}", label=label)
    build_collections(settings, job_store)
    assert built(settings, "conductors")[label]["sigma_short_s_cm"] is None
    imagined.transport(composition, "short_md", 5e-3)
    build_collections(settings, job_store)
    assert built(settings, "conductors")[label]["sigma_short_s_cm"] == 5e-3


def test_rejected_mothers_keep_their_reason(settings, job_store, imagined):
    imagined.plan()
    imagined.phases()
    build_collections(settings, job_store)
    mothers = built(settings, "mothers")
    rejected = [mother for mother in mothers.values() if not mother["accepted"]]
    assert [mother["reason"] for mother in rejected] == ["holds no Na+, the mobile ion"]
    assert mothers["Na3SbS4-cubic"]["energy_ev_atom"] == -4.0
    assert mothers["Na3SbS4-cubic"]["n_compositions"] == 16
    assert mothers["Na4SnS4"]["energy_ev_atom"] is None


def test_a_builder_runs_as_any_maggma_builder_does(settings, job_store, imagined):
    imagined.run(3)
    for kind in BUILDERS:
        builder = kind(job_store, open_collection(settings, kind.collection), settings.name)
        builder.connect()
        for item in builder.get_items():
            builder.update_targets([builder.process_item(item)])
        builder.finalize()
    job_store.connect()
    assert len(built(settings, "conductors")) == 3
