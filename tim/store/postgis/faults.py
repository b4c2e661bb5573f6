"""PostgreSQL's errors in our words: the server and the right to it are the workspace's, everything else is the store's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tim.errors import StoreError, TimError, WorkspaceError

_FAULTS: dict[str, tuple[type[TimError], str]] = {
    "08": (WorkspaceError, "store.pg-unreachable"),
    "22021": (StoreError, "store.pg-text"),
    "22P05": (StoreError, "store.pg-text"),
    "25006": (WorkspaceError, "store.pg-denied"),
    "28": (WorkspaceError, "store.pg-login"),
    "3D": (WorkspaceError, "store.pg-no-database"),
    "42501": (WorkspaceError, "store.pg-denied"),
    "53": (WorkspaceError, "store.pg-unreachable"),
    "53100": (WorkspaceError, "store.full"),
    "54": (StoreError, "store.too-big"),
    "55P03": (StoreError, "store.locked"),
    "57": (WorkspaceError, "store.pg-unreachable"),
    "57014": (StoreError, "store.too-slow"),
    "58": (WorkspaceError, "store.io"),
    "XX001": (StoreError, "store.corrupt"),
    "XX002": (StoreError, "store.corrupt"),
}
"""By SQLSTATE, or its class (PostgreSQL manual, appendix A)."""


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn any error of psycopg raised inside into a StoreError or WorkspaceError that names the store."""
    try:
        yield
    except psycopg.Error as error:
        kind, code = _fault(error)
        raise kind(code, path=name, reason=str(error).strip().split("\n")[0]) from error


def _fault(error: psycopg.Error) -> tuple[type[TimError], str]:
    state = error.sqlstate or _state_of_login(error)
    if state:
        return _FAULTS.get(state) or _FAULTS.get(state[:2]) or (StoreError, "store.failed")
    if isinstance(error, psycopg.OperationalError):
        return WorkspaceError, "store.pg-unreachable"
    return StoreError, "store.pg-text" if isinstance(error, psycopg.DataError) else "store.failed"


def _state_of_login(error: psycopg.Error) -> str:
    """libpq gives no SQLSTATE for what is refused before a connection stands; the server's words are in the reader's language or in English."""
    text = str(error)
    if "password" in text or "role" in text or "authentication" in text or "pg_hba.conf" in text:
        return "28000"
    return "3D000" if "database" in text and "does not exist" in text else ""
