"""Moments: one spelling for the trees, and sort keys as stores have them (:func:`tim.store.canonical.instant`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from tim.errors import StoreError
from tim.query.tree import Instant
from tim.store.canonical import EVER, instant

_OFFSET = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?([+-]\d\d:\d\d)", re.ASCII)
_DATE = len("2026-11-21")


def read(text: str) -> Instant | None:
    """A date, or a moment with ``Z`` or an offset, in UTC; ``None`` for anything else."""
    found = key(text)
    if found is None or len(text) == _DATE:
        return None if found is None else Instant(found)
    return Instant(f"{found}Z" if "T" in found else f"{found}T00:00:00Z")


@lru_cache(1024)
def key(text: str) -> str | None:
    """The sort key of a moment: text that orders as time does; ``None`` for what is none."""
    try:
        if match := _OFFSET.fullmatch(text):
            moved = datetime.fromisoformat(match[1] + match[3]).astimezone(UTC)
            text = f"{moved.replace(tzinfo=None).isoformat()}{match[2] or ''}Z"
        return instant(text, EVER)
    except (StoreError, ValueError, OverflowError):
        return None
