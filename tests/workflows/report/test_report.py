"""The report and the funnel's counts."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from ionsieve.errors import InputError
from ionsieve.workflows.funnel.progress import Passage
from ionsieve.workflows.funnel.table import FUNNEL
from ionsieve.workflows.report.figures import funnel_figure
from ionsieve.workflows.report.page import (
    chemical,
    gate_limits,
    quantity,
    read_contents,
    significant,
    write_report,
)
from ionsieve.workflows.results.correlation import correlate
from ionsieve.workflows.results.counts import count_stages
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.settings.backend_section import read_backend_section
from ionsieve.workflows.store.opening import open_job_store
from synthetic_results import Imagined, compositions, screening

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects what a browser would load and show."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.shown = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.sources += [v for k, v in attributes if k in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.shown).split())


@pytest.fixture
def settings(tmp_path):
    return screening(tmp_path)


@pytest.fixture
def job_store(settings):
    with open_job_store(settings) as store:
        yield store


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the settings and the store of a finished screening of eight of 32 compositions."""
    settings = screening(tmp_path_factory.mktemp("finished"))
    with open_job_store(settings) as store:
        imagined = Imagined(settings, store, seed=2)
        imagined.run(8)
        # One melts, with the largest number of all.
        melting = compositions()[8]
        imagined.rank(melting)
        imagined.relax(melting)
        imagined.hull(melting, 0.02)
        imagined.transport(melting, "short_md", 0.23, "framework_unstable")
        failing = compositions()[9]
        imagined.rank(failing)
        imagined.fail_stage(failing, "relax", "<b>SCF</b> & more")
        yield settings, store


def report(settings, job_store, tmp_path):
    path = write_report(Results(settings, job_store), tmp_path / "report.html")
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def full(finished, tmp_path_factory):
    """Return the page of the finished screening."""
    return report(*finished, tmp_path_factory.mktemp("page"))


def test_a_full_report_is_self_contained_and_shows_every_number(finished, full):
    results = Results(*finished)
    n_runs = results.find("conductors", "verdict_short != None").total
    # Four figures of the screening, of each run displacements, ions, jumps, surroundings.
    assert len(full.sources) >= 4 + 4 * n_runs
    assert all(source.startswith("data:image/svg+xml;base64,") for source in full.sources)
    passed = results.find("conductors", "passed", "-sigma_long_s_cm").rows
    assert len(passed) > 1
    assert f"{len(passed)} of 32 compositions went through all gates" in full.text
    for document in passed:
        assert significant(1e3 * document["sigma_long_s_cm"]) in full.text
        low, high = (significant(1e3 * document[f"sigma_long_s_cm_{end}"]) for end in ("lo", "hi"))
        assert f"{low} to {high}" in full.text
    pairs = results.find("conductors", "sigma_short_s_cm > 0 and sigma_long_s_cm > 0").rows
    correlation = correlate(pairs)
    assert f"Spearman {correlation.spearman:.2f}" in full.text
    assert f"Over {len(pairs)} compositions" in full.text
    assert "<b>SCF</b> & more" in full.text  # shown as text, not obeyed
    assert "holds no Na+, the mobile ion" in full.text
    assert "pymatgen 2026.10.24" in full.text
    assert "Settings newer" not in full.text


def test_what_melted_is_no_best_run_and_carries_its_verdict(finished):
    contents = read_contents(Results(*finished))
    melted = compositions()[8].composition_id
    with_run = [run.composition["composition_id"] for run in contents.runs]
    assert with_run[-1] == melted
    (document,) = (d for d in contents.conductors if d["composition_id"] == melted)
    text = str(quantity(document, "sigma_short_s_cm", "mS/cm"))
    assert "230" in text
    assert "framework unstable" in text


def test_unknown_hulls_are_counted_as_unknown(finished, full):
    rows = Results(*finished).find("conductors").rows
    verdicts = Counter(row["hull_verdict"] for row in rows)
    assert verdicts["unknown"] > 0
    tiles = full.text
    assert f"{verdicts['passed']} within 100 meV/atom of the hull" in tiles
    assert f"{verdicts['unknown']} whose hull is a lower bound: unknown" in tiles
    assert "≥ " in tiles


def test_labels_come_from_the_documents_and_newer_settings_are_listed(finished, tmp_path):
    settings, job_store = finished
    edited = settings.model_copy(
        update={
            "long_md": settings.long_md.model_copy(update={"temperature_k": 450.0}),
            "hull": settings.hull.model_copy(update={"max_e_hull_ev_atom": 0.02}),
            "compute": settings.compute.model_copy(update={"workers": 7}),
        }
    )
    page = report(edited, job_store, tmp_path)
    assert "Settings newer than these results" in page.text
    assert "long_md.temperature_k: 300.0 when last run, 450.0 now" in page.text
    assert "compute.workers" not in page.text.split("All settings")[0]
    # Nothing of 300 K is shown as of 450 K, and no row is beyond the limit that is named.
    assert "long run at 450 K" not in page.text
    contents = read_contents(Results(edited, job_store))
    assert all(row["verdict_long"] is None for row in contents.conductors)
    assert "at most 20 meV/atom" in gate_limits(contents)
    within = [d for d in contents.conductors if d["hull_verdict"] == "passed"]
    assert all(d["e_hull_ev_atom"] <= 0.02 for d in within)
    assert contents.engines == ["mock_vasp"]


def test_the_engine_is_the_one_of_the_documents(finished, tmp_path):
    settings, job_store = finished
    other = read_backend_section({"name": "vasp"})
    edited = settings.model_copy(update={"backend": other})
    # Rankings serve any engine; nothing else does.
    page = report(edited, job_store, tmp_path)
    assert "engine vasp (nothing computed yet)" in page.text
    assert Results(edited, job_store).find("arrangements").total > 0
    assert Results(edited, job_store).find("materials").total == 0


def test_a_report_before_anything_has_run(settings, job_store, tmp_path):
    Imagined(settings, job_store).plan()
    page = report(settings, job_store, tmp_path)
    assert "nothing computed yet" in page.text
    assert "No composition has gone through all gates so far" in page.text
    assert "32 compositions still under way" in page.text


@pytest.mark.parametrize("n_steps", [1, 4, 6, 8])
def test_a_report_at_every_point_of_the_way(settings, job_store, tmp_path, n_steps):
    imagined, composition = Imagined(settings, job_store), compositions()[4]
    verdict = "upper_bound" if n_steps == 6 else "diffusing"
    steps = [
        imagined.plan,
        imagined.phases,
        lambda: imagined.rank(composition),
        lambda: imagined.relax(composition),
        lambda: imagined.hull(composition, 0.02),
        lambda: imagined.transport(composition, "short_md", 5e-3 / 10, verdict),
        lambda: imagined.transport(composition, "short_md", 5e-3),
        lambda: imagined.transport(composition, "long_md", 5e-4),
    ]
    if n_steps == 8:
        del steps[5]
    for step in steps[:n_steps]:
        step()
    page = report(settings, job_store, tmp_path)
    assert "No composition has gone through all gates" in page.text
    assert ("These came closest" in page.text) == (n_steps >= 6)
    assert ("< 0.70" in page.text) == (n_steps == 6)  # the bound, mS/cm


def test_a_refused_material_is_shown_with_its_reason(tmp_path):
    settings = screening(tmp_path, phonons={"enabled": True})
    with open_job_store(settings) as job_store:
        imagined, composition = Imagined(settings, job_store), compositions()[4]
        imagined.plan()
        imagined.phases()
        imagined.rank(composition)
        imagined.relax(composition)
        imagined.hull(composition, 0.02)
        imagined.phonons(composition, -4.2)
        page = report(settings, job_store, tmp_path)
    assert "phonons failed" in page.text
    assert "imaginary mode at -4.20 THz, below the limit of -0.5 THz" in page.text
    assert "Phonons 1 0 0 0 1 0 0 0" in page.text


def test_a_report_that_cannot_be_written_is_bad_input(settings, job_store, tmp_path):
    Imagined(settings, job_store).plan()
    with pytest.raises(InputError, match="can't be written"):
        write_report(Results(settings, job_store), tmp_path / "absent" / "report.html")


def test_reports_of_the_same_results_differ_in_their_time_only(settings, job_store, tmp_path):
    Imagined(settings, job_store).run(1)
    pages = [
        re.sub(
            r"\d{4}-\d\d-\d\d \d\d:\d\d",
            "",
            write_report(Results(settings, job_store), tmp_path / name).read_text(),
        )
        for name in ("a.html", "b.html")
    ]
    assert pages[0] == pages[1]


def test_counts_of_every_stage(finished):
    settings, job_store = finished
    results = Results(settings, job_store)
    requests = {request.label: request.key for request in results.funnel.requests()}
    names = [composition.composition_id for composition in compositions()]
    running = {requests[names[20]], requests[names[21]]}
    counts = {count.stage: count for count in Results(settings, job_store, running).counts()}
    states = Counter(row["state"] for row in results.find("compositions").rows)
    assert (counts["rank"].entered, counts["rank"].passed) == (32, 10)
    assert (counts["rank"].running, counts["rank"].waiting) == (2, 20)
    assert (counts["relax"].passed, counts["relax"].failed) == (9, 1)
    assert counts["hull"].stopped == states["hull_failed"]
    assert counts["short_md"].stopped == states["short_failed"] > 0
    assert counts["long_md"].passed == results.find("conductors", "passed").total
    assert counts["conductor"].passed == states["conductor"]


passages = st.sampled_from(get_args(Passage))
stages = [stage for stage in FUNNEL]


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(stages)), passages), max_size=20))
def test_counts_add_up(ends):
    documents = []
    for n_passed, last in ends:
        row = {stage.name: "passed" for stage in stages[:n_passed]}
        if n_passed < len(stages):
            row[stages[n_passed].name] = last
        documents.append({"passages": row})
    counts = count_stages(documents, stages)
    assert [count.stage for count in counts] == [stage.name for stage in stages]
    for number, count in enumerate(counts):
        found = [d["passages"][count.stage] for d in documents if count.stage in d["passages"]]
        parts = {name: getattr(count, name) for name in get_args(Passage)}
        assert parts == {name: found.count(name) for name in parts}
        assert count.entered == sum(parts.values()) == sum(n >= number for n, _ in ends)


SOUND = {"verdict_short": "diffusing", "verdict_long": "diffusing"}


def test_correlation_is_scipys_with_an_interval_that_covers():
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        x = random.normal(size=30)
        y = 0.7 * x + np.sqrt(1 - 0.49) * random.normal(size=30)
        documents = [
            {**SOUND, "sigma_short_s_cm": 10**a, "sigma_long_s_cm": 10**b}
            for a, b in zip(x, y, strict=True)
        ]
        found = correlate(documents)
        assert found.n == 30
        assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic)
        assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
        covered += found.pearson_ci95[0] < 0.7 < found.pearson_ci95[1]
    assert 0.91 < covered / 300 < 0.985


def test_correlation_leaves_out_bounds_and_needs_four():
    pair = {**SOUND, "sigma_short_s_cm": 1e-3, "sigma_long_s_cm": 2e-3}
    others = [
        {**pair, "verdict_short": "upper_bound"},
        {**pair, "verdict_long": "framework_unstable"},
        {**pair, "sigma_long_s_cm": None},
        {**pair, "sigma_long_s_cm": 0.0},
    ]
    assert correlate([pair] * 3 + others) is None
    assert correlate([pair] * 9) is None  # no spread
    four = [
        {**SOUND, "sigma_short_s_cm": s, "sigma_long_s_cm": 2 * s} for s in (1e-4, 1e-3, 1e-2, 0.1)
    ]
    found = correlate(four + others)
    assert found.n == 4
    assert found.pearson == pytest.approx(1.0)


def test_the_funnel_shows_what_passed():
    documents = [{"passages": {"rank": "passed", "relax": "passed", "hull": "waiting"}}] * 3
    counts = count_stages(documents, stages)
    axes = funnel_figure(counts, n_mothers=7, n_rejected=1, log10_arrangements=8.0)
    shown = [text.get_text() for text in axes.texts]
    assert shown[:3] == ["7", "Mothers", "1 other structure rejected"]
    assert shown.count("3") == 3
    assert any(r"1.0\times10^{8}" in text for text in shown)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0.0"), (1.0, "1.0"), (9.97, "10.0"), (23.4, "23"), (234.0, "230"),
        (0.0123, "0.012"), (1.2e-5, "1.2·10⁻⁵"), (-0.5, "-0.50"), (4.2e6, "4.2·10⁶"),
    ],
)  # fmt: skip
def test_numbers_read_well(value, text):
    assert significant(value) == text


def test_formulas_get_subscripts_and_are_escaped():
    assert chemical("Na2.75W0.25S4") == "Na<sub>2.75</sub>W<sub>0.25</sub>S<sub>4</sub>"
    assert chemical("<i>2") == "&lt;i&gt;2"
