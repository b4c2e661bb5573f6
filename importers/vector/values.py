"""The values of fields, as texts, numbers, dates, classes; and records as messages name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from importers.vector.mapping import Rule, Value
from tim.model import Rejected

_DATE = re.compile(r"(\d{4})(?:[-/.年]?(\d{1,2})(?:[-/.月]?(\d{1,2}))?)?(?!\d)")
"""A date, or a month or year, which is taken for its first day."""


def text_of(value: Any) -> str:
    """A value as a key, code or name: whole numbers without a point."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def raw(value: Value, columns: Mapping[str, list[Any]], i: int) -> Any:
    """A value of record ``i``, as it is."""
    return columns[value.field][i] if value.field else value.constant


def number(value: Any) -> float:
    """A number, also where text stands around it (``DN300``, ``300x200``, ``12层``)."""
    if isinstance(value, int | float):
        return float(value)
    found = re.search(r"-?\d+(?:\.\d+)?", str(value)) if value else None
    return float(found[0]) if found else np.nan


def day_of(value: Any) -> str | None:
    """An ISO date; ``None`` where there is none."""
    found = _DATE.match(str(value)) if value not in (None, "") else None
    try:
        return found and date(int(found[1]), int(found[2] or 1), int(found[3] or 1)).isoformat()
    except ValueError:
        return None


def class_of(rule: Rule, columns: Mapping[str, list[Any]], i: int) -> str:
    """The class of a record: by its field's value, otherwise the layer's."""
    if not rule.class_field:
        return rule.class_id
    return rule.class_table.get(text_of(columns[rule.class_field][i]), rule.class_id)


def rejected(delivery: str, number: int, code: str, /, **fields: Any) -> Rejected:
    """A record of a delivery, as a message names it."""
    return Rejected(f"{delivery}:{number}", code, {"file": delivery, "record": number, **fields})
