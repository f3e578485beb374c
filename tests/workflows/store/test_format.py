"""The file of a store: long parts apart, other versions, and disks that are full."""

import os
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.store.sqlite import parts, table
from ionsieve.workflows.store.sqlite.store import SQLiteStore

LEAVES = st.one_of(
    st.integers(-5, 5),
    st.binary(max_size=5),
    st.sampled_from(["$part", "$bytes", "$literal", "x" * 50, "é\0"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "$part", "$date"]), inner, max_size=3)
        | st.builds(lambda *items: list(items), st.sampled_from(["$part", "$bytes"]), inner, inner)
    ),
    max_leaves=12,
)


@pytest.fixture(params=[True, False])
def splitting(request, monkeypatch):
    """Keep nearly everything apart, or only what is large."""
    if request.param:
        for name in ("_SHORT_DOCUMENT", "_LONG_LIST", "_LONG_TEXT"):
            monkeypatch.setattr(parts, name, 2)
        monkeypatch.setattr(table, "_SMALL_PARTS_BYTES", 10)


def without_id(documents):
    return [{key: value for key, value in each.items() if key != "_id"} for each in documents]


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    documents=st.lists(st.dictionaries(st.sampled_from(["a", "b"]), VALUES), max_size=4),
    value=VALUES,
)
def test_parts_make_no_difference(tmp_path, splitting, documents, value):
    expected = [{"n": n, **document} for n, document in enumerate(documents)]
    with SQLiteStore(tmp_path / "s.sqlite", key="n") as store:
        store.remove_docs({})
        store.update(expected)
        assert repr(without_id(store.query())) == repr(expected)
        only_a = [each.get("a") for each in store.query(properties={"a": 1, "_id": 0})]
        assert repr(only_a) == repr([each.get("a") for each in expected])
        found = without_id(store.query({"a": {"$eq": value}}))
        same = [each for each in expected if each.get("a") == value and "a" in each]
        assert [each for each in same if each not in found] == []
        assert store.count({"a": {"$exists": True}}) == sum("a" in each for each in expected)


def test_parts_are_replaced_and_removed_with_their_document(tmp_path):
    path = tmp_path / "s.sqlite"
    with SQLiteStore(path, "things", key="n") as store:
        store.update([{"n": n, "x": list(range(5000)), "y": b"\0" * 100} for n in range(3)])
        store.update({"n": 1, "x": 5})
        store.remove_docs({"n": 2})
        assert [each["x"] for each in store.query()] == [list(range(5000)), 5]
    with sqlite3.connect(path) as connection:
        assert connection.execute('SELECT count(*) FROM "things:parts"').fetchone() == (1,)
        (text,) = connection.execute("SELECT doc FROM things WHERE row = 1").fetchone()
    connection.close()
    assert len(text) < 150


def write_version_1(path):
    """Write what 0.1.0-dev wrote."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for name in ("jobs", "blobs"):
            connection.execute(
                f"CREATE TABLE {name} "
                "(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, doc TEXT NOT NULL)"
            )
        for n, rest in enumerate(
            (
                '"b":{"$binary":"AAEC/w=="}',
                '"l":["$part",0,5],"m":["$literal"]',
                '"d":{"$date":"2026-05-01T10:00:00.000"}',
            )
        ):
            connection.execute(
                "INSERT INTO jobs (id, doc) VALUES (?, ?)", (f'"{n}"', f'{{"n":{n},{rest}}}')
            )
        connection.execute("PRAGMA user_version = 1")
    connection.close()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_store_of_0_1_0_dev_is_read(tmp_path, read_only):
    path = tmp_path / "s.sqlite"
    write_version_1(path)
    with SQLiteStore(path, "jobs", key="n", read_only=read_only) as store:
        assert store.query_one({"n": 0})["b"] == b"\0\1\2\xff"
        document = store.query_one({"n": 1})
        assert (document["l"], document["m"]) == (["$part", 0, 5], ["$literal"])
        assert store.query_one({"n": 2})["d"].year == 2026


def test_a_store_of_0_1_0_dev_is_brought_up_to_date_by_the_first_that_writes(tmp_path):
    path = tmp_path / "s.sqlite"
    write_version_1(path)
    with SQLiteStore(path, "jobs", key="n", stamped=True) as store:
        store.update({"n": 1, "l": ["$part", 0, 5], "x": b"bytes" * 9})
        assert store.query_one({"n": 1})["l"] == ["$part", 0, 5]
        assert store.query_one({"n": 1})["x"] == b"bytes" * 9
        assert store.query_one({"n": 0})["b"] == b"\0\1\2\xff"
        assert [d["n"] for d in store.query(sort={"sequence": -1}, limit=1)] == [1]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(("version", "words"), [(99, "format 99.*update"), (0, "another program")])
def test_files_of_others_are_refused(tmp_path, read_only, version, words):
    path = tmp_path / "s.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match=words) as caught:
        SQLiteStore(path, "jobs", read_only=read_only).connect()
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["s.sqlite"]


FILLER = """
import resource, sys
from ionsieve.workflows.store.sqlite.store import SQLiteStore
store = SQLiteStore(sys.argv[1], "things", key="n")
store.connect()
store.update({"n": "first"})
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
for n in range(1000):
    try:
        store.update({"n": n, "x": "y" * 50_000})
    except Exception as error:
        print(n, type(error).__name__, error)
        break
"""


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    path = tmp_path / "s.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    number, kind, message = line.split(" ", 2)
    assert kind == "IonSieveError"
    for words in (f"store {path}: the disk is full or fails", "MB left there", "make room"):
        assert words in message
    with SQLiteStore(path, "things", key="n") as store:
        assert store.distinct("n") == ["first", *range(int(number))]
        store.update({"n": "more room"})
        assert store.count() == int(number) + 2


def test_damage_is_one_line(tmp_path):
    path = tmp_path / "s.sqlite"
    with SQLiteStore(path, "things", key="n") as store:
        store.update([{"n": n, "x": list(range(2000))} for n in range(300)])
    with open(path, "r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 50))
    with (
        SQLiteStore(path, "things", key="n") as store,
        pytest.raises(IonSieveError, match="damaged") as caught,
    ):
        list(store.query())
    assert "\n" not in str(caught.value)
