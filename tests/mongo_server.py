"""A small server speaking the MongoDB wire protocol, for tests and benchmarks only.

It lets the real clients (pymongo, maggma, jobflow, FireWorks and its commands, in any number of
processes) run where no MongoDB can be installed. Data live in memory and go with the process.
Queries, updates and pipelines have mongomock's semantics; storage, unique indexes, look-ups
by index, cursors and SCRAM-SHA-256 log-in are done here. One lock makes every command atomic.

It is not a database: no persistence, replication, transactions, TTL, text or geographic indexes,
users other than the one given, nor TLS. Hints, read and write concerns are accepted and ignored.

    with MongoServer() as server:
        client = pymongo.MongoClient(server.address)

    python tests/mongo_server.py --port 27017
"""

import argparse
import base64
import contextlib
import hashlib
import hmac
import itertools
import secrets
import signal
import socket
import socketserver
import struct
import threading
from collections import defaultdict, deque
from datetime import UTC, datetime
from urllib.parse import quote_plus

import bson
from bson.raw_bson import RawBSONDocument
from mongomock_ng.filtering import filter_applies
from pymongo.saslprep import saslprep

from mongo_collection import Collection, CommandError, project

MAX_DOCUMENT_BYTES = 16 * 1024**2
MAX_MESSAGE_BYTES = 48_000_000
FIRST_BATCH_DOCUMENTS = 101
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
SCRAM_ITERATIONS = 4096
WITHOUT_LOGIN = {"hello", "ismaster", "saslstart", "saslcontinue", "ping", "buildinfo"}


class MongoServer:
    """The server: starts in threads of this process on entering, stops on leaving.

    After `stop`, `start` serves the same data at the same address again, as after an outage.
    """

    def __init__(self, user=None, password=None, host="127.0.0.1", port=0):
        self.user, self.host, self.port = user, host, port
        self._login = f"{quote_plus(user)}:{quote_plus(password)}@" if user else ""
        if user:
            self._salt = secrets.token_bytes(16)
            self._salted = hashlib.pbkdf2_hmac(
                "sha256", saslprep(password).encode(), self._salt, SCRAM_ITERATIONS
            )
        self._databases = defaultdict(dict)  # name -> {name: Collection}
        self._cursors = {}  # id -> (namespace, documents still to send)
        self._cursor_ids = itertools.count(1)
        self._lock = threading.Lock()
        self._server = None
        self.connections = set()

    @property
    def address(self):
        return f"mongodb://{self._login}{self.host}:{self.port}"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self._server = _Listener((self.host, self.port), _Connection)
        self._server.mongo = self
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def run(self, command, session):
        """Carry out one command; `session` holds what the connection knows about its log-in."""
        name = next(iter(command))
        try:
            if self.user and not session.get("done") and name.lower() not in WITHOUT_LOGIN:
                raise CommandError(f"Command {name} requires authentication", 13)
            if "startTransaction" in command or "autocommit" in command:
                raise CommandError("Transactions need a replica set", 20)
            method = getattr(self, f"_do_{name.lower()}", None)
            if method is None:
                raise CommandError(f"no such command: '{name}'", 59)
            with self._lock:
                if name.lower().startswith("sasl"):
                    return {**method(command, session), "ok": 1.0}
                return {**method(command.get("$db", "admin"), command), "ok": 1.0}
        except Exception as error:
            return {"ok": 0.0, **self._error(error)}

    @staticmethod
    def _error(error):
        code = getattr(error, "code", None) or (
            238 if isinstance(error, NotImplementedError) else 2
        )
        details = getattr(error, "details", None) or {}
        return {**details, "code": code, "codeName": f"Error{code}", "errmsg": str(error)}

    def _read(self, database, name):
        return self._databases[database].get(name) or Collection(f"{database}.{name}")

    def _write_to(self, database, name):
        return self._databases[database].setdefault(name, self._read(database, name))

    # --- connection ---

    def _do_hello(self, _database, command):
        reply = {
            "helloOk": True,
            "ismaster": True,
            "isWritablePrimary": True,
            "maxBsonObjectSize": MAX_DOCUMENT_BYTES,
            "maxMessageSizeBytes": MAX_MESSAGE_BYTES,
            "maxWriteBatchSize": 100_000,
            "localTime": datetime.now(UTC),
            "logicalSessionTimeoutMinutes": 30,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": False,
        }
        if "saslSupportedMechs" in command:
            reply["saslSupportedMechs"] = ["SCRAM-SHA-256"]
        return reply

    _do_ismaster = _do_hello

    def _do_ping(self, _database, _command):
        return {}

    _do_endsessions = _do_ping

    def _do_buildinfo(self, _database, _command):
        return {"version": "7.0.0", "versionArray": [7, 0, 0, 0]}

    def _do_serverstatus(self, _database, _command):
        return {"version": "7.0.0", "connections": {"current": len(self.connections)}}

    def _do_saslstart(self, command, session):
        """Begin SCRAM-SHA-256 (RFC 5802 and 7677)."""
        first = bytes(command["payload"]).decode().split(",", 2)[2]
        fields = dict(part.split("=", 1) for part in first.split(","))
        user = fields["n"].replace("=2C", ",").replace("=3D", "=")
        if not self.user or command["mechanism"] != "SCRAM-SHA-256" or user != saslprep(self.user):
            raise CommandError("Authentication failed.", 18)
        session["nonce"] = fields["r"] + secrets.token_urlsafe(18)
        salt = base64.b64encode(self._salt).decode()
        challenge = f"r={session['nonce']},s={salt},i={SCRAM_ITERATIONS}"
        session["exchange"] = f"{first},{challenge}"
        return {"conversationId": 1, "done": False, "payload": challenge.encode()}

    def _do_saslcontinue(self, command, session):
        if session.get("done"):  # clients that do not skip the empty exchange
            return {"conversationId": 1, "done": True, "payload": b""}
        without_proof, proof = bytes(command["payload"]).decode().rsplit(",p=", 1)
        message = f"{session.pop('exchange')},{without_proof}".encode()
        client_key = hmac.digest(self._salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        expected = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        nonce = dict(part.split("=", 1) for part in without_proof.split(","))["r"]
        if nonce != session["nonce"] or not hmac.compare_digest(expected, base64.b64decode(proof)):
            raise CommandError("Authentication failed.", 18)
        session["done"] = True
        server_key = hmac.digest(self._salted, b"Server Key", "sha256")
        verifier = base64.b64encode(hmac.digest(server_key, message, "sha256"))
        return {"conversationId": 1, "done": True, "payload": b"v=" + verifier}

    # --- reading ---

    def _batch(self, cursor, namespace, documents, size, name="firstBatch", close=False):
        """Send up to `size` documents and 16 MB; keep the others for the cursor."""
        batch, total_bytes = [], 0
        while documents and (size is None or len(batch) < size):
            encoded = bson.encode(documents[0])
            total_bytes += len(encoded)
            if batch and total_bytes > MAX_DOCUMENT_BYTES:
                break
            batch.append(RawBSONDocument(encoded))
            documents.popleft()
        if documents and not close:
            self._cursors[cursor] = namespace, documents
        else:
            self._cursors.pop(cursor, None)
            cursor = 0
        return {"cursor": {"id": bson.Int64(cursor), "ns": namespace, name: batch}}

    def _first_batch(self, namespace, documents, size=FIRST_BATCH_DOCUMENTS, close=False):
        return self._batch(next(self._cursor_ids), namespace, deque(documents), size, close=close)

    def _do_getmore(self, _database, command):
        cursor = command["getMore"]
        if cursor not in self._cursors:
            raise CommandError(f"cursor id {cursor} not found", 43)
        namespace, documents = self._cursors[cursor]
        return self._batch(cursor, namespace, documents, command.get("batchSize"), "nextBatch")

    def _do_killcursors(self, _database, command):
        killed = [each for each in command["cursors"] if self._cursors.pop(each, None)]
        return {"cursorsKilled": killed, "cursorsNotFound": [], "cursorsAlive": []}

    def _do_find(self, database, command):
        collection = self._read(database, command["find"])
        query = command.get("filter", {})
        records = collection.find(
            query, command.get("sort"), command.get("skip", 0), command.get("limit", 0)
        )
        projection = command.get("projection")
        documents = [project(collection.documents[each], projection, query) for each in records]
        size = command.get("batchSize", FIRST_BATCH_DOCUMENTS)
        return self._first_batch(
            collection.namespace, documents, size, command.get("singleBatch", False)
        )

    def _do_aggregate(self, database, command):
        collection = self._read(database, command["aggregate"])
        documents = collection.aggregate(command["pipeline"], self._databases[database])
        size = command.get("cursor", {}).get("batchSize", FIRST_BATCH_DOCUMENTS)
        return self._first_batch(collection.namespace, documents, size)

    def _do_count(self, database, command):
        collection = self._read(database, command["count"])
        limits = command.get("skip", 0), command.get("limit", 0)
        return {"n": len(collection.find(command.get("query", {}), None, *limits))}

    def _do_distinct(self, database, command):
        collection = self._read(database, command["distinct"])
        return {"values": collection.distinct(command["key"], command.get("query") or {})}

    # --- writing ---

    def _statements(self, statements, command, write):
        """Carry out the statements of a command; errors are told per statement."""
        errors = []
        for index, statement in enumerate(statements):
            try:
                write(index, statement)
            except Exception as error:
                errors.append({"index": index, **self._error(error)})
                if command.get("ordered", True):
                    break
        return {"writeErrors": errors} if errors else {}

    def _do_insert(self, database, command):
        collection, done = self._write_to(database, command["insert"]), []
        reply = self._statements(
            command["documents"], command, lambda _, each: done.append(collection.insert(each))
        )
        return {"n": len(done), **reply}

    def _do_update(self, database, command):
        collection = self._write_to(database, command["update"])
        counts, upserted = {"n": 0, "nModified": 0}, []

        def write(index, statement):
            query, filters = statement["q"], statement.get("arrayFilters", ())
            limit = 0 if statement.get("multi") else 1
            records = collection.find(query, statement.get("sort"), limit=limit)
            for record in records:
                changed = collection.change(record, query, statement["u"], filters)
                counts["n"] += 1
                counts["nModified"] += changed
            if not records and statement.get("upsert"):
                new_id = collection.upsert(query, statement["u"], filters)
                upserted.append({"index": index, "_id": new_id})
                counts["n"] += 1

        reply = self._statements(command["updates"], command, write)
        return {**counts, **({"upserted": upserted} if upserted else {}), **reply}

    def _do_delete(self, database, command):
        collection, removed = self._read(database, command["delete"]), []

        def write(_index, statement):
            for record in collection.find(statement["q"], limit=statement["limit"]):
                collection.remove(record)
                removed.append(record)

        reply = self._statements(command["deletes"], command, write)
        return {"n": len(removed), **reply}

    def _do_findandmodify(self, database, command):
        collection = self._write_to(database, command["findAndModify"])
        query, update = command.get("query", {}), command.get("update")
        filters = command.get("arrayFilters", ())
        records = collection.find(query, command.get("sort"), limit=1)
        value, last = None, {"n": len(records), "updatedExisting": bool(records)}
        if records:
            value = collection.documents[records[0]]
            if command.get("remove"):
                del last["updatedExisting"]
                collection.remove(records[0])
            else:
                collection.change(records[0], query, update, filters)
        elif command.get("upsert"):
            last |= {"n": 1, "upserted": collection.upsert(query, update, filters)}
            records = collection.find({"_id": last["upserted"]})
        if command.get("new") and records:
            value = collection.documents[records[0]]
        value = project(value, command.get("fields"), query)
        return {"value": value, "lastErrorObject": last}

    # --- collections and indexes ---

    def _do_create(self, database, command):
        if command["create"] in self._databases[database]:
            raise CommandError("Collection already exists.", 48)
        self._write_to(database, command["create"])
        return {}

    def _do_drop(self, database, command):
        if self._databases[database].pop(command["drop"], None) is None:
            raise CommandError("ns not found", 26)
        return {}

    def _do_dropdatabase(self, database, _command):
        self._databases.pop(database, None)
        return {"dropped": database}

    def _do_createindexes(self, database, command):
        collection = self._write_to(database, command["createIndexes"])
        before = len(collection.indexes)
        for index in command["indexes"]:
            index.pop("background", None)
            collection.create_index({"v": 2, **index})
        return {"numIndexesBefore": before, "numIndexesAfter": len(collection.indexes)}

    def _do_dropindexes(self, database, command):
        collection = self._read(database, command["dropIndexes"])
        names = command["index"]
        if names == "*":
            names = [name for name in collection.indexes if name != "_id_"]
        elif isinstance(names, dict):
            names = [name for name, each in collection.indexes.items() if each["key"] == names]
        for name in [names] if isinstance(names, str) else names:
            collection.drop_index(name)
        return {}

    def _do_listindexes(self, database, command):
        name = command["listIndexes"]
        if name not in self._databases[database]:
            raise CommandError(f"ns does not exist: {database}.{name}", 26)
        collection = self._databases[database][name]
        return self._first_batch(collection.namespace, collection.indexes.values(), None)

    def _do_listcollections(self, database, command):
        entries = [
            {"name": name, "type": "collection", "options": {}, "info": {"readOnly": False}}
            for name in self._databases[database]
        ]
        entries = [each for each in entries if filter_applies(command.get("filter") or {}, each)]
        return self._first_batch(f"{database}.$cmd.listCollections", entries, None)

    def _do_listdatabases(self, _database, command):
        names = [name for name, collections in self._databases.items() if collections]
        entries = [{"name": name, "sizeOnDisk": 0, "empty": False} for name in names]
        entries = [each for each in entries if filter_applies(command.get("filter") or {}, each)]
        return {"databases": entries, "totalSize": 0}


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        """Say nothing of clients that were killed or cut off in the middle of a message."""


class _Connection(socketserver.StreamRequestHandler):
    """Messages of one client connection."""

    disable_nagle_algorithm = True

    def handle(self):
        mongo = self.server.mongo
        mongo.connections.add(self.connection)
        session = {}
        try:
            while header := self.rfile.read(16):
                length, request, _, operation = struct.unpack("<iiii", header)
                body = self.rfile.read(length - 16)
                if operation == OP_QUERY:  # only the first hello of a connection
                    command = bson.decode(body[body.index(b"\0", 4) + 9 :])
                    reply = bson.encode(mongo.run(command, session))
                    self._send(request, OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + reply)
                elif operation == OP_MSG:
                    flags, command = self._message(body)
                    reply = mongo.run(command, session)
                    if not flags & 2:  # "more to come": the client wants no answer
                        self._send(request, OP_MSG, b"\0\0\0\0\0" + bson.encode(reply))
                else:
                    return
        finally:
            mongo.connections.discard(self.connection)

    @staticmethod
    def _message(body):
        """Return flags and command of an OP_MSG, sequences of documents put in their place."""
        (flags,) = struct.unpack_from("<I", body)
        end = len(body) - 4 if flags & 1 else len(body)
        position, command, sequences = 4, {}, {}
        while position < end:
            kind, (size,) = body[position], struct.unpack_from("<i", body, position + 1)
            section = body[position + 1 : position + 1 + size]
            if kind == 0:
                command = bson.decode(section)
            else:
                name, _, documents = section[4:].partition(b"\0")
                sequences[name.decode()] = bson.decode_all(documents)
            position += 1 + size
        return flags, command | sequences

    def _send(self, request, operation, body):
        header = struct.pack("<iiii", 16 + len(body), 0, request, operation)
        self.connection.sendall(header + body)


def main():
    parser = argparse.ArgumentParser(description="Serve an empty MongoDB from memory, for trials.")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--user")
    parser.add_argument("--password")
    options = parser.parse_args()
    with MongoServer(options.user, options.password, port=options.port) as server:
        print(server.address, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
