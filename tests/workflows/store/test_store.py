"""Opening the store: SQLite, MongoDB, and what can be wrong with either."""

from __future__ import annotations

import logging
import os

import pytest

from ionsieve.errors import InputError
from ionsieve.workflows.report.page import read_contents, render
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.store.opening import open_collection, open_job_store, store_name
from synthetic_results import Imagined, screening

SECRET = "s3cr%2Ft"
ADDRESS = f"mongodb://anna:{SECRET}@localhost:27099"


def test_large_arrays_go_to_the_additional_store(tmp_path):
    settings = screening(tmp_path)
    with open_job_store(settings) as store:
        document = {"uuid": "a", "index": 1, "output": {"n": 1, "trajectory": "x" * 1000}}
        store.update(document, save={"data": "trajectory"})
        stored = store.query_one({"uuid": "a"})
        assert "x" * 1000 not in str(stored)
        assert store.query_one({"uuid": "a"}, load=True)["output"]["trajectory"] == "x" * 1000
        assert store.additional_stores["data"].count() == 1
    with open_job_store(settings) as store:
        assert store.count() == 1


def test_relative_paths_count_from_the_screening_file(tmp_path):
    assert store_name(screening(tmp_path)) == str(tmp_path / "results.sqlite")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("absent/results.sqlite", "does not exist"),
        (".", "is a directory"),
        ("broken.sqlite", "can't be opened"),
        ("postgres://localhost/db", "give a file or mongodb://"),
        ("mongodb://localhost:27099", "names no database"),
    ],
)
def test_a_store_that_cannot_be_opened_is_bad_input(tmp_path, address, words):
    (tmp_path / "broken.sqlite").write_text("no database, only text\n" * 50)
    with pytest.raises(InputError) as caught:
        open_job_store(screening(tmp_path, store=address))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_bad_input(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission"):
        open_job_store(screening(tmp_path))


@pytest.mark.parametrize("password", ["s3cr%2Ft", "s3cr/t", "s3cr?t", "s3cr#t@x", "s3cr:t"])
def test_passwords_are_never_shown(tmp_path, monkeypatch, caplog, password):
    monkeypatch.setattr("ionsieve.workflows.store.opening._MONGO_TIMEOUT_MS", 50)
    caplog.set_level(logging.DEBUG)
    address = f"mongodb://anna:{password}@localhost:27099/results?retryWrites=true"
    settings = screening(tmp_path, store=address)
    with pytest.raises(InputError) as caught:
        open_job_store(settings)
    error = caught.value
    shown = f"{error}{error.__cause__}{caplog.text}{store_name(settings)}"
    assert "MongoDB doesn't answer" in shown
    for secret in ("s3cr", "anna"):
        assert secret not in shown
    assert store_name(settings) == "mongodb://localhost:27099/results?retryWrites=true"


@pytest.mark.parametrize("address", ["mongodb://h:99999/db", "mongodb://[::1/db"])
def test_a_malformed_address_is_bad_input(tmp_path, address):
    with pytest.raises(InputError, match="correct address and login"):
        open_job_store(screening(tmp_path, store=address))


def results_of(settings):
    return Results(settings, open_job_store(settings))


def test_the_same_results_from_mongodb(tmp_path, mongo):
    here, there = screening(tmp_path), screening(tmp_path, store=f"{ADDRESS}/results")
    for settings in (here, there):
        with open_job_store(settings) as job_store:
            Imagined(settings, job_store).run(6)
            job_store.update(
                {"uuid": "b", "index": 1, "output": {"trajectory": "xyz"}},
                save={"data": "trajectory"},
            )
            loaded = job_store.query_one({"uuid": "b"}, load=True)
            assert loaded["output"]["trajectory"] == "xyz"
    hidden = ("provenance", "uuids", "source_hash", "_id")
    where = "passed or 'W6+' in dopants and not sigma_short_s_cm > 2e-3"
    found = [
        [
            {name: value for name, value in document.items() if name not in hidden}
            for document in results_of(settings).find("conductors", where, "-sigma_long_s_cm").rows
        ]
        for settings in (here, there)
    ]
    assert found[0] == found[1] != []
    address, options = mongo[0]
    assert (options["username"], options["password"]) == ("anna", "s3cr/t")
    assert "anna" not in address


def test_the_report_names_the_store_without_password(tmp_path, mongo):
    settings = screening(tmp_path, store=f"{ADDRESS}/results")
    with open_job_store(settings) as job_store:
        Imagined(settings, job_store).plan()
        page = render(read_contents(Results(settings, job_store)))
    assert "mongodb://localhost:27099/results" in page
    assert SECRET not in page
    assert "anna" not in page


def test_two_collections_are_two(tmp_path):
    settings = screening(tmp_path)
    with open_collection(settings, "mothers") as mothers:
        mothers.update({"document_id": "x"})
    with open_collection(settings, "conductors") as conductors:
        assert conductors.count() == 0
