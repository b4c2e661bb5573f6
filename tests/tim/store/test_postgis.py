"""The store in PostgreSQL against the contract, and what only a server can suffer."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Server
from tim.errors import TimError, WorkspaceError
from tim.model import ObjectRecord
from tim.store import Changeset, Filter, ObjectStore, Put, PutSource
from tim.store.contract import StoreContract, branches_machine, history_machine
from tim.store.contract.samples import FULL, TOWN, box, key_of, put, some, source
from tim.store.postgis import PostgisStore, address

ROOT = Path(__file__).resolve().parents[3]

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


@pytest.fixture
def url(server: Server) -> str:
    """Of a store with fifty objects."""
    url = f"{server.url}?schema=t_own"
    with PostgisStore.create(url) as store:
        store.put_dataset(TOWN)
        put(store, *(box(f"{i}", i) for i in range(50)))
    return url


def refused(what: Callable[[], object]) -> TimError:
    with pytest.raises(TimError) as caught:
        what()
    assert "{" not in "".join(caught.value.record()["text"].values())
    return caught.value


def test_json_comes_back_as_it_was(url: str):
    """In value, type and order: jsonb alone would make an integer of 1e22, and forget the sign of zero."""
    values = {
        "zz": 1,
        "a": 1.0,
        "big": 2**70,
        "exp": 1e22,
        "tiny": 5e-324,
        "most": 1.7976931348623157e308,
        "zero": -0.0,
        "n": [1e16, {"b": 1, "a": 2.0}],
    }
    with PostgisStore(url) as store:
        tim_id = put(store, ObjectRecord("j", "thing", attributes=values)).touched[0].tim_id
        found = some(store.get(tim_id)).object.attributes
        assert json.dumps(found) == json.dumps(values, sort_keys=True)
        for name, value in values.items():
            assert key_of(store.query(Filter(attributes={name: value})).items) == ["j"], name
        kinds = store.attribute_kinds("town", ["zz", "a", "big", "exp", "zero", "n"])
    assert kinds == {
        "zz": {"integer"},
        "a": {"real"},
        "big": {"integer"},
        "exp": {"real"},
        "zero": {"real"},
        "n": {"array"},
    }


def indexes(server: Server, schema: str) -> set[str]:
    with psycopg.connect(server.url) as db:
        rows = db.execute("SELECT indexname FROM pg_indexes WHERE schemaname = %s", (schema,)).fetchall()
        return {name for (name,) in rows}


def test_indexes_come_with_the_first_objects(server: Server, url: str):
    """Also where sources come before them."""
    with PostgisStore.create(server.url, "t_later") as store:
        store.put_dataset(TOWN)
        store.apply(Changeset("town", [PutSource(source("one"))]))
        assert "version_span" not in indexes(server, "t_later")
        put(store, box("a", 1))
        put(store, box("b", 1))
    made = indexes(server, "t_own")
    assert indexes(server, "t_later") == made
    assert {"version_span", "version_footprint", "version_footprint_beyond", "version_facts", "code_value"} <= made


@pytest.mark.parametrize("west", [10.0, 179.9999])
def test_flat_and_tall_boxes(server: Server, west: float):
    """Two indexes find the same: one knows heights, one footprints only. Both sides of the antimeridian."""
    stories = [
        ObjectRecord(
            f"{i}", "room", box=(west, 20.0, i * 3.0, (west + 0.0002 + 180) % 360 - 180, 20.0002, i * 3.0 + 2.5)
        )
        for i in range(60)
    ]
    with PostgisStore.create(server.url, "t_stories") as store:
        store.put_dataset(TOWN)
        put(store, *stories)
        for bottom, top in ((30.0, 32.0), (31.0, 31.0), (-50.0, -1.0), (10.0, 100.0), (-1e9, 1e9), (177.0, 1e5)):
            for wide in (0.0001, 0.01, 1.0):
                asked = (west - wide, 20.0 - wide, bottom, (west + wide + 180) % 360 - 180, 20.0 + wide, top)
                found = store.query(Filter(box=asked), limit=100).items
                expected = {s.source_key for s in stories if s.box and s.box[2] <= top and s.box[5] >= bottom}
                assert set(key_of(found)) == expected, asked


def test_a_store_of_version_1_is_brought_up(server: Server, url: str):
    """Opening it is enough, by several at once too, and what was in it is found as before."""
    wanted = indexes(server, "t_own")
    with PostgisStore(url) as store:
        tim_id = put(store, FULL).touched[0].tim_id
        known = store.get(tim_id)
        plain = store.query(Filter(), limit=50).items
    with psycopg.connect(server.url) as db:
        db.execute("SET search_path = t_own, public")
        db.execute("""
            CREATE TABLE representation (
              version bigint NOT NULL, i integer NOT NULL, role text NOT NULL, lod text NOT NULL, format text NOT NULL,
              content text NOT NULL, properties text NOT NULL, PRIMARY KEY (version, i)
            );
            INSERT INTO representation SELECT v.id, r.i - 1, r.shown ->> 0, r.shown ->> 1, r.shown ->> 2, r.shown ->> 3, (r.shown -> 4)::text
            FROM version v CROSS JOIN json_array_elements(v.linked::json -> 2) WITH ORDINALITY r (shown, i);
            ALTER TABLE version DROP linked;
            DROP INDEX version_footprint, version_footprint_beyond;
            CREATE INDEX version_span_beyond ON version USING gist (span_beyond gist_geometry_ops_nd) WHERE span_beyond IS NOT NULL;
            UPDATE store SET version = 1;
        """)
        assert db.execute("SELECT count(*) FROM representation").fetchone() == (len(FULL.representations),)
    with ThreadPoolExecutor(4) as several:
        opened = list(several.map(lambda _: PostgisStore(url), range(4)))
    for store in opened:
        with store:
            assert store.get(tim_id) == known
            assert store.query(Filter(), limit=50).items == plain
            assert put(store, FULL).updated == 0
    assert indexes(server, "t_own") == wanted


def test_a_server_that_was_away(server: Server, url: str):
    """What is asked meanwhile is refused; afterwards the store goes on, with connections made anew."""
    with PostgisStore(url, wait=2) as store:
        put(store, box("x", 1))
        assert store.count() == 51
        server.stop()
        try:
            assert refused(store.count).code == "store.pg-unreachable"
            assert refused(lambda: put(store, box("y", 1))).code == "store.pg-unreachable"
        finally:
            server.start()
        assert store.count() == 51
        assert put(store, box("y", 1)).seq == 3


def test_a_connection_that_is_cut_amid_a_changeset(server: Server, url: str):
    def operations() -> Iterator[Put]:
        yield from (Put(box(f"{i}x", i)) for i in range(3000))
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tim'")
        yield from (Put(box(f"{i}y", i)) for i in range(3000))

    with PostgisStore(url) as store:
        assert refused(lambda: store.apply(Changeset("town", operations()))).code == "store.pg-unreachable"
        assert (store.seq, store.count()) == (1, 50)
        assert put(store, box("z", 1)).seq == 2


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("postgresql://u:secret@127.0.0.1:1/db", "store.pg-unreachable"),
        ("postgresql://u:secret@127.0.0.1:1/db?connect_timeout=secret", "store.pg-unreachable"),
        ("postgresql://u:secret@127.0.0.1:x/db", "store.pg-url"),
        ("postgresql://u:secret@127.0.0.1:1/", "store.pg-url"),
        ("postgresql://u:secret@h/db?schema=A-B", "store.pg-url"),
        ("postgresql://u:secret@h/db?no_such=1", "store.pg-url"),
        ("postgresql://h/db?password=secret&x", "store.pg-url"),
        ("mysql://u:secret@h/db", "store.pg-url"),
        ("host=h password=secret", "store.pg-url"),
        ("", "store.pg-url"),
    ],
)
def test_passwords_are_never_shown(wrong: str, code: str):
    error = refused(lambda: PostgisStore(wrong, wait=2))
    assert error.code == code
    if "connect_timeout" not in wrong:
        assert "secret" not in json.dumps(error.record())


def test_an_address_is_written_down_without_its_password():
    whole = address("postgresql://u:p%40w@h:5433/db?sslmode=require&password=p&schema=s")
    assert whole.name == "postgresql://u@h:5433/db?sslmode=require&schema=s"
    assert address(whole.name).name == whole.name
    assert address("postgres://h/db").name == "postgresql://h/db?schema=tim"
    assert address("postgresql://h/db?schema=a", "b").schema == "b"


def test_what_is_not_a_store(server: Server, url: str):
    assert refused(lambda: PostgisStore(server.url, "t_none")).code == "store.missing"
    assert refused(lambda: PostgisStore.create(url)).code == "store.pg-exists"
    assert refused(lambda: PostgisStore(f"{server.url}_none", wait=2)).code == "store.pg-no-database"
    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute("CREATE ROLE nobody LOGIN")
        try:
            stranger = url.replace("tim@", "nobody@")
            assert isinstance(refused(lambda: PostgisStore(stranger)), WorkspaceError)
            assert refused(lambda: PostgisStore.create(stranger, "t_his")).code == "store.pg-denied"
        finally:
            db.execute("DROP ROLE nobody")
        db.execute("UPDATE t_own.store SET version = 99")
        error = refused(lambda: PostgisStore(url))
        assert (error.code, error.fields["version"]) == ("store.newer", 99)
        db.execute("CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII'")
        assert (
            refused(lambda: PostgisStore.create(server.url.removesuffix("tim") + "bytes")).code == "store.pg-encoding"
        )


def test_locked_by_another_writer(server: Server, url: str):
    """The other writer holds the store's own lock, as another process would."""
    with PostgisStore(url) as other, PostgisStore(url, wait=0.1) as store, other._writing():
        assert refused(lambda: put(store, box("x", 1))).code == "store.locked"
        assert store.count() == 50, "readers do not wait"


def test_too_slow(server: Server, url: str):
    with PostgisStore(url) as store, psycopg.connect(server.url) as other:
        other.execute("LOCK TABLE t_own.version")
        assert refused(lambda: store.query(Filter(), seconds=0.1)).code == "store.too-slow"
        other.rollback()
        assert len(store.query(Filter(), seconds=10).items) == 50


def test_use_after_close(url: str):
    store = PostgisStore(url)
    store.close()
    for use in (store.count, lambda: put(store, box("x", 1))):
        assert refused(use).code == "store.closed"


def test_an_abandoned_answer_holds_nothing(url: str):
    with PostgisStore(url) as store:
        for answer in (store.outline("town"), store.log(), store.origins("town", "")):
            next(answer)
            answer.close()
        put(store, box("x", 1))
        assert store.count() == 51
        assert len(store._idle) == 1


def test_writers_of_two_processes(url: str):
    script = (
        "import sys; from tim.store.postgis import PostgisStore; from tim.store.contract.samples import box, put\n"
        "with PostgisStore(sys.argv[1]) as store:\n    for i in range(20): put(store, box(f'{sys.argv[2]}/{i}', i))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, url, name], cwd=ROOT) for name in "ab"]
    assert [w.wait(60) for w in writers] == [0, 0]
    with PostgisStore(url) as store:
        assert store.count() == 90
        log = list(store.log())
        assert [(c.seq, c.parent) for c in log] == [(seq, seq - 1 or None) for seq in range(41, 0, -1)]


def test_without_psycopg():
    script = (
        "import sys; sys.modules['psycopg'] = None\nfrom tim.errors import WorkspaceError\n"
        "try:\n    import tim.store.postgis\nexcept WorkspaceError as error:\n    print(error.code, error)"
    )
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("store.pg-needs-extra")
    assert "tim-engine[postgis]" in said.stdout
