"""Connections to PostgreSQL: where they go, what they are set to, whether they still live; statements with ``?`` for values."""

from __future__ import annotations

import re
import select
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.pq import TransactionStatus

from tim.errors import UsageError
from tim.store.sql import Names

SCHEMA = "tim"
"""Where the tables are, unless the address says otherwise."""
_SCHEMES = ("postgresql", "postgres")
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SETTINGS = {
    "jit": "off",
    "cursor_tuple_fraction": "1",
    "client_min_messages": "warning",
}
"""Most questions are too short to be compiled."""
_READER = {"default_transaction_read_only": "on"}
_WRITER = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""A batch asks for some thousand rows by their keys, of tables whose statistics are not made yet."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is."""

    conninfo: str
    """What libpq connects with; may hold a password."""
    schema: str
    name: str
    """The address as it may be shown and written down: without the password."""


def address(url: str, schema: str | None = None) -> Address:
    """Read ``postgresql://user@host:port/database?schema=tim``; other parameters are libpq's. ``schema`` stands before the one of the address.

    Raises UsageError ``store.pg-url`` for anything else; it never shows a password.
    """
    try:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        chosen = schema or parameters.pop("schema", SCHEMA)
        parameters.pop("schema", None)
        user, password = parts.username, parts.password
        conninfo = urlunsplit((*parts[:3], urlencode(parameters, quote_via=quote), ""))
        known = psycopg.conninfo.conninfo_to_dict(conninfo)
        numbered = all(port.isdecimal() for port in str(known.get("port") or "0").split(",") if port)
        if parts.scheme not in _SCHEMES or not known.get("dbname") or not _NAME.fullmatch(chosen) or not numbered:
            raise ValueError(chosen)
    except (ValueError, psycopg.Error):
        raise UsageError("store.pg-url", url=_shown(url)) from None
    host = parts.netloc.rpartition("@")[2] if user is not None or password is not None else parts.netloc
    where = f"{user}@{host}" if user else host
    parameters = {name: value for name, value in parameters.items() if "password" not in name} | {"schema": chosen}
    return Address(
        conninfo, chosen, urlunsplit(("postgresql", where, parts.path, urlencode(parameters, quote_via=quote), ""))
    )


def _shown(url: str) -> str:
    """An address that could not be read, without what may be a password."""
    url = re.sub(r"//.*@", "//…@", url, flags=re.DOTALL)
    return re.sub(r"(password[^=&]*=)[^&]*", r"\1…", url, flags=re.IGNORECASE)


class Session:
    """A connection, asked as SQLite's is. Not to be shared between threads at the same moment."""

    def __init__(self, to: Address, *, writes: bool, wait: float) -> None:
        """Connect. ``wait``: seconds to wait for the server, and for the locks of others. Raises what psycopg does."""
        self.db: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            to.conninfo, autocommit=True, connect_timeout=max(2, round(wait)), application_name="tim",
            cursor_factory=psycopg.RawCursor,
        )  # fmt: skip
        self._cursors = count()
        self.names = Names(self)
        try:
            settings = (
                _SETTINGS | (_WRITER if writes else _READER) | {"lock_timeout": f"{max(1, round(wait * 1000))}ms"}
            )
            path = (
                "SELECT set_config('search_path', concat_ws(', ', quote_ident(?::text), (SELECT quote_ident(nspname)"
                " FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'postgis')), false)"
            )
            chosen = [text for pair in settings.items() for text in pair]
            self.execute(path + ", set_config(?, ?, false)" * len(settings), (to.schema, *chosen))
        except BaseException:
            self.close()
            raise

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        """Do a statement."""
        return self.db.cursor(binary=True).execute(_numbered(sql), parameters)

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Do a statement for each row."""
        if parameters:
            self.db.cursor().executemany(_numbered(sql), parameters)

    def stream(self, sql: str, parameters: Sequence[Any], size: int) -> Iterator[list[tuple[Any, ...]]]:
        """What a statement finds, ``size`` rows at a time, however many there are."""
        with self.db.transaction(), psycopg.RawServerCursor(self.db, f"rows_{next(self._cursors)}") as cursor:
            cursor.execute(_numbered(sql), parameters, binary=True)
            while batch := cursor.fetchmany(size):
                yield batch

    def copy(self, table: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> None:
        """Put rows into a table. columns: names and types."""
        if not rows:
            return
        names, types = zip(*columns, strict=True)
        sql = f"COPY {table} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"
        with self.db.cursor() as cursor, cursor.copy(sql.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def transaction(self) -> AbstractContextManager[Any]:
        """All or nothing of what is done inside."""
        return self.db.transaction()

    @property
    def in_transaction(self) -> bool:
        """Whether one is open."""
        return self.db.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    @property
    def usable(self) -> bool:
        """Whether it may serve again: open, and not amid something."""
        return not self.db.closed and self.db.info.transaction_status == TransactionStatus.IDLE

    @property
    def alive(self) -> bool:
        """Whether the server is still there. An idle connection has nothing to read unless it ended, or was told something: only then we ask."""
        if not self.usable:
            return False
        if not select.select([self.db.fileno()], [], [], 0)[0]:
            return True
        try:
            self.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """Let go."""
        with suppress(psycopg.Error):
            self.db.close()


@lru_cache(1024)
def _numbered(sql: str) -> bytes:
    """``$1``, ``$2``, … for each ``?``; no statement of ours has one in a text."""
    first, *others = sql.split("?")
    return "".join([first, *(f"${i}{part}" for i, part in enumerate(others, 1))]).encode()
