"""Vector files: shapefiles, file geodatabases, GeoPackages, GeoJSON, CSV and XLSX tables; every layer is one delivery of objects.

Source keys: the field that ``--key`` or the mapping names; otherwise the hash of the geometry, so that a record whose attributes
alone were edited stays the object it was; the n-th of equal geometries has ``-n`` behind it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from importers import ImportContext, Probe
from importers.vector import encoding, shapefile, tables
from importers.vector.mapping import MappingFile, rule_of
from tim.errors import SourceError, UsageError
from tim.model import Blob, ObjectRecord, Rejected
from tim.place.resolve import FoundCrs
from tim.sources import Fingerprint, SourceRef, fingerprint

__all__ = ["COMPANIONS", "open", "probe", "read"]

SUFFIXES = (".shp", ".csv", ".xlsx", ".gpkg", ".geojson", ".json", ".geojsonl", ".geojsons")
FOLDERS = (".gdb",)

COMPANIONS: Mapping[str, Sequence[str]] = {
    ".shp": shapefile.SIDES,
    ".csv": (".csvt",),
    ".gpkg": (".gpkg-wal", ".gpkg-shm"),
}
"""By the suffix of a file, what else belongs to it under the same name."""
_SAMPLE_ROWS = 10_000
_MAX_JSON = 64 << 20
"""Bytes of GeoJSON that are read through to know their extent; of larger files, the first records are."""
_MAX_SHEETS = 2 << 30
"""Bytes an XLSX file may unpack to."""
_GEOJSON = re.compile(
    rb'"type"\s*:\s*"(?:Feature(?:Collection)?|(?:Multi)?(?:Point|LineString|Polygon)|GeometryCollection)"'
)


def probe(path: Path, key: str = "") -> list[Probe]:
    """One probe for each layer with geometry, from headers as far as the format has them; empty for anything foreign."""
    path = Path(path)
    suffix = path.suffix.lower()
    known = {".shp": _shapefile, ".csv": _csv, ".xlsx": _xlsx, ".gpkg": _container, ".gdb": _container, ".geojson": _geojson, ".json": _geojson, ".geojsonl": _geojson, ".geojsons": _geojson}  # fmt: skip
    if suffix not in known or path.is_dir() != (suffix == ".gdb"):
        return []
    key = _file_key(key, path) or path.name
    try:
        return known[suffix](path, key)
    except OSError as error:
        return [_fatal(path, key, "vector.unreadable", reason=error.strerror or str(error))]


def settle(probe: Probe, settings: Mapping[str, Any]) -> Probe:
    """The probe of a table again, where the user names its encoding or, in a mapping file, its columns. Raises UsageError."""
    path = Path(probe.uri)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".xlsx") or not (settings.get("mapping") or settings.get("encoding")):
        return probe
    try:
        again = (_csv if suffix == ".csv" else _xlsx)(path, _file_key(probe.key, path), settings)
    except OSError:
        return probe
    return next((found for found in again if found.key == probe.key), probe)


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | Blob | SourceRef | Rejected]:
    """The objects of one layer. Settings: ``key`` (field), ``mapping`` (path), ``encoding``.

    Raises UsageError for a key or mapping that does not fit the layer, SourceError where the file is gone.
    """
    from importers.vector.objects import Reader

    yield from probe.problems
    if probe.fatal:
        return
    path, settings = Path(probe.uri), context.settings
    mapping = _mapping(settings)
    layer = str(probe.options["layer"])
    try:
        batches, fields, prints = _opened(probe, path, layer, settings, mapping)
    except OSError as error:
        raise SourceError("vector.unreadable", file=probe.key, reason=error.strerror or str(error)) from None
    rule = rule_of(layer, fields, mapping, str(settings.get("key") or ""), context.classes)
    own = str(settings.get("layer") or rule.layer or context.layer)
    reader = Reader(probe.key, own, rule, context, solids=probe.options.get("geometry") == "multipatch")
    for batch in batches:
        yield from reader.read(batch)
    if probe.count is not None and reader.records < probe.count:
        missing = probe.count - reader.records
        yield Rejected(probe.key, "vector.records-missing", {"file": probe.key, "count": missing, "of": probe.count})
    if reader.box is not None:
        repairs = {"repairs": sorted(reader.repairs)} if reader.repairs else {}
        yield context.source(probe, prints, reader.box, reader.count, layers=sorted(reader.layers), rule=dict(rule.recognised), **repairs)  # fmt: skip


def open(ref: SourceRef) -> NoReturn:  # noqa: A001
    """Raises SourceError: objects are in the store, there is nothing to open."""
    raise SourceError("vector.not-bulk", file=ref.key)


def _opened(
    probe: Probe, path: Path, layer: str, settings: Mapping[str, Any], mapping: MappingFile | None
) -> tuple[Iterator[Any], list[str], Fingerprint]:
    """The batches of a layer, its fields, and the fingerprint of its files."""
    from importers.vector import layers

    suffix = path.suffix.lower()
    said = _encoding(settings)
    geometry = mapping.geometry(layer) if mapping else None
    if suffix == ".shp":
        header = shapefile.read_header(path)
        if header is None:
            raise SourceError("vector.not-a-shapefile", file=probe.key)
        header = shapefile.with_encoding(header, said) if said else header
        return (
            layers.shape_batches(path, header),
            shapefile.field_names(header),
            shapefile.set_fingerprint(header.files),
        )
    prints = fingerprint(path)
    if suffix == ".csv":
        form = tables.dialect(path, said)
        if form is None:
            raise SourceError("vector.not-a-table", file=probe.key)
        return layers.csv_batches(path, form, geometry), list(form.names), prints
    fields = [str(name) for name in probe.options["fields"]]
    if suffix == ".xlsx":
        return layers.sheet_batches(path, layer, geometry), fields, prints
    return layers.ogr_batches(path, probe.options.get("ogr_layer"), probe.count), fields, prints


def _file_key(key: str, path: Path) -> str:
    """The key of the file: a plan names a layer of a container by ``file.gpkg#layer``."""
    name, mark, _ = (
        key.partition(f"{path.suffix}#") if path.suffix.lower() in (".gpkg", ".gdb", ".xlsx") else (key, "", "")
    )
    return f"{name}{path.suffix}" if mark else name


def _mapping(settings: Mapping[str, Any]) -> MappingFile | None:
    return MappingFile(Path(str(settings["mapping"]))) if settings.get("mapping") else None


def _encoding(settings: Mapping[str, Any]) -> str | None:
    text = str(settings.get("encoding") or "")
    said = encoding.named(text) if text else None
    if text and said is None:
        raise UsageError("vector.no-encoding", value=text)
    return said


def _shapefile(path: Path, key: str) -> list[Probe]:
    header = shapefile.read_header(path)
    if header is None:
        return [_fatal(path, key, "vector.not-a-shapefile")]
    problems = [*_missing(header, key), *_encoding_problem(header.encoding, key)]
    table = header.table
    if table is not None and header.count is not None and min(table.count, table.there) != header.count:
        fields = {"file": key, "rows": min(table.count, table.there), "shapes": header.count}
        problems.append(Rejected(key, "vector.counts-differ", fields))
    fatal = header.count == 0
    if fatal:
        problems.insert(0, Rejected(key, "vector.empty", {"file": key}))
    names = shapefile.field_names(header)
    layer = PurePosixPath(key).stem
    low, high = (header.low, header.high) if fatal or _sane(header.low, header.high) else _measured(path, header)
    return [Probe(
        uri=str(path), format="vector", kind="objects", key=key, files=len(header.files), size=header.size, count=header.count,
        low=low, high=high, found=FoundCrs(header.prj, where=key), problems=tuple(problems), fatal=fatal,
        options=_options(layer, names) | {"geometry": header.kind, "encoding": header.encoding.name},
    )]  # fmt: skip


def _sane(low: Sequence[float], high: Sequence[float]) -> bool:
    return (
        bool(np.isfinite([*low, *high]).all()) and all(a <= b for a, b in zip(low, high, strict=True)) and any(high[:2])
    )


def _measured(
    path: Path, header: shapefile.ShapeHeader
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The extent by the records, where the header's cannot be: some programs never fill it in."""
    import pyogrio

    try:
        bounds = _sampled(path)
    except (pyogrio.errors.DataSourceError, ValueError, RuntimeError):
        return header.low, header.high
    west, south, east, north = bounds or (*header.low[:2], *header.high[:2])
    return (west, south, 0.0), (east, north, 0.0)


def _sampled(path: Path) -> tuple[float, float, float, float] | None:
    """The bounds of the first records; ``None`` where none has any. Raises pyogrio's errors."""
    import pyogrio

    boxes = pyogrio.read_bounds(path, max_features=_SAMPLE_ROWS)[1]
    boxes = boxes[:, np.isfinite(boxes).all(axis=0)]
    if not boxes.size:
        return None
    (west, south), (east, north) = boxes[:2].min(axis=1).tolist(), boxes[2:].max(axis=1).tolist()
    return west, south, east, north


def _missing(header: shapefile.ShapeHeader, key: str) -> list[Rejected]:
    there = {file.suffix.lower() for file in header.files}
    codes = {".shx": "vector.no-index", ".dbf": "vector.no-table", ".prj": "vector.no-prj"}
    out = [Rejected(key, code, {"file": key}) for suffix, code in codes.items() if suffix not in there]
    if ".dbf" in there and header.table is None:
        out.append(Rejected(key, "vector.bad-table", {"file": key}))
    return out


def _encoding_problem(found: encoding.Encoding, key: str) -> list[Rejected]:
    if not found.declared:
        return []
    return [
        Rejected(
            key,
            "vector.wrong-encoding",
            {"file": key, "where": found.where, "declared": found.declared, "found": found.name},
        )
    ]


def _csv(path: Path, key: str, settings: Mapping[str, Any] = MappingProxyType({})) -> list[Probe]:
    import shapely

    from importers.vector import layers

    form = tables.dialect(path, _encoding(settings))
    if form is None or len(form.names) < 2:
        return []
    mapping = _mapping(settings)
    said = mapping.geometry(PurePosixPath(key).stem) if mapping else None
    columns = tables.columns_of(form.names, said)
    if not columns:
        return [_fatal(path, key, "vector.no-columns", columns=", ".join(form.names))]
    whole = path.stat().st_size <= _MAX_JSON // 4
    count, shapes = 0, []
    for batch in layers.csv_batches(path, form, said):
        count += len(batch.numbers) + len(batch.lost)
        shapes.append(layers.geometries(batch.wkb))
        if not whole:
            break
    low, high = _extent(shapely.get_coordinates(np.concatenate(shapes), include_z=True)) if shapes else (None, None)
    return [
        _table(
            path,
            key,
            PurePosixPath(key).stem,
            count if whole else None,
            low,
            high,
            form.names,
            columns,
            form.encoding.name,
        )
    ]


def _xlsx(path: Path, key: str, settings: Mapping[str, Any] = MappingProxyType({})) -> list[Probe]:
    import pyogrio
    import shapely

    from importers.vector import layers

    try:
        with zipfile.ZipFile(path) as packed:
            if sum(item.file_size for item in packed.infolist()) > _MAX_SHEETS:
                return [_fatal(path, key, "vector.sheets-too-large", limit=_MAX_SHEETS)]
        sheets = [str(name) for name, _ in pyogrio.list_layers(path)]
    except (zipfile.BadZipFile, pyogrio.errors.DataSourceError, ValueError) as error:
        return [_fatal(path, key, "vector.unreadable", reason=str(error).splitlines()[0])]
    out = []
    mapping = _mapping(settings)
    for sheet in sheets:
        said = mapping.geometry(sheet) if mapping else None
        count, shapes = 0, []
        names: Sequence[str] = ()
        for batch in layers.sheet_batches(path, sheet, said):
            count += len(batch.numbers) + len(batch.lost)
            shapes.append(layers.geometries(batch.wkb))
            names = batch.names or names
        if not count:
            continue
        own = f"{key}#{sheet}" if len(sheets) > 1 else key
        columns = tables.columns_of(names, said)
        low, high = _extent(shapely.get_coordinates(np.concatenate(shapes), include_z=True))
        if columns:
            out.append(_table(path, own, sheet, count, low, high, names, columns, "utf-8"))
        else:
            out.append(_fatal(path, own, "vector.no-columns", columns=", ".join(names)))
    return out


def _table(
    path: Path, key: str, layer: str, count: int | None, low: Any, high: Any, names: Sequence[str], columns: tables.Columns, codec: str,
) -> Probe:  # fmt: skip
    fatal = low is None
    problems = (Rejected(key, "vector.empty", {"file": key}),) if fatal else ()
    options = _options(layer, names) | {"geometry": columns.wkt or f"{columns.x}, {columns.y}", "encoding": codec}
    return Probe(
        uri=str(path), format="vector", kind="objects", key=key, files=1, size=path.stat().st_size, count=count, low=low, high=high,
        found=FoundCrs(where=key), problems=problems, fatal=fatal, options=options,
    )  # fmt: skip


def _geojson(path: Path, key: str) -> list[Probe]:
    import pyogrio

    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    if (
        not head.lstrip(b"\xef\xbb\xbf\x1e \t\r\n").startswith(b"{")
        or b'"CityJSON' in head
        or not _GEOJSON.search(head)
    ):
        return []
    whole = path.stat().st_size <= _MAX_JSON
    try:
        info = pyogrio.read_info(path, force_feature_count=whole, force_total_bounds=whole)
        bounds = info["total_bounds"] if whole else _sampled(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.GeometryError, ValueError, RuntimeError) as error:
        return [_fatal(path, key, "vector.unreadable", reason=str(error).splitlines()[0][:200])]
    # RFC 7946 §4: WGS 84, and heights above its ellipsoid.
    plain = info["crs"] in ("EPSG:4326", "EPSG:4979", "OGC:CRS84", None)
    return [
        _layer(
            path,
            key,
            PurePosixPath(key).stem,
            None,
            info,
            bounds,
            "EPSG:4979" if plain else info["crs"],
            info["features"] if whole else None,
        )
    ]


def _container(path: Path, key: str) -> list[Probe]:
    import pyogrio

    try:
        names = [(str(name), kind) for name, kind in pyogrio.list_layers(path)]
    except (pyogrio.errors.DataSourceError, ValueError, RuntimeError) as error:
        return [_fatal(path, key, "vector.unreadable", reason=str(error).splitlines()[0][:200])]
    out = []
    for name, kind in names:
        own = f"{key}#{name}" if len(names) > 1 else key
        if kind is None and _related(path, name):
            continue
        if kind is None:
            out.append(_fatal(path, own, "vector.no-geometry-column", layer=name))
            continue
        try:
            info = pyogrio.read_info(path, layer=name, force_feature_count=True, force_total_bounds=True)
        except (pyogrio.errors.DataSourceError, pyogrio.errors.GeometryError, ValueError, RuntimeError) as error:
            out.append(_fatal(path, own, "vector.unreadable", reason=str(error).splitlines()[0][:200]))
            continue
        out.append(_layer(path, own, name, name, info, info["total_bounds"], info["crs"], info["features"]))
    return out


def _related(path: Path, name: str) -> bool:
    """Whether a table says more of the objects of an export of ours, whose layer says it as well."""
    import pyogrio

    return {"tim_id", "version"} <= set(pyogrio.read_info(path, layer=name)["fields"].tolist())


def _layer(
    path: Path,
    key: str,
    layer: str,
    ogr_layer: str | None,
    info: Mapping[str, Any],
    bounds: Any,
    crs: str | None,
    count: int | None,
) -> Probe:
    """The probe of a layer that GDAL knows."""
    names = [str(name) for name in info["fields"]]
    fatal = count == 0 or bounds is None or not np.isfinite(bounds).all()
    problems = [Rejected(key, "vector.empty", {"file": key})] if fatal else []
    binary = [name for name, kind in zip(names, info["ogr_types"], strict=True) if kind == "OFTBinary"]
    problems += [Rejected(f"{key}:{name}", "vector.binary-field", {"file": key, "field": name}) for name in binary]
    if not fatal and str(info["geometry_type"]).split(" ")[0] in ("Unknown", "GeometryCollection"):
        problems.append(Rejected(key, "vector.mixed-geometry", {"file": key}))
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    low, high = (
        (None, None)
        if fatal
        else ((float(bounds[0]), float(bounds[1]), 0.0), (float(bounds[2]), float(bounds[3]), 0.0))
    )
    return Probe(
        uri=str(path), format="vector", kind="objects", key=key, files=len(files), size=sum(p.stat().st_size for p in files),
        count=count, low=low, high=high, found=FoundCrs(crs, where=key), problems=tuple(problems), fatal=fatal,
        options=_options(layer, names) | {"geometry": str(info["geometry_type"]), "encoding": "utf-8", "ogr_layer": ogr_layer},
    )  # fmt: skip


def _options(layer: str, fields: Sequence[str]) -> dict[str, Any]:
    """What the inventory says about a layer, what its names are taken for included."""
    return {"layer": layer, "fields": list(fields), "recognised": dict(rule_of(layer, fields).recognised)}


def _extent(xyz: Any) -> tuple[Any, Any]:
    good = xyz[np.isfinite(xyz[:, :2]).all(axis=1)]
    if not len(good):
        return None, None
    good = np.where(np.isfinite(good), good, 0.0)
    return tuple(good.min(axis=0).tolist()), tuple(good.max(axis=0).tolist())


def _fatal(path: Path, key: str, code: str, **fields: Any) -> Probe:
    return Probe(
        uri=str(path), format="vector", kind="objects", key=key, files=1, size=path.stat().st_size if path.exists() else 0, count=None,
        low=None, high=None, found=FoundCrs(where=key), problems=(Rejected(key, code, {"file": key, **fields}),), fatal=True,
    )  # fmt: skip
