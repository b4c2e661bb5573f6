"""Who the features of a tile are: one property table (EXT_structural_metadata, 3D Metadata 1.0), a row for each object."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.objects.drawn import Column, Drawn
from tiling.spec.glb import GlbWriter

_ALWAYS = ("tim_id", "class", "name")
_DIGITS = [i for i in range(36) if i not in (8, 13, 18, 23)]
"""Where the text of a UUID has no dash."""
_NO_NUMBER = {"INT32": -(2**31), "INT64": -(2**63), "FLOAT64": -1.7976931348623157e308}
_EXACT = 2**53
"""Whole numbers up to this size are the same in float64, which clients read more readily than INT64."""


def add_table(writer: GlbWriter, objects: Sequence[Drawn], columns: Sequence[Column]) -> None:
    """Write the property table 0: row i is ``objects[i]``."""
    writer.extension("EXT_structural_metadata")
    properties: dict[str, Any] = {
        "tim_id": {"type": "STRING", "required": True, "semantic": "ID"},
        "class": {"type": "STRING", "required": True},
        "name": {"type": "STRING", "noData": "", "semantic": "NAME"},
    }
    values: dict[str, Any] = {
        "tim_id": _ids(writer, [o.tim_id for o in objects]),
        "class": _strings(writer, [o.class_id for o in objects]),
        "name": _strings(writer, [o.name for o in objects]),
    }
    for column, name in zip(columns, property_ids(columns), strict=True):
        cells = [o.attributes.get(column.name) for o in objects]
        if column.type == "STRING":
            described, stored = {"type": "STRING", "noData": ""}, _strings(writer, [_text(cell) for cell in cells])
        elif column.type == "BOOLEAN":
            described, stored = _booleans(writer, cells)
        else:
            described, stored = _numbers(writer, cells, whole=column.type == "INT64")
        properties[name] = {"name": column.name, **described} if name != column.name else described
        values[name] = stored
    writer.json.setdefault("extensions", {})["EXT_structural_metadata"] = {
        "schema": {"id": "objects", "classes": {"object": {"properties": properties}}},
        "propertyTables": [{"class": "object", "count": len(objects), "properties": values}],
    }


def property_ids(columns: Sequence[Column]) -> list[str]:
    """The name of each column in the table: its own where that is an identifier of 3D Metadata and not taken, otherwise ``attribute_3``."""
    taken = set(_ALWAYS)
    out = []
    for number, column in enumerate(columns):
        good = re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", column.name) and column.name not in taken
        out.append(column.name if good else f"attribute_{number}")
        taken.add(out[-1])
    return out


def _text(cell: Any) -> str:
    if cell is None or isinstance(cell, str):
        return cell or ""
    return json.dumps(cell, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _strings(writer: GlbWriter, texts: Sequence[str]) -> dict[str, Any]:
    encoded = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(part) for part in encoded], out=offsets[1:])
    return _add_strings(writer, b"".join(encoded), offsets)


def _add_strings(writer: GlbWriter, data: bytes, offsets: NDArray[np.int64]) -> dict[str, Any]:
    kind, dtype = ("UINT16", "<u2") if offsets[-1] <= 0xFFFF else ("UINT32", "<u4")
    # A buffer view cannot be empty.
    values = writer.view(data or b"\0", align=8)
    return {
        "values": values,
        "stringOffsets": writer.view(offsets.astype(dtype).tobytes(), align=8),
        "stringOffsetType": kind,
    }


def _ids(writer: GlbWriter, ids: Sequence[bytes]) -> dict[str, Any]:
    """Strings as UUID writes them, all at once."""
    text = np.full((len(ids), 36), ord("-"), np.uint8)
    text[:, _DIGITS] = np.frombuffer(b"".join(ids).hex().encode(), np.uint8).reshape(-1, 32)
    return _add_strings(writer, text.tobytes(), np.arange(len(ids) + 1) * 36)


def _booleans(writer: GlbWriter, cells: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bits; where one is missing bytes, as bits have no way to say so."""
    if all(isinstance(cell, bool) for cell in cells):
        bits = np.packbits(np.array(cells, bool), bitorder="little")
        return {"type": "BOOLEAN"}, {"values": writer.view(bits.tobytes(), align=8)}
    packed = bytes(cell if isinstance(cell, bool) else 255 for cell in cells)
    return {"type": "SCALAR", "componentType": "UINT8", "noData": 255}, {"values": writer.view(packed, align=8)}


def _numbers(writer: GlbWriter, cells: Sequence[Any], *, whole: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    numbers = [_number(cell, whole) for cell in cells]
    kind, dtype = "FLOAT64", "<f8"
    if whole:
        largest = max((abs(v) for v in numbers if v is not None), default=0)
        if largest < 2**31:
            kind, dtype = "INT32", "<i4"
        elif largest > _EXACT:
            kind, dtype = "INT64", "<i8"
    none = _NO_NUMBER[kind]
    packed = np.array([none if v is None else v for v in numbers], dtype)
    described = {"type": "SCALAR", "componentType": kind, "noData": none}
    return described, {"values": writer.view(packed.tobytes(), align=8)}


def _number(cell: Any, whole: bool) -> int | float | None:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    if whole:
        return int(cell) if abs(cell) < 2**63 and int(cell) == cell else None
    try:
        value = float(cell)
    except OverflowError:
        return None
    return value if np.isfinite(value) else None
