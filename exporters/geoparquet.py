"""GeoParquet 1.1: columns by type, codes and relations as lists of structures, a box column that readers filter by, row groups in order.

Geometry is WKB with x the longitude or easting, whatever the CRS says of its axes, as GeoParquet has it. Equal content gives equal
bytes. Needs pyarrow, the extra ``parquet``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from exporters.csvtable import structure
from exporters.job import WGS84, Job
from tim.errors import UsageError
from tim.exchange import NUMBERS, OWN, TEXTS
from tim.geometry import F64

_CORNERS = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")


def write(path: Path, job: Job) -> None:
    """Every version of the job, a row group for some thousand. Raises UsageError where pyarrow is missing, OSError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError("export.no-pyarrow") from None
    columns = job.columns()
    text = pa.string()
    kinds = {"text": text, "integer": pa.int64(), "real": pa.float64(), "boolean": pa.bool_()}
    valid = [("valid_from", text), ("valid_to", text)]
    types = dict.fromkeys(TEXTS, text) | dict.fromkeys(NUMBERS, pa.int64()) | {
        "codes": pa.list_(pa.struct([("scheme", text), ("edition", text), ("value", text), *valid])),
        "relations": pa.list_(pa.struct([("kind", text), ("target", text), *valid, ("evidence", text)])),
        "representations": text, "attributes": text,
    }  # fmt: skip
    fields = [pa.field(name, types[name]) for name in OWN]
    fields += [pa.field(name, kinds[kind]) for name, kind in columns.of.items()]
    fields += [
        pa.field("bbox", pa.struct([(corner, pa.float64()) for corner in _CORNERS])),
        pa.field("geometry", pa.binary()),
    ]
    schema = pa.schema(fields)
    met: set[str] = set()
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for versions, shapes in job.batches():
            own, cells = columns.values(versions)
            for name in ("representations", "attributes"):
                for row in own:
                    row[name] = structure(row[name])
            boxes, known = _boxes(shapes)
            met |= {_kind(shape) for shape in shapes if shape is not None}
            low = np.minimum(low, np.min(boxes[known, :3], axis=0, initial=np.inf))
            high = np.maximum(high, np.max(boxes[known, 3:], axis=0, initial=-np.inf))
            corners = [
                dict(zip(_CORNERS, box, strict=True)) if there else None
                for box, there in zip(boxes.tolist(), known.tolist(), strict=True)
            ]
            table = {name: [row[name] for row in own] for name in OWN} | cells
            table |= {"bbox": corners, "geometry": shapely.to_wkb(shapes, flavor="iso").tolist()}
            arrays = [pa.array(table[field.name], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=len(versions))
        bounds = [*low.tolist(), *high.tolist()] if np.isfinite(low).all() else None
        writer.add_key_value_metadata({"geo": json.dumps(_geo(job.crs, sorted(met), bounds), sort_keys=True)})


def _geo(crs: str, kinds: list[str], bounds: list[float] | None) -> dict[str, Any]:
    """The metadata of the file (GeoParquet 1.1.0, "File metadata")."""
    from pyproj import CRS

    column = {
        "encoding": "WKB", "geometry_types": kinds, "crs": CRS.from_user_input("OGC:CRS84h" if crs == WGS84 else crs).to_json_dict(),
        "covering": {"bbox": {corner: ["bbox", corner] for corner in _CORNERS}}, "edges": "planar",
    }  # fmt: skip
    return {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": column | ({"bbox": bounds} if bounds else {})},
    }


def _kind(shape: Any) -> str:
    return f"{shape.geom_type} Z"


def _boxes(shapes: Any) -> tuple[F64, Any]:
    """float64[n, 6] and which of them there are."""
    points, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    low, high = np.full((len(shapes), 3), np.inf), np.full((len(shapes), 3), -np.inf)
    np.minimum.at(low, owner, points)
    np.maximum.at(high, owner, points)
    return np.hstack([low, high]), np.isfinite(low).all(axis=1)
