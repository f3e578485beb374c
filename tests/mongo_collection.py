"""Collections of documents for the test-only MongoDB server: storage, indexes, queries, updates.

Matching, update operators and projections are mongomock's; documents, look-ups by index and unique
keys are kept here, since mongomock scans all documents for each of them.
"""

import itertools

import bson
import mongomock_ng
from mongomock_ng.aggregate import process_pipeline
from mongomock_ng.filtering import filter_applies, iter_key_candidates, resolve_sort_key
from mongomock_ng.helpers import _clone_document as clone
from sentinels import NOTHING


class CommandError(Exception):
    """What a server answers to a command it refuses."""

    def __init__(self, message, code, details=None):
        super().__init__(message)
        self.code, self.details = code, details


# Carries mongomock's update operators and projections; it never holds a document.
_mongomock = mongomock_ng.MongoClient().operators.operators


def index_key(value):
    """Return a hashable that is equal for values MongoDB takes for equal."""
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, (dict, list, bson.Regex)) or value != value:
        return (bytes, bson.encode({"": value}))
    return value


def _keys(field, document):
    """Return the index keys of a field: its value, and the elements too where it is an array."""
    keys = set()
    for value in iter_key_candidates(field, document) or [NOTHING]:
        keys.add(None if value is NOTHING else index_key(value))
        if isinstance(value, list):
            keys.update(map(index_key, value))
    return keys


def _equalities(query):
    """Yield (field, permitted values) of the conditions in a query that an index can answer."""
    for field, condition in query.items():
        if field == "$and":
            for clause in condition:
                yield from _equalities(clause)
        elif not isinstance(condition, dict):
            yield field, [condition]
        elif "$eq" in condition:
            yield field, [condition["$eq"]]
        elif "$in" in condition:
            yield field, condition["$in"]


class Collection:
    """Documents and their indexes.

    Stored documents are never changed in place but replaced, so that cursors may keep them.
    """

    def __init__(self, namespace):
        self.namespace = namespace
        self.documents = {}  # record number -> document
        self.indexes = {}  # name -> specification
        self._numbers = itertools.count()
        self._owners = {}  # name of a unique index -> {entry: record}
        self._records = {}  # indexed field -> {key: {record: None}}, in order of arrival
        self.create_index({"v": 2, "key": {"_id": 1}, "name": "_id_"}, unique=True)

    def create_index(self, specification, unique=False):
        name = specification["name"]
        for existing in self.indexes.values():
            if existing == specification:
                return
            if existing["name"] == name or existing["key"] == specification["key"]:
                message = f"An index {name} exists already with other options"
                raise CommandError(message, 86 if existing["name"] == name else 85)
        if unique or specification.get("unique"):
            owners = {}
            for record, document in self.documents.items():
                self._claim(specification, owners, record, document)
                owners.update(dict.fromkeys(self._entries(specification, document), record))
            self._owners[name] = owners
        self.indexes[name] = specification
        for field in specification["key"]:
            if field not in self._records:
                self._records[field] = postings = {}
                for record, document in self.documents.items():
                    for key in _keys(field, document):
                        postings.setdefault(key, {})[record] = None

    def drop_index(self, name):
        if name == "_id_" or name not in self.indexes:
            raise CommandError(f"index not found with name [{name}]", 27)
        del self.indexes[name]
        self._owners.pop(name, None)
        used = {field for index in self.indexes.values() for field in index["key"]}
        self._records = {field: self._records[field] for field in used}

    @staticmethod
    def _entries(index, document):
        """Return the entries of a document in a unique index."""
        if index.get("sparse") and all(
            value is NOTHING
            for field in index["key"]
            for value in iter_key_candidates(field, document) or [NOTHING]
        ):
            return set()
        if not filter_applies(index.get("partialFilterExpression", {}), document):
            return set()
        return set(itertools.product(*(_keys(field, document) for field in index["key"])))

    def _claim(self, index, owners, record, document):
        """Return the entries of a document, or raise the error of a duplicate key."""
        entries = self._entries(index, document)
        if any(owners.get(entry, record) != record for entry in entries):
            value = {
                field: next(iter(iter_key_candidates(field, document)), None)
                for field in index["key"]
            }
            value = {field: None if each is NOTHING else each for field, each in value.items()}
            raise CommandError(
                f"E11000 duplicate key error collection: {self.namespace} "
                f"index: {index['name']} dup key: {value}",
                11000,
                {"keyPattern": index["key"], "keyValue": value},
            )
        return entries

    def _store(self, record, new):
        """Insert, replace or (None) remove a document: all of it, or nothing if a key is taken."""
        old = self.documents.get(record)
        claims = {} if new is None else {
            name: self._claim(self.indexes[name], owners, record, new)
            for name, owners in self._owners.items()
        }  # fmt: skip
        for name, owners in self._owners.items():
            for entry in () if old is None else self._entries(self.indexes[name], old):
                del owners[entry]
            owners.update(dict.fromkeys(claims.get(name, ()), record))
        for field, postings in self._records.items():
            before = set() if old is None else _keys(field, old)
            after = set() if new is None else _keys(field, new)
            for key in before - after:
                del postings[key][record]
                if not postings[key]:
                    del postings[key]
            for key in after - before:
                postings.setdefault(key, {})[record] = None
        if new is None:
            del self.documents[record]
        else:
            self.documents[record] = new

    def _candidates(self, query):
        """Return the records that may match, by the index that leaves the fewest."""
        best, fewest = self.documents, len(self.documents)
        for field, values in _equalities(query):
            if field in self._records and not any(
                isinstance(value, (dict, bson.Regex)) for value in values
            ):
                found = [self._records[field].get(index_key(value), {}) for value in values]
                if sum(map(len, found)) < fewest:
                    fewest = sum(map(len, found))
                    best = found[0] if len(found) == 1 else dict.fromkeys(itertools.chain(*found))
        return best

    def find(self, query, sort=None, skip=0, limit=0):
        """Return the numbers of the records that match."""
        candidates = self._candidates(query)
        records = (r for r in candidates if filter_applies(query, self.documents[r]))
        for field, direction in reversed((sort or {}).items()):
            records = iter(
                sorted(
                    records,
                    key=lambda r, field=field: resolve_sort_key(field, self.documents[r]),
                    reverse=direction < 0,
                )
            )
        return list(itertools.islice(records, skip, skip + limit if limit else None))

    def insert(self, document):
        document = document if "_id" in document else {"_id": bson.ObjectId(), **document}
        self._store(next(self._numbers), document)
        return document["_id"]

    def remove(self, record):
        self._store(record, None)

    def change(self, record, query, update, array_filters=()):
        """Apply an update to one document; return whether it became another."""
        old = self.documents[record]
        new = self._updated(clone(old), query, update, array_filters)
        if bson.encode(new) == bson.encode(old):
            return False
        if new.get("_id") != old["_id"]:
            raise CommandError("the (immutable) field '_id' was found to have been altered", 66)
        self._store(record, new)
        return True

    def upsert(self, query, update, array_filters=()):
        """Insert what an update makes of the equalities in its query; return the new _id."""
        fields, _ = _mongomock._discard_operators(_mongomock._expand_dots(dict(query)))
        if isinstance(update, dict) and not any(name.startswith("$") for name in update):
            fields = {name: value for name, value in fields.items() if name == "_id"}
        new = self._updated(clone(dict(fields)), query, update, array_filters, inserting=True)
        return self.insert({"_id": new.pop("_id", None) or bson.ObjectId(), **new})

    def _updated(self, document, query, update, array_filters, inserting=False):
        if isinstance(update, list):
            return next(iter(process_pipeline([document], None, update, None)))
        if not any(name.startswith("$") for name in update):
            return {**{k: v for k, v in document.items() if k == "_id"}, **update}
        _mongomock._current_array_filters = array_filters
        _mongomock._apply_update_document(document, query, update, inserting)
        return document

    def aggregate(self, pipeline, collections):
        """Return the documents that come out of a pipeline; `collections` are those of $lookup."""
        pipeline = list(pipeline)
        query = pipeline.pop(0)["$match"] if pipeline and "$match" in pipeline[0] else {}
        records = self.find(query)
        if pipeline == [{"$group": {"_id": 1, "n": {"$sum": 1}}}]:  # pymongo's count_documents
            return [{"_id": 1, "n": len(records)}] if records else []
        copies = [clone(self.documents[record]) for record in records]
        return process_pipeline(copies, Joined(None, collections), pipeline, None)

    def distinct(self, field, query):
        """Return the distinct values of a field, the elements of arrays one by one."""
        values = {}
        for record in self.find(query):
            for value in iter_key_candidates(field, self.documents[record]):
                for each in value if isinstance(value, list) else [value]:
                    if each is not NOTHING:
                        values.setdefault(index_key(each), each)
        return list(values.values())


def project(document, projection, query):
    """Return the fields of a document that a projection asks for."""
    if document is None or not projection:
        return document
    return _mongomock._copy_only_fields(document, dict(projection), dict, filter=query)


class Joined:
    """What mongomock's $lookup and $unionWith need of a database."""

    def __init__(self, name, collections):
        self.name = name
        self._collections = collections

    def get_collection(self, name):
        return Joined(name, self._collections)

    def find(self, query=None):
        collection = self._collections.get(self.name) or Collection(self.name)
        return [clone(collection.documents[record]) for record in collection.find(query or {})]
