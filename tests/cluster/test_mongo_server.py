"""The test server carries the real MongoDB clients that the project's backends use."""

import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

import gridfs
import pymongo
import pytest
from bson import ObjectId
from fireworks import FWorker, LaunchPad
from fireworks.core.rocket_launcher import rapidfire
from jobflow import Flow, JobStore, job, run_locally
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MongoStore
from maggma.stores.gridfs import GridFSStore
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from mongo_server import MongoServer

USER, PASSWORD = "us,er=x", "p@ss/w:rd %é"


@pytest.fixture
def server():
    with MongoServer() as server:
        yield server


@pytest.fixture
def collection(server):
    with pymongo.MongoClient(server.address, serverSelectionTimeoutMS=5000) as client:
        yield client.lab.samples


def test_connection_commands(collection):
    client = collection.database.client
    assert client.admin.command("ping") == {"ok": 1.0}
    assert client.server_info()["versionArray"][0] == 7
    assert client.is_primary
    with pytest.raises(OperationFailure, match="no such command") as caught:
        client.admin.command("shutdownEverything")
    assert caught.value.code == 59


def test_find_pages_through_batches_in_order_of_insertion(collection):
    collection.insert_many({"n": n, "even": n % 2 == 0} for n in range(1000))
    assert [each["n"] for each in collection.find(batch_size=70)] == list(range(1000))
    assert [each["n"] for each in collection.find().sort("n", -1).skip(10).limit(3)] == [
        989,
        988,
        987,
    ]
    assert collection.find_one({"n": {"$gt": 500}, "even": True}, {"_id": 0}) == {
        "n": 502,
        "even": True,
    }
    assert collection.count_documents({"even": False}) == 500
    assert collection.count_documents({"n": -1}) == 0
    assert collection.estimated_document_count() == 1000
    assert sorted(collection.distinct("even")) == [False, True]


def test_documents_beyond_one_message(collection):
    collection.insert_many({"n": n, "blob": b"x" * 6_000_000} for n in range(4))
    assert [len(each["blob"]) for each in collection.find()] == [6_000_000] * 4


def test_cursor_keeps_what_it_found(collection):
    collection.insert_many({"n": n} for n in range(300))
    cursor = collection.find(batch_size=10)
    first = next(cursor)
    collection.update_many({}, {"$set": {"n": -1}})
    collection.drop()
    assert [first["n"], *(each["n"] for each in cursor)] == list(range(300))
    with pytest.raises(OperationFailure) as caught:
        collection.database.command("getMore", 999_999, collection="samples")
    assert caught.value.code == 43


def test_updates(collection):
    collection.insert_many({"_id": n, "group": n % 3, "log": []} for n in range(9))
    assert collection.update_one({"group": 1}, {"$inc": {"count": 2}}).modified_count == 1
    result = collection.update_many(
        {"group": 1}, {"$push": {"log": "seen"}, "$set": {"where.host": 3}}
    )
    assert (result.matched_count, result.modified_count) == (3, 3)
    assert collection.update_many({"group": 1}, {"$set": {"where.host": 3}}).modified_count == 0
    assert collection.find_one({"_id": 1}) == {
        "_id": 1,
        "group": 1,
        "log": ["seen"],
        "count": 2,
        "where": {"host": 3},
    }
    collection.replace_one({"_id": 2}, {"new": True})
    assert collection.find_one({"_id": 2}) == {"_id": 2, "new": True}
    with pytest.raises(OperationFailure) as caught:
        collection.update_one({"_id": 3}, {"$set": {"_id": 33}})
    assert caught.value.code == 66
    assert collection.delete_one({"group": 0}).deleted_count == 1
    assert collection.delete_many({"group": 0}).deleted_count == 2
    assert collection.count_documents({}) == 6


def test_failed_update_changes_nothing(collection):
    collection.insert_one({"_id": 1, "a": 1, "text": "word"})
    with pytest.raises(OperationFailure):
        collection.update_one({"_id": 1}, {"$set": {"a": 2}, "$push": {"text": "more"}})
    assert collection.find_one() == {"_id": 1, "a": 1, "text": "word"}


def test_upserts_take_equalities_of_the_query(collection):
    result = collection.update_one(
        {"name": "Na3PS4", "n": {"$gt": 3}},
        {"$set": {"a.b": 1}, "$setOnInsert": {"made": 7}},
        upsert=True,
    )
    assert isinstance(result.upserted_id, ObjectId)
    document = collection.find_one({}, {"_id": 0})
    assert document == {"name": "Na3PS4", "a": {"b": 1}, "made": 7}
    collection.replace_one({"name": "Na2S"}, {"other": 1}, upsert=True)
    assert collection.find_one({"other": 1}, {"_id": 0}) == {"other": 1}
    collection.update_one({"_id": "chosen"}, {"$set": {"c": 1}}, upsert=True)
    assert collection.find_one({"_id": "chosen"}) == {"_id": "chosen", "c": 1}


def test_find_and_modify(collection):
    collection.insert_many({"n": n, "state": "ready"} for n in (3, 1, 2))
    taken = collection.find_one_and_update(
        {"state": "ready"}, {"$set": {"state": "taken"}}, sort=[("n", 1)]
    )
    assert (taken["n"], taken["state"]) == (1, "ready")
    after = collection.find_one_and_update(
        {"n": 9}, {"$set": {"state": "new"}}, {"_id": 0}, upsert=True, return_document=True
    )
    assert after == {"n": 9, "state": "new"}
    assert collection.find_one_and_delete({"n": 9})["n"] == 9
    assert collection.find_one_and_update({"n": 9}, {"$set": {"x": 1}}) is None
    assert collection.find_one_and_replace({"n": 2}, {"n": 22}, {"_id": 0}) == {
        "n": 2,
        "state": "ready",
    }


def test_unique_index_is_enforced_everywhere(collection):
    collection.create_index("key", unique=True)
    collection.insert_many([{"key": 1}, {"key": 2}])
    with pytest.raises(DuplicateKeyError) as caught:
        collection.insert_one({"key": 1.0})
    assert caught.value.code == 11000
    assert caught.value.details["keyValue"] == {"key": 1.0}
    with pytest.raises(BulkWriteError) as caught:
        collection.insert_many([{"key": 3}, {"key": 2}, {"key": 4}], ordered=False)
    assert [error["index"] for error in caught.value.details["writeErrors"]] == [1]
    with pytest.raises(DuplicateKeyError):
        collection.update_one({"key": 1}, {"$set": {"key": 2}})
    with pytest.raises(DuplicateKeyError):
        collection.find_one_and_update({"key": 1}, {"$set": {"key": 2}})
    with pytest.raises(DuplicateKeyError):
        collection.update_one({"other": 1}, {"$set": {"key": 2}}, upsert=True)
    with pytest.raises(DuplicateKeyError):
        collection.insert_one({"_id": collection.find_one()["_id"], "key": 5})
    collection.insert_one({"nothing": 1})
    with pytest.raises(DuplicateKeyError, match="key_1"):
        collection.insert_one({"nothing": 2})
    assert sorted(each.get("key", 0) for each in collection.find()) == [0, 1, 2, 3, 4]
    collection.delete_one({"key": 1})
    collection.insert_one({"key": True})  # true is no number
    collection.insert_one({"key": 1})


def test_kinds_of_unique_indexes(collection):
    database = collection.database
    database.compound.create_index([("a", 1), ("b", -1)], unique=True)
    database.compound.insert_many([{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}])
    with pytest.raises(DuplicateKeyError):
        database.compound.insert_one({"b": 2, "a": 1})
    database.sparse.create_index("a.b", unique=True, sparse=True)
    database.sparse.insert_many([{"n": 1}, {"a": 1}, {"a": {"b": 1}}])
    with pytest.raises(DuplicateKeyError):
        database.sparse.insert_one({"a": {"b": 1}})
    database.partial.create_index("a", unique=True, partialFilterExpression={"live": {"$eq": True}})
    database.partial.insert_many([{"a": 1, "live": True}, {"a": 1}, {"a": 1}])
    with pytest.raises(DuplicateKeyError):
        database.partial.update_many({}, {"$set": {"live": True}})
    collection.insert_many([{"a": 1}, {"a": 1}])
    with pytest.raises(DuplicateKeyError):
        collection.create_index("a", unique=True)
    assert list(collection.index_information()) == ["_id_"]


def test_one_of_many_concurrent_inserts_and_upserts_wins(collection):
    collection.create_index("key", unique=True)
    outcomes, start = [], threading.Barrier(8)

    def compete(upsert):
        start.wait()
        for key in range(20):
            try:
                if upsert:
                    collection.update_one({"key": key}, {"$inc": {"hits": 1}}, upsert=True)
                else:
                    collection.insert_one({"key": key})
                outcomes.append((upsert, key))
            except DuplicateKeyError:
                pass

    threads = [threading.Thread(target=compete, args=(n % 2 == 0,)) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(collection.distinct("key")) == list(range(20))
    assert collection.count_documents({}) == 20
    hits = sum(each.get("hits", 0) for each in collection.find())
    assert hits == sum(upsert for upsert, _ in outcomes) == 80
    assert len({key for upsert, key in outcomes if not upsert}) == len(outcomes) - 80


@pytest.mark.parametrize(
    "query",
    [
        {"a": 1},
        {"a": None},
        {"a": {"$eq": 2}, "b.c": "x"},
        {"a": {"$in": [1, None, 7]}},
        {"b.c": "y"},
        {"$and": [{"a": 2}, {"tags": "t1"}]},
        {"tags": "t2"},
        {"tags": ["t1", "t2"]},
        {"$or": [{"a": 1}, {"b.c": "y"}]},
        {"a": {"$ne": 1}},
        {"b": {"c": "x"}},
    ],
)
def test_index_finds_what_a_scan_finds(collection, query):
    documents = [
        {"a": 1, "b": {"c": "x"}},
        {"a": 1.0, "tags": ["t1", "t2"]},
        {"a": 2, "b": {"c": "x"}, "tags": ["t1"]},
        {"a": [1, 2], "b": [{"c": "y"}, {"c": "x"}]},
        {"a": None},
        {"a": 7, "tags": "t2", "b": 3},
        {"tags": []},
    ]
    scanned = collection.database.scanned
    for target in (collection, scanned):
        target.insert_many({"_id": n, **each} for n, each in enumerate(documents))
    for field in ("a", "b.c", "tags"):
        collection.create_index(field)
    expected = {each["_id"] for each in scanned.find(query)}
    assert {each["_id"] for each in collection.find(query)} == expected
    for target in (collection, scanned):  # and again once the keys have changed
        target.update_many({"a": 1}, {"$set": {"a": 7, "tags": "t1"}})
        target.delete_one({"a": 2})
        target.update_one({"_id": 6}, {"$unset": {"tags": 1}, "$set": {"b.c": "y"}})
    expected = {each["_id"] for each in scanned.find(query)}
    assert {each["_id"] for each in collection.find(query)} == expected


def test_look_up_by_index_does_not_scan(collection, monkeypatch):
    import mongo_collection

    collection.create_index([("state", 1), ("key", 1)])
    collection.insert_many({"_id": n, "key": n, "state": "x"} for n in range(500))
    seen, applies = [], mongo_collection.filter_applies
    monkeypatch.setattr(
        mongo_collection,
        "filter_applies",
        lambda query, document: seen.append(document) or applies(query, document),
    )
    assert collection.find_one({"state": "x", "key": 77})["_id"] == 77
    assert collection.find_one({"_id": 78})["key"] == 78
    assert len(seen) == 2


def test_aggregation(collection):
    collection.insert_many({"n": n, "group": n % 3} for n in range(10))
    collection.database.names.insert_many({"g": g, "name": name} for g, name in enumerate("abc"))
    pipeline = [
        {"$match": {"n": {"$gt": 0}}},
        {"$group": {"_id": "$group", "total": {"$sum": "$n"}}},
        {"$lookup": {"from": "names", "localField": "_id", "foreignField": "g", "as": "names"}},
        {"$unwind": "$names"},
        {"$sort": {"_id": 1}},
        {"$project": {"_id": 0, "total": 1, "name": "$names.name"}},
    ]
    assert list(collection.aggregate(pipeline)) == [
        {"total": 18, "name": "a"},
        {"total": 12, "name": "b"},
        {"total": 15, "name": "c"},
    ]
    list(collection.aggregate([{"$set": {"n": 0}}]))
    assert collection.count_documents({"n": 0}) == 1


def test_collections_and_indexes_come_and_go(collection):
    database, client = collection.database, collection.database.client
    assert list(collection.list_indexes()) == []
    collection.create_index("a", background=True)
    collection.create_index("a")
    with pytest.raises(OperationFailure) as caught:
        collection.create_index("a", unique=True)
    assert caught.value.code == 86
    assert collection.index_information() == {
        "_id_": {"v": 2, "key": [("_id", 1)]},
        "a_1": {"v": 2, "key": [("a", 1)]},
    }
    collection.drop_index("a_1")
    with pytest.raises(OperationFailure) as caught:
        collection.drop_index("a_1")
    assert caught.value.code == 27
    collection.create_index("b")
    collection.drop_indexes()
    assert list(collection.index_information()) == ["_id_"]
    database.create_collection("made")
    assert sorted(database.list_collection_names()) == ["made", "samples"]
    assert database.list_collection_names(filter={"name": "made"}) == ["made"]
    database.drop_collection("made")
    database.drop_collection("never made")
    assert client.list_database_names() == ["lab"]
    client.drop_database("lab")
    assert client.list_database_names() == []


def test_gridfs(collection):
    files = gridfs.GridFS(collection.database)
    content = os.urandom(700_000)
    number = files.put(content, filename="blob", metadata={"a": 1})
    assert files.get(number).read() == content
    assert files.find_one({"metadata.a": 1})._id == number
    files.delete(number)
    assert not files.exists(number)


def test_login():
    with MongoServer(USER, PASSWORD) as server:
        with pymongo.MongoClient(server.address) as client:
            client.lab.samples.insert_one({"a": 1})
        place = f"mongodb://{server.host}:{server.port}"
        with pymongo.MongoClient(place) as client, pytest.raises(OperationFailure) as caught:
            client.lab.samples.find_one()
        assert caught.value.code == 13
        for wrong in ({"password": "guess"}, {"username": "guess"}):
            login = {"username": USER, "password": PASSWORD, **wrong}
            with (
                pymongo.MongoClient(place, **login) as client,
                pytest.raises(OperationFailure) as caught,
            ):
                client.lab.samples.find_one()
            assert caught.value.code == 18
        assert PASSWORD not in server.address


def test_server_outage():
    server = MongoServer()
    server.start()
    with pymongo.MongoClient(server.address, serverSelectionTimeoutMS=1500) as client:
        client.lab.samples.insert_one({"a": 1})
        server.stop()
        with pytest.raises(pymongo.errors.ConnectionFailure):
            client.lab.samples.find_one()
        server.start()
        assert client.lab.samples.find_one({}, {"_id": 0}) == {"a": 1}
        server.stop()


def test_foreground_server_serves_many_processes(tmp_path):
    script = Path(__file__).parents[1] / "mongo_server.py"
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            client_code = (
                "import pymongo, sys\n"
                "samples = pymongo.MongoClient(sys.argv[1]).lab.samples\n"
                "for n in range(50): samples.update_one({}, {'$inc': {'n': 1}}, upsert=True)\n"
            )
            with pymongo.MongoClient(address) as client:
                client.lab.samples.insert_one({"n": 0})
                clients = [
                    subprocess.Popen([sys.executable, "-c", client_code, address]) for _ in range(4)
                ]
                assert [each.wait() for each in clients] == [0] * 4
                assert [each["n"] for each in client.lab.samples.find()] == [200]
        finally:
            process.terminate()


@job(data="blob")
def add(a, b):
    return {"sum": a + b, "blob": list(range(1000))}


def test_jobflow_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with MongoServer(USER, PASSWORD) as server:
        login = {
            "host": server.host,
            "port": server.port,
            "username": USER,
            "password": PASSWORD,
            "auth_source": "admin",
        }
        store = JobStore(
            MongoStore("lab", "outputs", **login),
            additional_stores={"data": GridFSStore("lab", "blobs", **login)},
        )
        first = add(1, 2)
        second = add(first.output["sum"], 3)
        run_locally(Flow([first, second]), store=store, log=False, ensure_success=True)
        store.connect()
        assert store.count() == 2
        assert store.get_output(second.uuid, load=True) == {"sum": 6, "blob": list(range(1000))}
        assert store.docs_store.distinct("name") == ["add"]
        ((group, documents),) = store.docs_store.groupby("name", properties=["uuid"])
        assert group == {"name": "add"}
        assert {each["uuid"] for each in documents} == {first.uuid, second.uuid}
        store.remove_docs({"uuid": first.uuid})
        assert store.count() == 1
        store.close()


@pytest.fixture
def launchpad(server, tmp_path, monkeypatch):
    """Two chained jobs and one that fails, in a launch pad at its initial state."""
    monkeypatch.chdir(tmp_path)
    launchpad = LaunchPad(host=server.address, uri_mode=True, name="fw", strm_lvl="CRITICAL")
    launchpad.reset("", require_password=False)
    launchpad.to_file("my_launchpad.yaml")
    store = JobStore(MongoStore("fw", "outputs", host=server.host, port=server.port))
    mean = job(statistics.mean)
    first = mean([1, 2, 3])
    flow = Flow([first, mean([first.output, 4])], name="chain")
    launchpad.add_wf(flow_to_workflow(flow, store))
    launchpad.add_wf(flow_to_workflow(Flow([mean([])], name="fails"), store))
    return launchpad


def test_fireworks_launchpad(launchpad):
    rapidfire(launchpad, FWorker(), strm_lvl="CRITICAL")
    assert len(launchpad.get_fw_ids({"state": "COMPLETED"})) == 2
    assert sorted(each["output"] for each in launchpad.db.outputs.find()) == [2, 3]
    (fizzled,) = launchpad.get_fw_ids({"state": "FIZZLED"})
    launchpad.rerun_fw(fizzled)
    _, launch = launchpad.checkout_fw(FWorker(), launch_dir=".")
    # Running now although an earlier launch failed: FireWorks calls that inconsistent as well.
    assert launchpad.detect_lostruns(expiration_secs=-1) == ([launch], [fizzled], [fizzled])
    launchpad.detect_lostruns(expiration_secs=-1, fizzle=True)
    assert launchpad.get_fw_ids({"state": "FIZZLED"}) == [fizzled]
    launchpad.reset("", require_password=False)
    assert launchpad.get_fw_ids() == []


def test_fireworks_commands(launchpad, tmp_path):
    programs = Path(sys.executable).parent
    subprocess.run([programs / "rlaunch", "-s", "rapidfire"], check=True, capture_output=True)
    listing = subprocess.run(
        [programs / "lpad", "get_fws", "-s", "COMPLETED", "-d", "count"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert listing.stdout.strip() == "2"
    assert sorted(each["output"] for each in launchpad.db.outputs.find()) == [2, 3]
