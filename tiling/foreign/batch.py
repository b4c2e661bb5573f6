"""Batch tables (3D Tiles 1.0) and the binary tables of feature tables: from JSON and bytes to columns.

Sources: 3D Tiles 1.0 §"Batch Table" and §"Feature Table". The hierarchy extension (3DTILES_batch_table_hierarchy) is named, not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from importers.tiles3d.content import Content, contents
from tim.errors import CorruptSource

HIERARCHY = "3DTILES_batch_table_hierarchy"
DTYPES: Mapping[str, str] = {
    "BYTE": "<i1", "UNSIGNED_BYTE": "<u1", "SHORT": "<i2", "UNSIGNED_SHORT": "<u2", "INT": "<i4", "UNSIGNED_INT": "<u4", "FLOAT": "<f4",
    "DOUBLE": "<f8",
}  # fmt: skip
WIDTHS: Mapping[str, int] = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
Column = NDArray[Any] | list[Any]
"""Numbers from the binary part, [n] or [n, 2..4]; anything JSON has, as a list."""


@dataclass(frozen=True, slots=True)
class BatchTable:
    """The attributes of a content's features; row ``i`` is batch id ``i``."""

    count: int
    columns: Mapping[str, Column] = field(default_factory=dict)
    unsupported: tuple[str, ...] = ()
    """Extensions that are there and not read."""

    def record(self) -> dict[str, Any]:
        """JSON-able: ``count``, ``columns``, ``unsupported``. Numbers JSON does not have are ``null``."""
        return {
            "count": self.count, "columns": {name: plain(values) for name, values in self.columns.items()},
            "unsupported": list(self.unsupported),
        }  # fmt: skip


def plain(values: Column) -> list[Any]:
    """A column as JSON values."""
    listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return [_finite(value) for value in listed]


def read_batch_tables(data: bytes, path: str = "") -> list[BatchTable]:
    """The batch table of every content in a file (several in a composite; none in a glb). Raises CorruptSource naming ``path``."""
    return [table_of(content, path) for content in contents(data, path) if content.kind != "glb"]


def table_of(content: Content, path: str = "") -> BatchTable:
    """The batch table of one content. Raises CorruptSource where a column is shorter than the features are many."""
    count = count_of(content, path)
    columns: dict[str, Column] = {}
    unsupported = (
        set(content.batch.get("extensions", ())) if isinstance(content.batch.get("extensions"), dict) else set()
    )
    for name, value in content.batch.items():
        if name == "HIERARCHY":
            unsupported.add(HIERARCHY)
        elif name in ("extensions", "extras"):
            continue
        elif isinstance(value, list):
            if len(value) < count:
                raise CorruptSource("tiles3d.column-short", path=path, column=name, need=count, size=len(value))
            columns[name] = value[:count]
        else:
            columns[name] = binary(value, content.batch_binary, count, path, name)
    return BatchTable(count, columns, tuple(sorted(unsupported)))


def count_of(content: Content, path: str, name: str = "") -> int:
    """How many features a content has, or what the feature table says under ``name``. Raises CorruptSource."""
    value: Any
    if name:
        value = content.features.get(name)
    elif content.kind == "i3dm":
        value = content.features.get("INSTANCES_LENGTH")
        if isinstance(ids := content.features.get("BATCH_ID"), dict):  # several instances may share a batch
            kind = DTYPES.get(ids.get("componentType", "UNSIGNED_SHORT"), "<u2")
            found = binary(
                ids, content.features_binary, count_of(content, path, "INSTANCES_LENGTH"), path, "BATCH_ID", kind, 1
            )
            value = int(found.max(initial=-1)) + 1
    elif content.kind == "pnts" and "BATCH_LENGTH" not in content.features:
        value = content.features.get("POINTS_LENGTH") if content.batch else 0  # attributes per point
    else:
        value = content.features.get("BATCH_LENGTH", content.old_batch_length)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CorruptSource("tiles3d.bad-number", path=path, what=name or "BATCH_LENGTH")
    return value


def binary(
    reference: Any, data: memoryview, count: int, path: str, name: str, dtype: str | None = None, width: int | None = None
) -> NDArray[Any]:  # fmt: skip
    """The values behind ``{"byteOffset", "componentType", "type"}``; ``dtype`` and ``width`` where the specification fixes them.

    Returns [count] or [count, width]. Raises CorruptSource.
    """
    try:
        kind = np.dtype(dtype or DTYPES[reference["componentType"]])
        many = width or WIDTHS[reference.get("type", "SCALAR")]
        start = int(reference["byteOffset"])
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise CorruptSource("tiles3d.bad-column", path=path, column=name) from error
    need = start + count * many * kind.itemsize
    if start < 0 or need > len(data):
        raise CorruptSource("tiles3d.column-short", path=path, column=name, need=need, size=len(data))
    values = np.frombuffer(data, kind, count * many, start)
    return values if many == 1 else values.reshape(count, many)


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
