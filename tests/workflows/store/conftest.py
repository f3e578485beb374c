"""An imitation of MongoDB."""

import mongomock_ng
import pytest
from mongomock_ng.gridfs import enable_gridfs_integration


@pytest.fixture
def mongo(monkeypatch):
    """Let maggma talk to an imitation of MongoDB; returns how its clients were opened."""
    opened = []
    server = mongomock_ng.MongoClient()
    server.close = lambda: None  # the imitation would forget everything

    def client(address=None, *_, **options):
        opened.append((address, options))
        return server

    enable_gridfs_integration()
    monkeypatch.setattr("maggma.stores.mongolike.MongoClient", client)
    monkeypatch.setattr("maggma.stores.gridfs.MongoClient", client)
    return opened
