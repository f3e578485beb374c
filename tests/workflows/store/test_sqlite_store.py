"""SQLiteStore gives what maggma's MemoryStore gives, and keeps what it has been given."""

import os
import pickle
import shutil
import sqlite3
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from maggma.core.store import StoreError
from maggma.stores import MemoryStore
from maggma.validators import JSONSchemaValidator
from monty.json import MontyDecoder

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.store.sqlite.query import prefilter
from ionsieve.workflows.store.sqlite.store import SQLiteStore

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.1, -2.5, 1.0, 0.30000000000000004, 1e300, float("inf"), -float("inf")]),
    st.sampled_from(["", "a", "b", "B", "[", '{"$date":', "é", "a\0b", "true", "1"]),
    st.datetimes(datetime(2000, 1, 1), datetime(2000, 1, 3)).map(
        lambda time: time.replace(microsecond=0, fold=0)
    ),
    st.sampled_from([ObjectId(b"a" * 12), ObjectId(b"b" * 12)]),
)
FIELDS = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=3), max_size=8)
PATHS = st.sampled_from(["a", "b", "a.a", "a.b", "b.c", "a.b.c", "a.0", "nowhere"])
OPERATORS = st.one_of(
    st.builds(
        lambda name, value: {name: value},
        st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]),
        SCALARS,
    ),
    st.builds(
        lambda name, values: {name: values},
        st.sampled_from(["$in", "$nin"]),  # codespell:ignore nin
        st.lists(SCALARS, max_size=3),
    ),
    st.builds(lambda low, high: {"$gte": low, "$lt": high}, SCALARS, SCALARS),
    st.builds(lambda flag: {"$exists": flag}, st.booleans()),
)
CONDITIONS = st.builds(lambda path, test: {path: test}, PATHS, SCALARS | OPERATORS)
CRITERIA = st.recursive(
    CONDITIONS,
    lambda inner: st.builds(
        lambda name, parts: {name: parts},
        st.sampled_from(["$and", "$or", "$nor"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=4,
)
RANDOM = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path):
    with SQLiteStore(tmp_path / "store.sqlite", "things", key="n") as store:
        yield store


@pytest.fixture
def memory():
    with MemoryStore(key="n") as memory:
        yield memory


def refill(stores, documents):
    for store in stores:
        store.remove_docs({})
        store.update([{"n": number, **document} for number, document in enumerate(documents)])


def outcome(action):
    try:
        return action()
    except Exception as error:
        return type(error).__name__


def without_id(documents):
    return [{key: value for key, value in each.items() if key != "_id"} for each in documents]


@RANDOM
@given(documents=DOCUMENTS, criteria=CRITERIA, path=PATHS)
def test_finds_what_memory_store_finds(store, memory, documents, criteria, path):
    refill([store, memory], documents)
    store.ensure_index(path)
    expected = outcome(lambda: without_id(memory.query(criteria)))
    assert outcome(lambda: without_id(store.query(criteria))) == expected
    if isinstance(expected, list):
        assert store.count(criteria) == len(expected)
        for each in (store, memory):
            each.remove_docs(criteria)
        assert without_id(store.query()) == without_id(memory.query())


@RANDOM
@given(
    documents=DOCUMENTS,
    sort=st.dictionaries(st.sampled_from(["a", "b", "a.b"]), st.sampled_from([1, -1]), min_size=1),
    skip=st.integers(0, 3),
    limit=st.integers(0, 3),
)
def test_sorts_as_memory_store_does(store, memory, documents, sort, skip, limit):
    refill([store, memory], documents)
    page = {"sort": sort, "skip": skip, "limit": limit}
    expected = outcome(lambda: without_id(memory.query(**page)))
    assert outcome(lambda: without_id(store.query(**page))) == expected


@RANDOM
@given(
    document=st.dictionaries(
        FIELDS,
        st.recursive(
            SCALARS,
            lambda inner: (
                st.dictionaries(FIELDS, inner, max_size=3)
                | st.lists(st.dictionaries(FIELDS, inner, max_size=2), max_size=2)
            ),
            max_leaves=5,
        ),
        max_size=3,
    ),
    paths=st.sampled_from(
        [["a"], ["a", "b"], ["a.b"], ["a.b", "a.c", "c"], ["nowhere"], ["_id"], []]
    ),
    flag=st.sampled_from([0, 1, True, None]),
    with_id=st.booleans(),
)
def test_projects_as_memory_store_does(store, memory, document, paths, flag, with_id):
    refill([store, memory], [document])
    properties = list(paths) if flag is None else dict.fromkeys(paths, flag)
    if flag is not None and not with_id:
        properties["_id"] = 0
    # mongomock, unlike MongoDB, drops the scalar "a" when "a.b" is left out: tested below
    assume(flag != 0 or not any("." in path for path in paths))
    (expected,) = memory.query(properties=properties)
    (found,) = store.query(properties=properties)
    assert without_id([found]) == without_id([expected])
    assert ("_id" in found) == ("_id" in expected)


@RANDOM
@given(
    batches=st.lists(
        st.lists(
            st.fixed_dictionaries({"n": st.sampled_from([0, 1, 1.0, "1", None]), "m": SCALARS}),
            max_size=3,
        ),
        max_size=4,
    ),
    key=st.sampled_from([None, "m", ["n", "m"]]),
)
def test_replaces_as_memory_store_does(store, memory, batches, key):
    refill([store, memory], [])
    for batch in batches:
        for each in (store, memory):
            each.update(batch, key=key)
    assert without_id(store.query()) == without_id(memory.query())


@RANDOM
@given(document=st.dictionaries(st.text(min_size=1).filter(lambda k: k[0] not in "$"), VALUES))
def test_gives_back_the_same_document(store, document):
    document = {"n": 0, **{key: value for key, value in document.items() if key != "_id"}}
    store.remove_docs({})
    store.update(document)
    (found,) = without_id(store.query())
    assert found == document
    assert repr(found) == repr(document)  # 1, 1.0 and True are equal and yet not the same


def test_leaving_out_parts_of_a_field(store):
    store.update({"n": 1, "a": {"b": 1, "c": 2}, "d": [{"b": 1, "c": 2}, 5], "e": 3})
    left_out = {"_id": 0, "a.b": 0, "d.b": 0, "e.b": 0}
    assert list(store.query(properties=left_out)) == [
        {"n": 1, "a": {"c": 2}, "d": [{"c": 2}, 5], "e": 3}
    ]


@pytest.mark.parametrize("properties", [{"a": 1, "b": 0}, {"a": {"$slice": 1}}, ["a", "a.b"]])
def test_properties_that_make_no_sense(store, properties):
    store.update({"n": 1})
    with pytest.raises(IonSieveError, match="properties"):
        next(store.query(properties=properties))


def test_keeps_what_json_lacks(store):
    document = {
        "n": 1,
        "nan": float("nan"),
        "bytes": b"\0\xff",
        "small": -(2**63),
        "looks_tagged": {"$oid": "not an id", "deep": [{"$date": 5}]},
        "tagged": {"$numberDouble": {"$literal": 3}},
    }
    store.update(document)
    (found,) = without_id(store.query({"nan": float("nan")}))
    assert repr(found) == repr(document)


def test_times_are_utc_to_the_millisecond(store):
    local = datetime.fromisoformat("2026-05-01T12:00:00.123456+02:00")
    store.update({"n": 1, "t": local})
    found = store.query_one({"t": local})
    assert found["t"] == datetime(2026, 5, 1, 10, 0, 0, 123000)
    assert store.query_one({"t": {"$gt": local.astimezone(UTC) - timedelta(seconds=1)}})


@pytest.mark.parametrize(
    ("value", "message"), [(2**63, "64 bits"), ({"x": [2**70]}, r"v\.x\.0"), ("\ud800", "JSON")]
)
def test_refuses_what_it_cannot_keep(store, value, message):
    with pytest.raises(IonSieveError, match=message):
        store.update([{"n": 1}, {"n": 2, "v": value}])
    assert store.count() == 0


def test_documents_keep_their_id(store):
    store.update({"n": 1})
    identifier = store.query_one()["_id"]
    store.update({"n": 1, "x": 2})
    assert store.query_one({"_id": identifier})["x"] == 2
    store.update({"_id": "mine", "n": 2})
    assert [each["n"] for each in store.query({"_id": {"$in": ["mine"]}})] == [2]
    with pytest.raises(IonSieveError, match="leave _id out"):
        store.update({"_id": "other", "n": 2})


def test_a_document_without_its_key_is_refused(store):
    with pytest.raises(KeyError, match="n"):
        store.update({"m": 1})
    with pytest.raises(IonSieveError, match="begin with"):
        store.update({"n": 1, "$set": 2})


def test_several_fields_as_key(tmp_path):
    with SQLiteStore(tmp_path / "store.sqlite", key=["uuid", "index"]) as store:
        store.update([{"uuid": "u", "index": i} for i in (1, 2, 2)])
        assert store.count() == 2
        with pytest.raises(IonSieveError, match="one field"):
            store.newer_in(store)


def test_distinct_and_groupby(store):
    store.update(
        [
            {"n": 1, "a": [1, 2], "g": {"h": "x"}, "s": 3},
            {"n": 2, "a": 1.0, "g": {"h": "y"}, "s": 2},
            {"n": 3, "a": True, "g": {"h": "x"}, "s": 1},
            {"n": 4},
        ]
    )
    assert store.distinct("a") == [1, 2, True]
    assert store.distinct("g.h", {"n": {"$gt": 1}}) == ["y", "x"]
    groups = {key["g"]["h"]: documents for key, documents in store.groupby("g.h", sort={"s": 1})}
    assert {key: [each["n"] for each in group] for key, group in groups.items()} == {
        "x": [3, 1],
        "y": [2],
    }
    ((_, found), *_) = store.groupby(["g.h"], properties=["n"])
    assert set(found[0]) == {"_id", "n", "g"}


def test_unique_index(store):
    store.update([{"n": 1, "u": 1}, {"n": 2, "u": 2}])
    assert store.ensure_index("u", unique=True)
    with pytest.raises(IonSieveError, match="already there"):
        store.update([{"n": 3, "u": 3}, {"n": 4, "u": 2}])
    assert store.count() == 2
    store.update([{"n": 1, "v": 1}, {"n": 2, "v": 1}])
    assert not store.ensure_index("v", unique=True)
    assert not store.ensure_index("v.0")


def test_simple_queries_use_the_index(store):
    store.ensure_index("a.b")
    with sqlite3.connect(store.path) as connection:
        for test in (5, "x", {"$in": ["x", 1]}, {"$gt": 3, "$lt": 5}, {"$gte": "x"}, None):
            clause = prefilter({"a.b": test})
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN SELECT row FROM things WHERE {clause.sql}", clause.parameters
            ).fetchall()
            assert not [row for row in plan if row[3] == "SCAN things"], (test, plan)


def test_last_updated_and_newer_in(tmp_path):
    day = timedelta(days=1)
    start = datetime(2026, 1, 1)
    with (
        SQLiteStore(tmp_path / "store.sqlite", "old", key="n") as old,
        SQLiteStore(tmp_path / "store.sqlite", "new", key="n") as new,
    ):
        assert old.last_updated == datetime.min
        old.update([{"n": i, "last_updated": start + i * day} for i in range(3)])
        new.update([{"n": i, "last_updated": start + (i + 1) * day} for i in range(4)])
        assert old.last_updated == start + 2 * day
        assert sorted(old.newer_in(new)) == [2, 3]
        assert sorted(old.newer_in(new, exhaustive=True)) == [0, 1, 2, 3]
        assert sorted(old.newer_in(new, criteria={"n": 1}, exhaustive=True)) == [1]


def test_validator(tmp_path):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    with SQLiteStore(
        tmp_path / "store.sqlite", key="n", validator=JSONSchemaValidator(schema)
    ) as store:
        store.update([{"n": 1, "a": 1}, {"n": 2, "a": "x"}])
        assert store.distinct("n") == [2]


def test_serialization(store):
    store.update({"n": 1})
    for copy in (
        pickle.loads(pickle.dumps(store)),
        MontyDecoder().process_decoded(store.as_dict()),
    ):
        assert copy == store
        assert hash(copy) == hash(store)
        with pytest.raises(StoreError, match="connect"):
            copy.count()
        with copy:
            assert copy.count() == 1
    for options in ({"stamped": True}, {"read_only": True}):
        copy = MontyDecoder().process_decoded(
            SQLiteStore(store.path, "things", **options).as_dict()
        )
        assert {"stamped": copy.stamped, "read_only": copy.read_only}.items() >= options.items()
    assert store != SQLiteStore(store.path, "others", key="n")
    assert store != MemoryStore()


def test_reading_while_changing(store):
    store.update([{"n": i, "done": False} for i in range(120)])
    for document in store.query({"done": False}):
        store.update({"n": document["n"], "done": True})
    assert store.count({"done": True}) == 120


def test_threads_and_forked_processes(store):
    threads = [
        threading.Thread(target=lambda t=t: [store.update({"n": f"{t}-{i}"}) for i in range(20)])
        for t in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if child == 0:
        store.update({"n": "child"})
        store.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    store.update({"n": "parent"})
    assert store.count() == 62
    assert len(store.distinct("n")) == 62


def connect_fails(path, match):
    with pytest.raises(InputError, match=match):
        SQLiteStore(path).connect()


def test_paths_that_cannot_be_opened(tmp_path):
    connect_fails(tmp_path / "nowhere" / "store.sqlite", "does not exist")
    connect_fails(tmp_path, "directory")
    (tmp_path / "text").write_text("no database at all, only text\n" * 100)
    connect_fails(tmp_path / "text", "not a database")
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    connect_fails(tmp_path / "newer", "format 99")
    with pytest.raises(InputError, match="collection name"):
        SQLiteStore(tmp_path / "store.sqlite", 'bad"name')


@pytest.mark.parametrize(
    ("file_mode", "folder_mode"), [(0o444, 0o777), (0o666, 0o555), (0o666, 0o000)]
)
def test_without_permission(file_mode, folder_mode):
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    try:
        path = folder / "store.sqlite"
        with SQLiteStore(path):
            pass
        path.chmod(file_mode)
        folder.chmod(folder_mode)
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:  # root may write everywhere
                os.setuid(65534)
            try:
                SQLiteStore(path).connect()
            except InputError as error:
                os._exit(0 if "permission" in str(error) else 2)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        folder.chmod(0o777)
        shutil.rmtree(folder)
