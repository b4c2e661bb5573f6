"""The store in PostgreSQL against the contract, and what only a server can suffer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Server
from tim.store import ObjectStore
from tim.store.contract import StoreContract, branches_machine, history_machine
from tim.store.postgis import PostgisStore

servers: list[Server] = []


@pytest.fixture(autouse=True)
def server(postgres: Server) -> Iterator[Server]:
    """The server; what a test leaves in it goes."""
    servers[:] = [postgres]
    yield postgres
    with psycopg.connect(postgres.url, autocommit=True) as db:
        for (name,) in db.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 't\\_%'").fetchall():
            db.execute(f"DROP SCHEMA {name} CASCADE".encode())


def schema_of(folder: Path) -> str:
    return f"t_{hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()}"


def open_store(folder: Path) -> ObjectStore:
    url, schema = servers[0].url, schema_of(folder)
    with psycopg.connect(url) as db:
        known = db.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone()
    return PostgisStore(url, schema) if known else PostgisStore.create(url, schema)


class TestPostgis(StoreContract):
    def open_store(self, folder: Path) -> ObjectStore:
        return open_store(folder)


TestPostgisHistory = history_machine(open_store, examples=4)
TestPostgisBranches = branches_machine(open_store, examples=2)
