"""Opening a store to read it writes nothing, and sees what has been written."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.store.errors import NothingStoredError
from ionsieve.workflows.store.opening import open_collection, open_job_store
from ionsieve.workflows.store.sqlite.store import SQLiteStore
from synthetic_results import screening


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def filled(path, count=10):
    with SQLiteStore(path, "things", key="n") as store:
        store.update([{"n": n, "long": [n] * 2000} for n in range(count)])


def reader(path, name="things"):
    return SQLiteStore(path, name, key="n", read_only=True)


def test_reading_leaves_no_trace(tmp_path):
    filled(tmp_path / "s.sqlite")
    before = contents(tmp_path)
    assert list(before) == ["s.sqlite"]
    with reader(tmp_path / "s.sqlite") as store:
        assert store.count() == 10
        assert store.query_one({"n": 3})["long"] == [3] * 2000
        assert [d["n"] for d in store.query(sort={"n": -1}, limit=2)] == [9, 8]
        assert contents(tmp_path) == before
        with pytest.raises(IonSieveError, match="reading only"):
            store.update({"n": 11})
        with pytest.raises(IonSieveError, match="reading only"):
            store.remove_docs({})
    assert contents(tmp_path) == before


def test_a_missing_collection_is_empty(tmp_path):
    filled(tmp_path / "s.sqlite")
    with reader(tmp_path / "s.sqlite", "others") as store:
        assert store.count() == 0
        assert list(store.query({"n": 1}, sort={"n": 1})) == []
        assert store.distinct("n") == []


@pytest.mark.parametrize("make", [None, Path.touch, lambda path: sqlite3.connect(path).close()])
def test_before_the_first_run_nothing_is_made(tmp_path, make):
    settings = screening(tmp_path)
    if make:
        make(tmp_path / "results.sqlite")
    before = contents(tmp_path)
    for opening in (
        lambda: open_job_store(settings, read_only=True),
        lambda: open_collection(settings, "conductors", read_only=True),
    ):
        with pytest.raises(NothingStoredError, match="nothing has run yet") as caught:
            opening()
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, InputError)
    assert contents(tmp_path) == before


def test_a_store_without_outputs_is_nothing_in_mongodb_as_well(tmp_path, mongo):
    settings = screening(tmp_path, store="mongodb://localhost/results")
    with pytest.raises(NothingStoredError):
        open_job_store(settings, read_only=True)
    with open_job_store(settings) as store:
        store.update({"uuid": "a", "index": 1})
    with open_job_store(settings, read_only=True) as store:
        assert store.count() == 1


@pytest.mark.parametrize("text", ["no database, only text\n" * 50, "x"])
def test_another_kind_of_file_is_bad_input(tmp_path, text):
    (tmp_path / "results.sqlite").write_text(text)
    with pytest.raises(InputError, match="can't be opened"):
        open_job_store(screening(tmp_path), read_only=True)
    with pytest.raises(InputError, match="does not exist"):
        open_job_store(screening(tmp_path, store="absent/s.sqlite"), read_only=True)


WRITER = """
import sys, time
from ionsieve.workflows.store.sqlite.store import SQLiteStore
store = SQLiteStore(sys.argv[1], "things", key="n")
store.connect()
store.update({"n": "live"})
print("ready", flush=True)
for line in sys.stdin:
    store.update({"n": line.strip()})
    print("done", flush=True)
store.close()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that has the store open and writes on demand."""
    filled(tmp_path / "s.sqlite")
    command = [sys.executable, "-c", WRITER, str(tmp_path / "s.sqlite")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def write(process, name):
    process.stdin.write(f"{name}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_what_a_live_writer_has_written_is_seen(tmp_path, writer):
    with reader(tmp_path / "s.sqlite") as store:
        assert store.count({"n": "live"}) == 1
        write(writer, "later")
        assert store.count({"n": "later"}) == 1
        assert store.count() == 12


def test_what_a_killed_writer_has_written_is_seen(tmp_path, writer):
    write(writer, "last")
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert (tmp_path / "s.sqlite-wal").stat().st_size > 0
    with reader(tmp_path / "s.sqlite") as store:
        assert store.count({"n": "last"}) == 1
    # Nor if the shared memory is gone, as after a copy to another machine.
    (tmp_path / "s.sqlite-shm").unlink()
    before = contents(tmp_path)
    with reader(tmp_path / "s.sqlite") as store:
        assert store.count({"n": "last"}) == 1
    assert contents(tmp_path) == before


def test_a_writer_that_comes_while_reading_is_seen(tmp_path):
    filled(tmp_path / "s.sqlite")
    with reader(tmp_path / "s.sqlite") as store:
        assert store.count() == 10
        found = store.query()
        assert next(found)["n"] == 0
        filled(tmp_path / "s.sqlite", 40)  # opens, writes, checkpoints and closes
        assert store.count() == 40
        assert [each["n"] for each in found] == list(range(1, 10))
        with SQLiteStore(tmp_path / "s.sqlite", "things", key="n") as other:
            other.update({"n": "more"})
            assert store.count() == 41


def test_reading_while_others_write_gives_whole_documents(tmp_path):
    path = tmp_path / "s.sqlite"
    filled(path)
    stop = threading.Event()

    def keep_writing():
        number = 0
        while not stop.is_set():
            number += 1
            with SQLiteStore(path, "things", key="n") as store:
                store.update([{"n": n, "long": [number] * (1500 + number)} for n in range(10)])

    thread = threading.Thread(target=keep_writing)
    thread.start()
    try:
        end = time.monotonic() + 3
        with reader(path) as store:
            while time.monotonic() < end:
                for document in store.query(properties=["long", "n"]):
                    numbers = set(document["long"])
                    assert len(numbers) == 1
    finally:
        stop.set()
        thread.join()


def as_another_user(action):
    """Run something in a process that may not write everywhere, and return what it prints."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            os.write(ends[1], str(action()).encode())
        except BaseException as error:
            os.write(ends[1], f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(ends[1])
    with os.fdopen(ends[0]) as text:
        return text.read()


@pytest.fixture
def public_folder():
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("with_log", [False, True])
def test_a_store_that_may_not_be_written_is_read(public_folder, with_log):
    path = public_folder / "s.sqlite"
    filled(path)
    if with_log:
        # A writer that still has the file open, or was killed.
        other = SQLiteStore(path, "things", key="n")
        other.connect()
        other.update({"n": "live"})
        for file in public_folder.iterdir():
            shutil.copy(file, public_folder / file.name.replace("s.", "copy."))
        other.close()
        path = public_folder / "copy.sqlite"
    for file in public_folder.iterdir():
        file.chmod(0o444)
    public_folder.chmod(0o555)
    before = contents(public_folder)

    def read():
        with reader(path) as store:
            return store.count()

    assert as_another_user(read) == ("11" if with_log else "10")
    assert contents(public_folder) == before


def test_no_permission_to_read_is_one_line(public_folder):
    filled(public_folder / "s.sqlite")
    (public_folder / "s.sqlite").chmod(0o000)
    message = as_another_user(reader(public_folder / "s.sqlite").connect)
    assert message.startswith("InputError: store")
    assert "no permission to read it" in message


def test_threads_and_forks_share_a_reader(public_folder):
    filled(public_folder / "s.sqlite")
    with reader(public_folder / "s.sqlite") as store:
        counts = []
        threads = [threading.Thread(target=lambda: counts.append(store.count())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [10] * 4
        assert as_another_user(store.count) == "10"
        assert store.count() == 10
