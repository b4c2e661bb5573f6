"""Records by the batch, whatever the file: geometry as WKB, columns as lists of JSON values, and what could not be read.

Geometry comes through GDAL (pyogrio), but for text tables. Shapefile text is taken as bytes and decoded here, value by value,
so that one broken value costs one record.
"""

from __future__ import annotations

import math
import shutil
import struct
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.errors
import pyogrio.raw
import shapely

from importers.vector import encoding, shapefile, tables

BATCH = 65_536
"""Records read at once; of text formats, which cannot skip, four times as many."""
MAX_BYTES = 120_000_000
"""A record with more is refused: 5 million vertices in space."""
_GEOMETRY_AT_ONCE = 128 << 20
_GDAL_ERRORS = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FieldError, pyogrio.errors.FeatureError, pyogrio.errors.GeometryError, ValueError, RuntimeError)  # fmt: skip
_REFUSALS = 256
"""How often one batch is read again in halves."""
_TEXT_FORMATS = {".geojson", ".json", ".geojsonl", ".geojsons", ".xlsx"}

_SURFACES = {7: 7, 15: 6, 16: 6, 17: 3}
"""WKB types GEOS does not know, and what they are renamed to; collections are looked into."""

Problem = tuple[int, str, Mapping[str, Any]]
"""Number of the record, code, fields."""


@dataclass(slots=True)
class Batch:
    """Some records, in the order of the file."""

    numbers: Sequence[int]
    """Of each record, as its program counts: shapefiles from 1, tables by row with the names in row 1, databases by their key."""
    wkb: Sequence[bytes | None]
    columns: dict[str, list[Any]]
    lost: list[Problem] = field(default_factory=list)
    """Records that are not among these."""
    names: Sequence[str] = ()
    """Of a table: all its columns, those of the geometry included."""


def ogr_batches(path: Path, layer: str | None, count: int | None) -> Iterator[Batch]:
    """The records of a layer that GDAL reads and that has geometry."""
    first = 1 if path.suffix.lower() in {".geojson", ".json", ".geojsonl", ".geojsons"} else 0
    for batch in _chunks(path, layer, count, None):
        batch.numbers = [number + first for number in batch.numbers]
        yield batch


def sheet_batches(path: Path, layer: str, said: Mapping[str, str] | None) -> Iterator[Batch]:
    """The rows of an XLSX sheet whose first row names its columns."""
    for batch in _chunks(path, layer, None, None, HEADERS="FORCE"):
        yield _placed([n + 1 for n in batch.numbers], batch.columns, said, batch.lost)


def csv_batches(path: Path, form: tables.Dialect, said: Mapping[str, str] | None) -> Iterator[Batch]:
    """The rows of a CSV file."""
    for rows in tables.rows(path, form, BATCH):
        lost: list[Problem] = [(n, "vector.bad-row", {"reason": row}) for n, row in rows if isinstance(row, str)]
        kept = [(n, row) for n, row in rows if not isinstance(row, str)]
        cells = list(zip(*(row for _, row in kept), strict=True)) or [()] * len(form.names)
        columns = {name: [tables.value(c) for c in cell] for name, cell in zip(form.names, cells, strict=True)}
        yield _placed([number for number, _ in kept], columns, said, lost)


def shape_batches(path: Path, header: shapefile.ShapeHeader) -> Iterator[Batch]:
    """The records of a shapefile set: those whose lengths lie or that are too large are never handed to GDAL."""
    index = shapefile.read_index(header)
    bad = shapefile.unsound(header, index)
    left_out = bad | (index[:, 1] > MAX_BYTES)
    names = shapefile.field_names(header)
    with _readable(path, header, index) as source:
        start = 0
        while start < len(index):
            sizes = np.cumsum(np.where(left_out, 0, index[:, 1])[start : start + BATCH])
            stop = start + max(1, int(np.searchsorted(sizes, _GEOMETRY_AT_ONCE, side="right")))
            out = start + np.flatnonzero(left_out[start:stop])
            lost: list[Problem] = [
                (i + 1, "vector.record-length" if bad[i] else "vector.record-too-large", {"bytes": int(index[i, 1]), "limit": MAX_BYTES})
                for i in out.tolist()
            ]  # fmt: skip
            good = np.setdiff1d(np.arange(start, stop), out)
            if len(good):
                batch = _read(source, None, start, stop - start, good if len(out) else None, encoding="ISO-8859-1")
                yield _decoded(batch, lost, names, header.encoding.name, good)
            else:
                yield Batch([], [], {name: [] for name in names}, lost)
            start = stop


def geometries(wkb: Sequence[bytes | None]) -> Any:
    """object[n] of shapely geometries; ``None`` where there is none or none can be read. Surfaces of solids become multipolygons."""
    with np.errstate(invalid="ignore"):
        shapes = shapely.from_wkb([_plain_surfaces(one) for one in wkb], on_invalid="ignore")
    for i in np.flatnonzero(shapely.get_type_id(shapes) == 7).tolist():
        parts = shapely.get_parts(shapely.get_parts(shapes[i]))
        kinds = set(shapely.get_type_id(parts).tolist())
        multiple = {0: shapely.multipoints, 1: shapely.multilinestrings, 3: shapely.multipolygons}
        shapes[i] = multiple[kinds.pop()](parts) if len(kinds) == 1 and kinds <= multiple.keys() else None
    return shapes


def _chunks(path: Path, layer: str | None, count: int | None, encoding_: str | None, **options: str) -> Iterator[Batch]:
    text = path.suffix.lower() in _TEXT_FORMATS
    size = BATCH * 4 if text else BATCH
    start = 0
    while count is None or start < count:
        try:
            asked = size if count is None else min(size, count - start)
            batch = (_read_once if text else _read)(path, layer, start, asked, None, encoding=encoding_, **options)
        except _GDAL_ERRORS as error:  # text that breaks off cannot be read on behind the break
            yield Batch([], [], {}, [(start, "vector.unreadable-record", {"reason": _reason(error)})])
            return
        yield batch
        there = len(batch.numbers) + len(batch.lost)
        start += size
        if there < size and count is None:
            return


def _read(path: Path, layer: str | None, start: int, size: int, fids: Any, **options: Any) -> Batch:
    """Some records; where GDAL refuses, half of them at a time, down to those it refuses; many at once are refused as they are."""
    refusals = [_REFUSALS]

    def read(start: int, size: int, fids: Any) -> Batch:
        try:
            return _read_once(path, layer, start, size, fids, **options)
        except _GDAL_ERRORS as error:
            many = size if fids is None else len(fids)
            refusals[0] -= 1
            if many <= 1 or refusals[0] < 0:
                which = range(start, start + size) if fids is None else fids.tolist()
                return Batch([], [], {}, [(i, "vector.unreadable-record", {"reason": _reason(error)}) for i in which])
            half = many // 2
            if fids is None:
                return _joined(read(start, half, None), read(start + half, size - half, None))
            return _joined(read(start, size, fids[:half]), read(start, size, fids[half:]))

    return read(start, size, fids)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or ["-"])[0][:200]


def _read_once(path: Path, layer: str | None, start: int, size: int, fids: Any, **options: Any) -> Batch:
    which = {"skip_features": start, "max_features": size} if fids is None else {"fids": fids}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what GDAL warns about is seen in the records
        meta, numbers, wkb, data = pyogrio.raw.read(
            path, layer=layer, return_fids=True, datetime_as_string=True, **which, **options
        )
    types, subtypes = meta["ogr_types"], meta["ogr_subtypes"]
    columns = {
        str(name): _values(values, str(kind), str(sub))
        for name, values, kind, sub in zip(meta["fields"], data, types, subtypes, strict=True)
    }
    return Batch(numbers.tolist(), [None] * len(numbers) if wkb is None else wkb.tolist(), columns)


def _joined(a: Batch, b: Batch) -> Batch:
    names = list(a.columns or b.columns)
    columns = {name: [*a.columns.get(name, []), *b.columns.get(name, [])] for name in names}
    return Batch([*a.numbers, *b.numbers], [*a.wkb, *b.wkb], columns, [*a.lost, *b.lost])


def _values(values: Any, kind: str, subtype: str) -> list[Any]:
    """A column as JSON values: what is not finite or not there is ``None``, binary is left out."""
    if kind == "OFTBinary":
        return [None] * len(values)
    if values.dtype.kind == "M":
        return [None if np.isnat(v) else str(v) for v in values]
    plain: list[Any] = values.tolist()
    if values.dtype.kind == "f":
        whole = kind in {"OFTInteger", "OFTInteger64"}
        plain = [None if not math.isfinite(v) else int(v) if whole else v for v in plain]
    if kind.startswith("OFTInteger") and subtype == "OFSTBoolean":
        return [None if v is None else bool(v) for v in plain]
    if values.dtype.kind == "O":
        return [v if v is None or isinstance(v, str) else _json(v) for v in plain]
    return plain


def _json(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) else None


def _decoded(batch: Batch, lost: list[Problem], names: Sequence[str], codec: str, good: Any) -> Batch:
    """A shapefile's batch with its text decoded and its records counted from 1."""
    lost = [*lost, *((number + 1, code, fields) for number, code, fields in batch.lost)]
    seen = {*batch.numbers, *(number for number, _, _ in batch.lost)}
    lost += [(i + 1, "vector.record-deleted", {}) for i in good.tolist() if i not in seen]
    broken: dict[int, str] = {}
    columns: dict[str, list[Any]] = {}
    fresh = names if len(names) == len(batch.columns) else list(batch.columns)
    for name, values in zip(fresh, batch.columns.values(), strict=True):
        columns[name] = values
        for row, value in enumerate(values):
            if isinstance(value, str) and not value.isascii():
                try:
                    values[row] = encoding.cut_decode(value.encode("latin-1"), codec)
                except UnicodeError:
                    broken[row] = name
    lost += [
        (batch.numbers[row] + 1, "vector.undecodable", {"field": name, "encoding": codec})
        for row, name in broken.items()
    ]
    kept = [row for row in range(len(batch.numbers)) if row not in broken]
    if broken:
        columns = {name: [values[row] for row in kept] for name, values in columns.items()}
    return Batch([batch.numbers[row] + 1 for row in kept], [batch.wkb[row] for row in kept], columns, lost)


def _placed(
    numbers: list[int], columns: dict[str, list[Any]], said: Mapping[str, str] | None, lost: list[Problem]
) -> Batch:
    """A batch of rows with the geometry its columns give."""
    chosen = tables.columns_of(list(columns), said)
    if not numbers:
        return Batch([], [], columns, lost, list(columns))
    if not chosen:
        shapes, why = [None] * len(numbers), ["-"] * len(numbers)
    else:
        shapes, why = tables.geometries(columns, chosen)
    lost = [
        *lost, *((n, "vector.no-coordinates", {"value": text}) for n, text, one in zip(numbers, why, shapes, strict=True) if one is None),
    ]  # fmt: skip
    kept = [i for i, one in enumerate(shapes) if one is not None]
    # Coordinates stay attributes, as the source has them; WKT would be the geometry over again.
    rest = {name: [values[i] for i in kept] for name, values in columns.items() if name != chosen.wkt}
    return Batch([numbers[i] for i in kept], list(shapely.to_wkb([shapes[i] for i in kept])), rest, lost, list(columns))


@contextmanager
def _readable(path: Path, header: shapefile.ShapeHeader, index: Any) -> Iterator[Path]:
    """The set as GDAL can open it: with an index of our own in a folder of its own where it has none."""
    if any(file.suffix.lower() == ".shx" for file in header.files):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in header.files:
            target = Path(folder) / f"set{file.suffix.lower()}"
            try:
                target.symlink_to(file.absolute())
            except OSError:
                shutil.copyfile(file, target)
        shapefile.write_index(Path(folder) / "set.shx", header, index)
        yield Path(folder) / "set.shp"


def _plain_surfaces(wkb: bytes | None) -> bytes | None:
    """WKB whose polyhedral surfaces, TINs and triangles are written as the multipolygons and polygons they are made of."""
    if wkb is None or len(wkb) < 9 or wkb[0] != 1 or _base(wkb, 0) not in _SURFACES:
        return wkb
    out = bytearray(wkb)
    try:
        _rename(out, 0)
    except struct.error:
        return wkb
    return bytes(out)


def _base(wkb: bytes | bytearray, at: int) -> int:
    kind: int = struct.unpack_from("<I", wkb, at + 1)[0]
    return (kind & 0x0FFFFFFF) % 1000


def _rename(wkb: bytearray, at: int) -> int:
    """Rename the geometry at this byte and those in it; gives the byte after it."""
    kind, count = struct.unpack_from("<II", wkb, at + 1)
    base = _base(wkb, at)
    if base in _SURFACES:
        struct.pack_into("<I", wkb, at + 1, kind - base + _SURFACES[base])
    at += 9
    if base in {3, 17}:
        dimensions = 2 + {0: 0, 1: 1, 2: 1, 3: 2}[(kind & 0x0FFFFFFF) // 1000] + (kind >> 31)
        for _ in range(count):
            at += 4 + 8 * dimensions * int(struct.unpack_from("<I", wkb, at)[0])
        return at
    if base not in {4, 5, 6, 7, 15, 16}:
        raise struct.error
    for _ in range(count):
        at = _rename(wkb, at)
    return at
