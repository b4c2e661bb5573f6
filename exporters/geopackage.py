"""GeoPackage (OGC 12-128r19): one layer with all objects, and tables of their codes and relations that name them by ``tim_id`` and version.

One layer, not one for each class: an object has the same columns in all exports of its dataset, and a GIS filters and styles by ``class``.
Codes and relations are in the layer as well, as JSON, for those who read a row and not a database.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from exporters.csvtable import structure
from exporters.job import Job
from tim.errors import WorkspaceError
from tim.exchange import NUMBERS, OWN, STRUCTURES, TEXTS

CODES = ("tim_id", "version", "scheme", "edition", "value", "valid_from", "valid_to")
RELATIONS = ("tim_id", "version", "kind", "target", "valid_from", "valid_to", "evidence")
_DTYPES = {"integer": np.int64, "real": np.float64, "boolean": np.bool_, "text": object}


def write(path: Path, job: Job) -> None:
    """Every version of the job. Raises WorkspaceError ``export.cannot-write``."""
    columns = job.columns()
    kinds: dict[str, str] = {
        **dict.fromkeys(TEXTS, "text"),
        **dict.fromkeys(NUMBERS, "integer"),
        **dict.fromkeys(STRUCTURES, "text"),
    }
    kinds |= columns.of
    written: set[str] = set()

    def put(layer: str, values: Mapping[str, Sequence[Any]], shapes: Any | None, of: Mapping[str, str]) -> None:
        _append(path, layer, values, of, shapes, job.crs, append=layer in written, first=not written)
        written.add(layer)

    empty: list[Any] = []
    related = dict.fromkeys((*CODES, *RELATIONS), "text") | {"version": "integer"}
    for versions, shapes in job.batches():
        own, cells = columns.values(versions)
        table = {
            name: [structure(row[name]) if name in STRUCTURES else row[name] for row in own] for name in OWN
        } | cells
        put(job.dataset, table, shapes, kinds)
        put("codes", _related(own, "codes", CODES), None, related)
        put("relations", _related(own, "relations", RELATIONS), None, related)
    if not written:
        put(job.dataset, dict.fromkeys(kinds, empty), np.empty(0, object), kinds)
        put("codes", dict.fromkeys(CODES, empty), None, related)
        put("relations", dict.fromkeys(RELATIONS, empty), None, related)


def _related(own: Sequence[Mapping[str, Any]], name: str, columns: Sequence[str]) -> dict[str, list[Any]]:
    rows = [{"tim_id": row["tim_id"], "version": row["version"], **one} for row in own for one in row[name]]
    return {column: [row[column] for row in rows] for column in columns}


def _append(
    path: Path, layer: str, values: Mapping[str, Sequence[Any]], kinds: Mapping[str, str], shapes: Any | None, crs: str, *,
    append: bool, first: bool,
) -> None:  # fmt: skip
    import pyogrio.errors
    import pyogrio.raw

    data: list[NDArray[Any]] = []
    masks: list[NDArray[np.bool_] | None] = []
    for name, column in values.items():
        missing = np.array([value is None for value in column], bool)
        kind = kinds[name]
        filled = column if kind == "text" else [0 if value is None else value for value in column]
        data.append(np.array(filled, _DTYPES[kind]))
        masks.append(None if kind == "text" else missing)
    spatial = shapes is not None
    wkb = shapely.to_wkb(shapes, flavor="iso") if spatial else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about the suffix of the part file and the mix of geometry types, which is meant
            pyogrio.raw.write(
                path, wkb, data, list(values), field_mask=masks, layer=layer, driver="GPKG", append=append or not first,
                geometry_type="Unknown" if spatial else None, crs=crs if spatial else None,
                layer_options=None if append else {"SPATIAL_INDEX": "YES"} if spatial else {"ASPATIAL_VARIANT": "GPKG_ATTRIBUTES"},
            )  # fmt: skip
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FieldError, pyogrio.errors.FeatureError, pyogrio.errors.GeometryError, RuntimeError) as error:  # fmt: skip
        raise WorkspaceError(
            "export.cannot-write", path=str(path), reason=(str(error).splitlines() or ["-"])[0][:200]
        ) from None
