"""An imagined screening and its results."""

import pytest

from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.store.opening import open_job_store
from synthetic_results import Imagined, screening


@pytest.fixture
def settings(tmp_path):
    return screening(tmp_path)


@pytest.fixture
def job_store(settings):
    with open_job_store(settings) as store:
        yield store


@pytest.fixture
def imagined(settings, job_store):
    return Imagined(settings, job_store)


@pytest.fixture
def shown(job_store):
    """Return what settings show now: documents by id, less the screening's prefix."""

    def read(settings, collection):
        rows = Results(settings, job_store).find(collection).rows
        return {row["document_id"].removeprefix(f"{settings.name}/"): row for row in rows}

    return read
