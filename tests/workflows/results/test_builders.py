"""What is shown against the documents it rests on."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from ionsieve.workflows.results.collections import DEFAULT_COLUMNS
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.results.publish import publish_collections
from ionsieve.workflows.store.opening import open_collection, open_job_store
from synthetic_results import Imagined, compositions, is_close, plan, screening


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the settings and the store of a finished screening of twelve compositions."""
    settings = screening(tmp_path_factory.mktemp("finished"))
    with open_job_store(settings) as store:
        short = plan().model_copy(update={"compositions": compositions()[:12]})
        Imagined(settings, store, seed=1, imagined_plan=short).run()
        yield settings, store


def raw_outputs(job_store, document):
    """Return uuid -> output of all documents of one class: the slow twin of the records."""
    return {
        raw["uuid"]: raw["output"]
        for raw in job_store.query()
        if raw["metadata"]["document"] == document
    }


def published(settings):
    """Return the stored collections by document id."""
    found = {}
    for name in DEFAULT_COLUMNS:
        with open_collection(settings, name) as store:
            for document in store.query({"screening": settings.name}):
                document.pop("_id", None)
                found[name, document["document_id"]] = document
    return found


def test_every_number_is_the_one_its_provenance_names(finished):
    settings, job_store = finished
    hulls = raw_outputs(job_store, "HullDocument")
    runs = raw_outputs(job_store, "TransportDocument")
    conductors = Results(settings, job_store).find("conductors").rows
    assert len(conductors) == len(hulls) == 12
    for document in conductors:
        source = document["provenance"]
        hull = hulls[source["hull"]["uuid"]]
        assert document["composition_id"] == hull["composition_id"]
        assert document["e_hull_ev_atom"] == hull["e_hull_ev_atom"]
        assert document["e_hull_is_lower_bound"] == hull["is_lower_bound"]
        assert set(document["uuids"]) == {entry["uuid"] for entry in source.values()}
        for suffix in ("short", "long"):
            run = runs[source[f"{suffix}_md"]["uuid"]] if f"{suffix}_md" in source else {}
            low, high = run.get("sigma_ne_ci95_s_cm", (None, None))
            assert is_close(document[f"sigma_{suffix}_s_cm"], run.get("sigma_ne_s_cm"))
            assert is_close(document[f"sigma_{suffix}_s_cm_lo"], low)
            assert is_close(document[f"sigma_{suffix}_s_cm_hi"], high)
            assert is_close(document[f"diffusivity_{suffix}_cm2_s"], run.get("diffusivity_cm2_s"))
            assert is_close(document[f"temperature_{suffix}_k"], run.get("temperature_k"))
            assert document[f"verdict_{suffix}"] == run.get("verdict")
        assert source["hull"]["versions"] == hull["provenance"]["versions"]


def test_the_funnel_narrows_as_the_gates_decided(finished):
    settings, job_store = finished
    results = Results(settings, job_store)
    states = Counter(row["state"] for row in results.find("compositions").rows)
    hulls = raw_outputs(job_store, "HullDocument").values()
    rows = results.find("conductors").rows
    too_far = sum(hull["e_hull_ev_atom"] > 0.1 for hull in hulls)
    assert states["hull_failed"] == too_far > 0
    # By the numbers: nothing but whole intervals below the limit is stopped by the short gate.
    low = [r for r in rows if r["sigma_short_s_cm"] and 1.4 * r["sigma_short_s_cm"] < 1e-3]
    assert states["short_failed"] == len(low)
    long_low = [r for r in rows if r["sigma_long_s_cm"] and r["sigma_long_s_cm"] < 1e-3]
    assert states["long_failed"] == len(long_low)
    assert states["conductor"] == len(raw_outputs(job_store, "ConductorDocument")) > 0
    assert states["conductor"] == sum(row["passed"] for row in rows)


def test_publishing_twice_writes_nothing_the_second_time(settings, job_store, imagined):
    imagined.plan()
    imagined.phases(fail=("W-element",))
    imagined.rank(compositions()[0])
    imagined.relax(compositions()[0])
    results = Results(settings, job_store)
    first = publish_collections(results)
    before = published(settings)
    assert first == len(before) > 0
    assert publish_collections(results) == 0
    assert published(settings) == before
    shown = {(c, row["document_id"]): row for c in DEFAULT_COLUMNS for row in results.find(c).rows}
    assert before == shown


def test_publishing_follows_what_is_stored_and_removes_orphans(settings, job_store, imagined):
    composition = compositions()[0]
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    results = Results(settings, job_store)
    publish_collections(results)
    ids = set(published(settings))
    imagined.relax(composition)
    results.refresh()
    # A material, its five arrangements, its composition.
    assert publish_collections(results) == 7
    assert set(published(settings)) - ids == {
        ("materials", f"imagined/{composition.composition_id}")
    }
    fewer = screening(settings.root, ewald={"keep": 2})
    narrow = Imagined(fewer, job_store)
    narrow.plan()
    other = Results(fewer, job_store)
    publish_collections(other)
    # The ranking is shared; of its five arrangements two are relaxed, and shown as such.
    (material,) = other.find("materials").rows
    assert material["n_relaxed"] == 2
    imagined_plan = plan().model_copy(update={"compositions": compositions()[1:]})
    dropped = screening(settings.root, mobile_ion="Na+", supercell={"n_ions": 100})
    Imagined(dropped, job_store, imagined_plan=imagined_plan).plan()
    publish_collections(Results(dropped, job_store))
    gone = composition.composition_id
    assert not any(gone in document_id for _, document_id in published(dropped))


def test_results_that_arrive_move_the_state_on(settings, job_store, imagined, shown):
    first = compositions()[0]
    imagined.plan()
    imagined.phases()
    state = lambda: shown(settings, "compositions")[first.composition_id]["state"]  # noqa: E731
    assert state() == "waiting"
    steps = (
        (lambda: imagined.rank(first), "ranked"),
        (lambda: imagined.relax(first), "relaxed"),
        (lambda: imagined.hull(first, 0.02), "hull_unknown"),  # WS3 has no energy
        (lambda: imagined.transport(first, "short_md", 5e-3), "short_passed"),
        (lambda: imagined.transport(first, "long_md", 4e-3), "long_passed"),
        (lambda: imagined.conclude(first), "conductor"),
    )
    for step, expected in steps:
        step()
        assert state() == expected


def test_results_of_other_settings_are_never_shown_as_these(settings, job_store, imagined, shown):
    composition = compositions()[4]
    name = composition.composition_id
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition)
    imagined.hull(composition, 0.02)
    imagined.transport(composition, "short_md", 5e-3)
    imagined.transport(composition, "long_md", 4e-3)
    imagined.conclude(composition)
    before = {c: shown(settings, c) for c in DEFAULT_COLUMNS}
    warmer = screening(settings.root, short_md={"temperature_k": 800})
    assert shown(warmer, "conductors")[name]["sigma_short_s_cm"] is None
    assert shown(warmer, "conductors")[name]["sigma_long_s_cm"] is None
    assert shown(warmer, "compositions")[name]["state"] == "hull_passed"
    other = Imagined(warmer, job_store)
    other.plan()
    other.transport(composition, "short_md", 7e-2)
    row = shown(warmer, "conductors")[name]
    assert (row["temperature_short_k"], row["sigma_short_s_cm"]) == (800.0, 7e-2)
    # The long run needs no repetition: nothing in it has changed.
    assert row["sigma_long_s_cm"] == 4e-3
    # A -> B -> A: what was shown, exactly.
    assert {c: shown(settings, c) for c in DEFAULT_COLUMNS} == before
    assert Results(settings, job_store).changes() != []
    imagined.plan()
    assert Results(settings, job_store).changes() == []
    assert {c: shown(settings, c) for c in DEFAULT_COLUMNS} == before


def test_a_hull_limit_that_moves_judges_anew_and_computes_nothing(
    settings, job_store, imagined, shown
):
    composition = compositions()[4]
    name = composition.composition_id
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition, fail=())
    imagined.hull(composition, 0.07)
    imagined.transport(composition, "short_md", 5e-3)
    n_stored = job_store.count()
    strict = screening(settings.root, hull={"max_e_hull_ev_atom": 0.02})
    row = shown(strict, "conductors")[name]
    assert (row["hull_verdict"], row["hull_limit_ev_atom"]) == ("failed", 0.02)
    assert (row["passed"], row["sigma_short_s_cm"]) == (False, None)
    assert "the limit is 0.02" in row["reasons"][0]
    results = Results(strict, job_store)
    asked = [r for r in results.funnel.requests() if r.label == name]
    assert asked == []
    (change,) = results.changes()
    assert "already judged" in str(change)
    assert shown(settings, "conductors")[name]["sigma_short_s_cm"] == 5e-3
    assert job_store.count() == n_stored


def test_a_replaced_job_counts_with_its_last_index(settings, job_store, imagined, shown):
    composition = compositions()[0]
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition)
    key = imagined.key(composition, "hull")
    uuid = imagined.hull(composition, 0.02)
    imagined.hull(composition, 0.07, uuid, index=2, key=key)
    conductor = shown(settings, "conductors")[composition.composition_id]
    assert conductor["e_hull_ev_atom"] == 0.07
    assert conductor["provenance"]["hull"]["index"] == 2


def test_failures_are_shown_where_they_happened_and_cleared(settings, job_store, imagined, shown):
    composition, other = compositions()[:2]
    name = composition.composition_id
    imagined.plan()
    imagined.phases(fail=("Na2S-Fm-3m",))
    imagined.rank(composition)
    imagined.rank(other)
    imagined.fail_stage(composition, "relax", "SCF diverged")
    imagined.relax(other)
    imagined.hull(other, 0.5)
    found = shown(settings, "compositions")
    assert found[name]["state"] == "failed"
    assert found[name]["stage_reached"] == "rank"
    assert "SCF diverged" in found[name]["reason"]
    assert found[name]["passages"] == {"rank": "passed", "relax": "failed"}
    # One of five relaxations failed, and its verdict was reached all the same.
    assert found[other.composition_id]["state"] == "hull_failed"
    assert "SCF diverged" in found[other.composition_id]["failure"]
    phase = shown(settings, "phases")["Na2S-Fm-3m"]
    assert (phase["state"], phase["reason"]) == ("failed", "static: no energy")
    failed = shown(settings, "arrangements")[f"{other.composition_id}/3"]
    assert (failed["energy_ev_atom"], failed["reason"]) == (None, "SCF diverged")
    results = Results(settings, job_store)
    results.funnel.forget_failures()
    results.refresh()
    assert shown(settings, "compositions")[name]["state"] == "ranked"
    assert "Na2S-Fm-3m" not in shown(settings, "phases")


def test_a_missing_element_makes_the_hull_wait_and_says_so(settings, job_store, imagined, shown):
    composition = compositions()[0]
    imagined.plan()
    imagined.phases(fail=("W-element",))
    imagined.rank(composition)
    imagined.relax(composition)
    row = shown(settings, "compositions")[composition.composition_id]
    assert row["state"] == "relaxed"
    assert row["passages"]["hull"] == "waiting"
    assert "no energy of the element W" in row["reason"]


def test_two_screenings_with_overlapping_plans_share_a_store(settings, job_store, tmp_path, shown):
    first, second, third = compositions()[:3]
    one = Imagined(
        settings,
        job_store,
        imagined_plan=plan().model_copy(update={"compositions": [first, second]}),
    )
    one.run()
    other = screening(tmp_path, name="another", hull={"max_e_hull_ev_atom": 1.0})
    overlapping = plan().model_copy(update={"compositions": [second, third]})
    two = Imagined(other, job_store, imagined_plan=overlapping)
    two.plan()
    # Equal plans have one key: the settings that plan are the same, as is what they are stored as.
    assert len(shown(other, "compositions")) == 2
    equal = screening(tmp_path, name="twin")
    twin = Imagined(equal, job_store, imagined_plan=overlapping)
    twin.plan()
    assert set(shown(equal, "compositions")) == {second.composition_id, third.composition_id}
    mine = shown(equal, "conductors")[second.composition_id]
    shared = shown(other, "conductors")[second.composition_id]
    for name in ("e_hull_ev_atom", "sigma_short_s_cm", "sigma_long_s_cm"):
        assert mine[name] == shared[name]
    assert mine["document_id"] == f"twin/{second.composition_id}"
    assert third.composition_id not in shown(equal, "conductors")


def test_infinite_bounds_become_none(settings, job_store, imagined, shown):
    composition = compositions()[4]
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition)
    imagined.hull(composition, 0.02)
    uuid = imagined.transport(composition, "short_md", 1e-3, verdict="upper_bound")
    document = job_store.query_one({"uuid": uuid})
    document.pop("_id", None)
    document["output"]["sigma_ne_ci95_s_cm"] = [0.0, float("inf")]
    document["output"]["haven_ratio"] = float("nan")
    job_store.update(document)
    conductor = shown(settings, "conductors")[composition.composition_id]
    assert (conductor["sigma_short_s_cm_lo"], conductor["sigma_short_s_cm_hi"]) == (0.0, None)
    assert conductor["haven_ratio_short"] is None
    assert conductor["end_reason_long"] is None
    json.dumps(conductor, allow_nan=False)


def test_looks_at_an_unfinished_run_are_no_result(settings, job_store, imagined, shown):
    composition = compositions()[4]
    name = composition.composition_id
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition)
    imagined.hull(composition, 0.02)
    # The wanted conductivity lies inside the interval: more is needed.
    imagined.transport(composition, "short_md", 1e-3, max_looks=1)
    assert shown(settings, "conductors")[name]["sigma_short_s_cm"] is None
    assert shown(settings, "compositions")[name]["passages"]["short_md"] == "waiting"
    imagined.transport(composition, "short_md", 5e-3)
    assert shown(settings, "conductors")[name]["sigma_short_s_cm"] == 5e-3


def test_a_run_that_never_settles_is_undecided_not_failed(settings, job_store, imagined, shown):
    composition = compositions()[4]
    name = composition.composition_id
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition)
    imagined.hull(composition, 0.02)
    imagined.transport(composition, "short_md", 1e-3, verdict="upper_bound")
    row = shown(settings, "compositions")[name]
    assert row["state"] == "short_undecided"
    assert row["passages"]["short_md"] == "undecided"
    assert "undecided at the greatest length" in row["reason"]
    conductor = shown(settings, "conductors")[name]
    assert (conductor["gate_short"], conductor["passed_short"]) == ("undecided", False)
    assert conductor["end_reason_short"] == "max_length"


def test_a_material_refused_by_the_phonon_gate_is_stopped_with_its_reason(tmp_path, job_store):
    settings = screening(tmp_path, phonons={"enabled": True})
    imagined, composition = Imagined(settings, job_store), compositions()[4]
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition)
    imagined.hull(composition, 0.02)
    imagined.phonons(composition, -4.2)
    results = Results(settings, job_store)
    (row,) = results.find("compositions", "state == 'phonons_failed'").rows
    assert row["stage_reached"] == "phonons"
    assert row["passages"]["phonons"] == "stopped"
    assert "imaginary mode at -4.20 THz" in row["reason"]
    (conductor,) = results.find("conductors").rows
    assert conductor["passed"] is False
    assert conductor["phonon_verdict"] == "failed"
    counts = {count.stage: count for count in results.counts()}
    assert (counts["phonons"].entered, counts["phonons"].stopped) == (1, 1)
    assert counts["short_md"].entered == 0
    # A lower limit lets it through, and the next stage waits for its run.
    lenient = screening(
        tmp_path, phonons={"enabled": True, "min_frequency_thz": -5.0}, short_md={"timestep_fs": 2}
    )
    counts = {count.stage: count for count in Results(lenient, job_store).counts()}
    assert (counts["phonons"].passed, counts["short_md"].waiting) == (1, 1)


def test_further_temperatures_are_counted_and_a_new_one_adds_only_itself(tmp_path, job_store):
    long_md = {"temperature_k": 800, "length_ps": 50}
    settings = screening(tmp_path, long_md=long_md, arrhenius={"temperatures_k": [700]})
    imagined, composition = Imagined(settings, job_store), compositions()[4]
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition, fail=())
    imagined.hull(composition, 0.02)
    imagined.transport(composition, "short_md", 5e-2)
    imagined.transport(composition, "long_md", 4e-2)
    counts = {count.stage: count for count in Results(settings, job_store).counts()}
    assert (counts["arrhenius"].entered, counts["arrhenius"].waiting) == (1, 1)
    imagined.arrhenius(composition, 700.0, 2e-2)
    imagined.conclude(composition)
    results = Results(settings, job_store)
    counts = {count.stage: count for count in results.counts()}
    assert counts["arrhenius"].passed == counts["conductor"].passed == 1
    (row,) = results.find("conductors").rows
    assert row["n_temperatures"] == 1
    assert row["activation_energy_ev"] > 0
    more = screening(tmp_path, long_md=long_md, arrhenius={"temperatures_k": [700, 900]})
    followed = Results(more, job_store)
    (request,) = [r for r in followed.funnel.requests() if r.label == composition.composition_id]
    assert request.stage == "arrhenius"
    assert followed.find("compositions", "state == 'long_passed'").total == 1


def test_a_temperature_that_failed_leaves_a_gap(tmp_path, job_store):
    settings = screening(tmp_path, arrhenius={"temperatures_k": [700]})
    imagined, composition = Imagined(settings, job_store), compositions()[4]
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition)
    imagined.hull(composition, 0.02)
    imagined.transport(composition, "short_md", 5e-2)
    imagined.transport(composition, "long_md", 4e-2)
    imagined.fail_stage(composition, "arrhenius", "out of memory")
    imagined.conclude(composition)
    (row,) = Results(settings, job_store).find("compositions", "state == 'conductor'").rows
    assert "out of memory" in row["failure"]


def test_rejected_mothers_keep_their_reason(settings, job_store, imagined, shown):
    imagined.plan()
    imagined.phases()
    mothers = shown(settings, "mothers")
    rejected = [mother for mother in mothers.values() if not mother["accepted"]]
    assert [mother["reason"] for mother in rejected] == ["holds no Na+, the mobile ion"]
    assert mothers["Na3SbS4-cubic"]["energy_ev_atom"] == -4.0
    assert mothers["Na3SbS4-cubic"]["n_compositions"] == 16
    assert mothers["Na4SnS4"]["energy_ev_atom"] is None


def test_the_handle_reads_runs_and_structures_and_names_what_there_is(
    settings, job_store, imagined
):
    composition = compositions()[4]
    name = composition.composition_id
    imagined.plan()
    imagined.phases()
    imagined.rank(composition)
    imagined.relax(composition)
    imagined.hull(composition, 0.02)
    imagined.transport(composition, "short_md", 5e-3)
    results = Results(settings, job_store)
    assert results.run(name, "short_md")["sigma_ne_s_cm"] == 5e-3
    assert len(results.structure(name)) == 16
    with pytest.raises(Exception, match="no composition 'nothing'"):
        results.run("nothing", "short_md")
    with pytest.raises(Exception, match="has no long_md result; it has rank"):
        results.run(name, "long_md")
