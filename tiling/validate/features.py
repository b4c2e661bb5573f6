"""Features of a glb: property tables (EXT_structural_metadata), and the ids that vertices and instances give into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.spec.glb import Glb
from tiling.spec.scene import INSTANCING

Fault = tuple[str, dict[str, Any]]
_BYTES = {
    "INT8": 1,
    "UINT8": 1,
    "INT16": 2,
    "UINT16": 2,
    "INT32": 4,
    "UINT32": 4,
    "INT64": 8,
    "UINT64": 8,
    "FLOAT32": 4,
    "FLOAT64": 8,
}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_OFFSETS = {"UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8"}


def feature_faults(document: Glb, decoded: Mapping[int, NDArray[Any]]) -> Iterator[Fault]:
    """What is wrong with tables and ids. ``decoded``: values of the accessors that can be read."""
    top = document.json
    metadata = top.get("extensions", {}).get("EXT_structural_metadata", {})
    tables = metadata.get("propertyTables", [])
    classes = metadata.get("schema", {}).get("classes") if "schemaUri" not in metadata else None
    for number, table in enumerate(tables):
        if classes is not None:
            yield from _table(document, number, table, classes)
    for mesh in top.get("meshes", []):
        for primitive in mesh["primitives"]:
            ids = primitive.get("extensions", {}).get("EXT_mesh_features", {}).get("featureIds", [])
            yield from _ids(ids, primitive["attributes"], tables, decoded)
    for node in top.get("nodes", []):
        extensions = node.get("extensions", {})
        ids = extensions.get("EXT_instance_features", {}).get("featureIds", [])
        yield from _ids(ids, extensions.get(INSTANCING, {}).get("attributes", {}), tables, decoded)


def _table(document: Glb, number: int, table: Mapping[str, Any], classes: Mapping[str, Any]) -> Iterator[Fault]:
    count, described = table["count"], classes.get(table["class"])
    if count < 1 or described is None:
        yield "glb-feature", {"reason": f"property table {number} has {count} rows of class {table['class']!r}"}
        return
    properties = described.get("properties", {})
    for name, stored in table.get("properties", {}).items():
        if name not in properties:
            yield "glb-feature", {"reason": f"property table {number} has {name!r}, its class has not"}
            continue
        kind = properties[name]
        if kind.get("array"):
            continue
        size = len(document.view(stored["values"]))
        if kind["type"] == "STRING":
            dtype = np.dtype(_OFFSETS[stored.get("stringOffsetType", "UINT32")])
            view = document.view(stored["stringOffsets"])
            if len(view) < (count + 1) * dtype.itemsize:
                yield "glb-feature", {"reason": f"property {name!r} has too few string offsets for {count} rows"}
                continue
            offsets = np.frombuffer(view, dtype, count + 1).astype(np.int64)
            if (np.diff(offsets) < 0).any() or int(offsets[-1]) > size:
                yield "glb-feature", {"reason": f"the string offsets of property {name!r} leave its values"}
            continue
        if kind["type"] == "BOOLEAN":
            needed = -(-count // 8)
        else:
            component = kind.get("componentType") or "UINT32"
            needed = count * _BYTES.get(component, 1) * _WIDTHS.get(kind["type"], 1)
        if size < needed:
            yield "glb-feature", {"reason": f"property {name!r} has {size} bytes, {count} rows need {needed}"}


def _ids(ids: Any, attributes: Mapping[str, int], tables: Any, decoded: Mapping[int, NDArray[Any]]) -> Iterator[Fault]:
    for entry in ids:
        table = entry.get("propertyTable")
        if table is not None and not 0 <= table < len(tables):
            yield "glb-feature", {"reason": f"property table {table} does not exist"}
            continue
        if "attribute" not in entry:
            continue
        accessor = attributes.get(f"_FEATURE_ID_{entry['attribute']}")
        if accessor is None:
            yield "glb-feature", {"reason": f"there is no _FEATURE_ID_{entry['attribute']}"}
            continue
        if accessor not in decoded or table is None:
            continue
        values = decoded[accessor].reshape(-1)
        if "nullFeatureId" in entry:
            values = values[values != entry["nullFeatureId"]]
        if len(values) and not 0 <= float(values.min()) <= float(values.max()) < tables[table]["count"]:
            rows = tables[table]["count"]
            yield "glb-feature", {"reason": f"feature {float(values.max()):g} of a table with {rows} rows"}
