"""What a dataset says of itself: whose it is, by which standard, how current, where, how exact, for whom, and how it is kept up.

One kind of data, one source, one standard (一数一源一标准): a dataset has one authority and one standard, and says when it is renewed. The
record is in the dataset's settings, under ``record``; a person writes it as YAML or JSON::

    title: 海滨市建筑
    authority: 海滨市自然资源和规划局
    standard: CH/T 9015-2012
    currency: 2025-06-30
    extent: [120.0, 30.0, 121.0, 31.0]       # west, south, east, north; or with heights: west, south, bottom, east, north, top
    horizontalAccuracy: 0.3                  # metres
    verticalAccuracy: 0.2
    classification: internal                 # public, internal, restricted, secret
    update: 每季度，依据竣工测量
    contact: survey@example.org
    licence: 内部使用
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from tim.errors import UsageError
from tim.model import Dataset
from tim.place import Box3
from tim.store import ObjectStore

KEY = "record"
"""Of :attr:`tim.model.Dataset.settings`."""
CLASSIFICATIONS = ("public", "internal", "restricted", "secret")
"""公开, 内部, 受限, 涉密."""


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """The record of one dataset; what is not known is empty."""

    title: str
    authority: str
    """Whose data it is."""
    standard: str = ""
    """The standard it is made by."""
    currency: str = ""
    """The date its content is of, ISO 8601."""
    extent: Box3 | None = None
    """Where its objects should be, EPSG:4979; heights are infinite where none are said."""
    horizontal_accuracy: float | None = None
    """Metres."""
    vertical_accuracy: float | None = None
    """Metres."""
    classification: str = ""
    """One of :data:`CLASSIFICATIONS`."""
    update: str = ""
    """When and by what it is renewed."""
    contact: str = ""
    licence: str = ""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Check and take over a JSON record. Raises UsageError ``quality.bad-record`` naming the first field that is not right."""
        for name in record:
            if name not in _FIELDS:
                raise UsageError("quality.bad-record", field=name, wanted=", ".join(_FIELDS))
        values: dict[str, Any] = {}
        for name, (attribute, check, wanted) in _FIELDS.items():
            value = record.get(name)
            if value is None and name not in ("title", "authority"):
                continue
            if not check(value):
                raise UsageError("quality.bad-record", field=name, wanted=wanted)
            values[attribute] = _box(record[name]) if name == "extent" else value
        return cls(**values)

    def record(self) -> dict[str, Any]:
        """JSON-able record of what is known."""
        values = {name: getattr(self, attribute) for name, (attribute, _, _) in _FIELDS.items()}
        if self.extent is not None:
            west, south, bottom, east, north, top = self.extent
            flat = math.isinf(bottom) and math.isinf(top)
            values["extent"] = [west, south, east, north] if flat else list(self.extent)
        return {name: value for name, value in values.items() if value not in (None, "")}


def record_of(dataset: Dataset) -> DatasetRecord | None:
    """What a dataset says of itself; ``None`` where it says nothing."""
    said = dataset.settings.get(KEY)
    return None if said is None else DatasetRecord.from_record(said)


def put_record(store: ObjectStore, slug: str, record: DatasetRecord) -> Dataset:
    """Let a dataset say this of itself. Raises UsageError ``store.no-dataset``."""
    dataset = store.dataset(slug)
    return store.put_dataset(replace(dataset, settings={**dataset.settings, KEY: record.record()}))


def read_record(path: Path) -> DatasetRecord:
    """A record from a YAML or JSON file. Raises UsageError ``quality.unreadable`` or ``quality.bad-record``."""
    import yaml

    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("quality.unreadable", file=path.name, reason=error.strerror or str(error)) from None
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError("quality.unreadable", file=path.name, reason=" ".join(str(error).split())) from None
    if not isinstance(said, dict):
        raise UsageError("quality.bad-record", field=path.name, wanted="title: …, authority: …")
    # YAML knows dates; JSON, which the record is kept as, does not.
    return DatasetRecord.from_record({str(k): v.isoformat() if isinstance(v, date) else v for k, v in said.items()})


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _metres(value: Any) -> bool:
    return _number(value) and 0 < value < 1e6


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _extent(value: Any) -> bool:
    if not isinstance(value, list) or len(value) not in (4, 6) or not all(map(_number, value)):
        return False
    west, south, bottom, east, north, top = _box(value)
    return -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90 and bottom < top and west != east


def _box(value: list[float]) -> Box3:
    if len(value) == 4:
        west, south, east, north = map(float, value)
        return west, south, -math.inf, east, north, math.inf
    west, south, bottom, east, north, top = map(float, value)
    return west, south, bottom, east, north, top


_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool], str]] = {
    "title": ("title", _text, "text"),
    "authority": ("authority", _text, "text"),
    "standard": ("standard", _text, "text"),
    "currency": ("currency", _date, "YYYY-MM-DD"),
    "extent": ("extent", _extent, "[west, south, east, north]"),
    "horizontalAccuracy": ("horizontal_accuracy", _metres, "> 0 (m)"),
    "verticalAccuracy": ("vertical_accuracy", _metres, "> 0 (m)"),
    "classification": ("classification", lambda value: value in CLASSIFICATIONS, " | ".join(CLASSIFICATIONS)),
    "update": ("update", _text, "text"),
    "contact": ("contact", _text, "text"),
    "licence": ("licence", _text, "text"),
}
"""Name in the file to attribute, whether a value will do, and what would."""
