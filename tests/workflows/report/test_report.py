"""The report and the funnel's counts."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from ionsieve.errors import InputError
from ionsieve.workflows.documents.flows import FlowStatus
from ionsieve.workflows.report.figures import funnel_figure
from ionsieve.workflows.report.page import chemical, significant, write_report
from ionsieve.workflows.report.runs import MAX_RUNS
from ionsieve.workflows.results.builders import build_collections
from ionsieve.workflows.results.correlation import correlate
from ionsieve.workflows.results.counts import STAGES, count_stages, funnel_counts
from ionsieve.workflows.results.query import query
from ionsieve.workflows.runners.refresh import work_of
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


def report(settings, tmp_path):
    path = write_report(settings, tmp_path / "report.html")
    return Page(path.read_text(encoding="utf-8"))


def test_a_full_report_is_self_contained_and_shows_every_number(settings, job_store, tmp_path):
    Imagined(job_store).run()
    build_collections(settings, job_store, {"Na3SbS4-cubic_W-1_8": "<b>SCF</b> & more", "WS3": "x"})
    page = report(settings, tmp_path)
    # Four figures of the screening, five of each of the best runs.
    assert len(page.sources) == 4 + 5 * MAX_RUNS
    assert (tmp_path / "report.html").stat().st_size < 5e6
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    passed = query(settings, "passed", "-sigma_long_s_cm")
    assert f"{len(passed)} of 32 compositions passed all gates" in page.text
    for document in passed:
        assert significant(1e3 * document["sigma_long_s_cm"]) in page.text
    pairs = query(settings, "sigma_short_s_cm > 0 and sigma_long_s_cm > 0")
    correlation = correlate(pairs)
    assert f"Spearman {correlation.spearman:.2f}" in page.text
    assert f"Over {len(pairs)} compositions" in page.text
    assert "<b>SCF</b> & more" in page.text  # shown as text, not obeyed
    assert "holds no Na+, the mobile ion" in page.text
    assert "pymatgen 2026.10.24" in page.text
    assert "WS3" in page.text


def test_a_report_before_anything_has_run(settings, tmp_path):
    page = report(settings, tmp_path)
    assert "Nothing has run yet" in page.text
    assert page.sources == []


@pytest.mark.parametrize("n_steps", [1, 4, 5, 7])
def test_a_report_at_every_point_of_the_way(settings, job_store, tmp_path, n_steps):
    imagined, composition = Imagined(job_store), compositions()[0]
    steps = [
        imagined.plan,
        lambda: imagined.rank(composition),
        lambda: imagined.relax(composition),
        lambda: imagined.hull(composition, 0.02),
        lambda: imagined.transport(composition, "short_md", 5e-3, verdict="upper_bound"),
        lambda: imagined.transport(composition, "short_md", 5e-3),
        lambda: imagined.transport(composition, "long_md", 5e-4),
    ]
    for step in steps[:n_steps]:
        step()
    page = report(settings, tmp_path)
    assert "No composition has passed all gates" in page.text
    assert ("These came closest" in page.text) == (n_steps >= 5)
    assert ("< 7.0" in page.text) == (n_steps == 5)  # the bound, mS/cm


def test_a_report_that_cannot_be_written_is_bad_input(settings, tmp_path):
    with pytest.raises(InputError, match="can't be written"):
        write_report(settings, tmp_path / "absent" / "report.html")


def test_reports_of_the_same_results_differ_in_their_time_only(settings, job_store, tmp_path):
    Imagined(job_store).run(6)
    pages = [
        re.sub(
            r"\d{4}-\d\d-\d\d \d\d:\d\d", "", write_report(settings, tmp_path / name).read_text()
        )
        for name in ("a.html", "b.html")
    ]
    assert pages[0] == pages[1]


def test_counts_of_every_stage(settings, job_store):
    Imagined(job_store).run(20)
    build_collections(settings, job_store, {"Na4SnS4_Ga-1_2": "it broke"})
    running = {"Na4SnS4_Ga-1_4", "Na3SbS4-cubic_W-1_8"}
    counts = {count.stage: count for count in funnel_counts(settings, running)}
    states = Counter(
        document["state"]
        for document in query(settings, collection="compositions", columns=["state"])
    )
    assert counts["rank"].entered == 32
    assert counts["rank"].passed == 20
    assert (counts["rank"].failed, counts["rank"].running, counts["rank"].waiting) == (1, 1, 10)
    assert counts["hull"].stopped == states["hull_failed"]
    assert counts["short_md"].stopped == states["short_failed"]
    assert counts["long_md"].passed == len(query(settings, "passed"))
    assert counts["conductor"].passed == states["conductor"]


standings = st.sampled_from(
    [
        *(("waiting", "plan"), ("ranked", "rank"), ("relaxed", "relax"), ("hull_passed", "hull")),
        *(("hull_failed", "hull"), ("short_passed", "short_md"), ("short_failed", "short_md")),
        *(("long_passed", "long_md"), ("long_failed", "long_md"), ("conductor", "conductor")),
        *(("failed", stage) for stage in ("plan", "rank", "relax", "hull", "long_md")),
    ]
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.lists(standings, max_size=20), st.sets(st.integers(0, 19)))
def test_counts_add_up(found, running):
    documents = [
        {"composition_id": str(number), "state": state, "stage_reached": stage}
        for number, (state, stage) in enumerate(found)
    ]
    counts = count_stages(documents, {str(number) for number in running})
    assert [count.stage for count in counts] == list(STAGES)
    entering = len(found)
    for count in counts:
        ended = count.passed + count.stopped + count.failed + count.running + count.waiting
        assert count.entered == entering == ended
        entering = count.passed
    assert sum(count.failed for count in counts) == sum(state == "failed" for state, _ in found)


def test_correlation_is_scipys_with_an_interval_that_covers():
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        x = random.normal(size=30)
        y = 0.7 * x + np.sqrt(1 - 0.49) * random.normal(size=30)
        documents = [
            {"sigma_short_s_cm": 10**a, "sigma_long_s_cm": 10**b} for a, b in zip(x, y, strict=True)
        ]
        found = correlate(documents)
        assert found.n == 30
        assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic)
        assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
        covered += found.pearson_ci95[0] < 0.7 < found.pearson_ci95[1]
    assert 0.91 < covered / 300 < 0.985


def test_correlation_leaves_out_bounds_and_needs_four():
    pair = {"sigma_short_s_cm": 1e-3, "sigma_long_s_cm": 2e-3}
    others = [
        {**pair, "verdict_short": "upper_bound"},
        {**pair, "sigma_long_s_cm": None},
        {**pair, "sigma_long_s_cm": 0.0},
    ]
    assert correlate([pair] * 3 + others) is None
    assert correlate([pair] * 9) is None  # no spread
    four = [{"sigma_short_s_cm": s, "sigma_long_s_cm": 2 * s} for s in (1e-4, 1e-3, 1e-2, 0.1)]
    found = correlate(four + others)
    assert found.n == 4
    assert found.pearson == pytest.approx(1.0)


def test_the_newest_flow_of_each_label_tells_its_state():
    def status(label, state, hour, **more):
        started = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) if hour else None
        return FlowStatus(
            key=f"{label}{hour}", label=label, stage="relax", state=state, n_jobs=2, n_done=1,
            started_at=started, **more,
        )  # fmt: skip

    work = work_of(
        [
            status("a", "completed", 5),
            status("a", "failed", 2, error="old trouble"),
            status("b", "failed", 3, error="diverged", failed_job="relax 1"),
            status("c", "failed", 3, error="old trouble"),
            status("c", "waiting", None),
            status("d", "running", 4),
        ]
    )
    assert work.failures == {"b": "relax 1: diverged"}
    assert work.running == {"d"}


def test_the_funnel_shows_what_passed():
    documents = [{"composition_id": "x", "state": "relaxed", "stage_reached": "relax"}] * 3
    axes = funnel_figure(count_stages(documents), n_mothers=7, n_rejected=1, log10_arrangements=8.0)
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
