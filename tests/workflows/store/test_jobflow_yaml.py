"""SQLiteStore in a jobflow.yaml, in both spellings, for jobflow itself and for this program."""

import os
import subprocess
import sys

import pytest

from ionsieve.errors import InputError
from ionsieve.workflows.store.opening import open_job_store
from synthetic_results import screening

TYPE = """
JOB_STORE:
  docs_store:
    type: SQLiteStore
    path: {folder}/outputs.sqlite
  additional_stores:
    data:
      type: SQLiteStore
      path: {folder}/outputs.sqlite
      collection_name: blobs
"""
MODULE = """
JOB_STORE:
  "@module": jobflow.core.store
  "@class": JobStore
  docs_store:
    "@module": ionsieve.workflows.store.sqlite.store
    "@class": SQLiteStore
    path: {folder}/outputs.sqlite
  additional_stores:
    data:
      "@module": ionsieve.workflows.store.sqlite.store
      "@class": SQLiteStore
      path: {folder}/outputs.sqlite
      collection_name: blobs
"""
IMPORT = "import ionsieve.workflows.store.sqlite.store\n"
RUN = """
from jobflow import SETTINGS, job, run_locally
@job(data="big")
def make():
    return {"n": 1, "big": b"bytes"}
made = make()
run_locally(made, ensure_success=True, log=False)
store = SETTINGS.JOB_STORE
print(type(store.docs_store).__name__, store.get_output(made.uuid, load=True))
"""


@pytest.mark.parametrize(("text", "before"), [(TYPE, IMPORT), (MODULE, "")], ids=["type", "module"])
def test_jobflow_alone_reads_it(tmp_path, text, before):
    (tmp_path / "jobflow.yaml").write_text(text.format(folder=tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", before + RUN],
        env={**os.environ, "JOBFLOW_CONFIG_FILE": str(tmp_path / "jobflow.yaml")},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.stdout == "SQLiteStore {'n': 1, 'big': b'bytes'}\n", done.stderr


@pytest.mark.parametrize("text", [TYPE, MODULE], ids=["type", "module"])
def test_a_screening_reads_it(tmp_path, text):
    (tmp_path / "jobflow.yaml").write_text(text.format(folder=tmp_path))
    with open_job_store(screening(tmp_path, store="jobflow.yaml")) as store:
        store.update({"uuid": "a", "index": 1})
        assert store.query_one({"uuid": "a"})["sequence"] == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("workflows.store.sqlite.store", "workflows.sqlite_store", "not a job store"),
        ("ionsieve.workflows.store.sqlite.store", "os", "asks for the module 'os'"),
        ('"@class": JobStore', '"@class": MemoryStore', "not a job store"),
        ("JobStore", "[1]", "not a job store"),
    ],
)
def test_what_is_no_store_is_bad_input(tmp_path, old, new, words):
    (tmp_path / "jobflow.yaml").write_text(MODULE.format(folder=tmp_path).replace(old, new))
    with pytest.raises(InputError, match=words) as caught:
        open_job_store(screening(tmp_path, store="jobflow.yaml"))
    assert "\n" not in str(caught.value)
