"""LAS and LAZ (1.0 to 1.4, COPC included): one file is one source and one object of class ``survey.point-cloud``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from importers import ImportContext, Probe
from importers.las.crs import found_crs
from importers.las.header import Header, HeaderError, Problem, chunks, read_header
from importers.las.source import LasSource, color_bits
from tim.errors import CorruptSource, SourceError
from tim.geometry import F64
from tim.model import ObjectRecord, Rejected, Representation
from tim.place import Box3, Place
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef, fingerprint

__all__ = ["LasSource", "open", "probe", "read"]

SUFFIXES = (".las", ".laz")
FOLDERS = False


def probe(path: Path, key: str = "") -> list[Probe]:
    """The header and chunk table of one LAS or LAZ file; empty for folders and other files. Points that are missing make it ``fatal``."""
    path = Path(path)
    if not path.is_file():
        return []
    key = key or path.name
    try:
        header = read_header(path)
    except OSError as error:
        return [_unreadable(path, key, "las.unreadable", {"reason": error.strerror or str(error)})]
    except HeaderError as error:
        return [_unreadable(path, key, error.code, error.fields)]
    if header is None:
        return []
    found, problems = found_crs(header, key)
    problems = [*header.problems, *problems]
    fatal = _missing_points(path, header)
    return [
        Probe(
            uri=str(path), format="las", kind="points", key=key, files=1, size=header.size, count=header.count,
            low=header.low, high=header.high, found=found,
            problems=tuple(_rejected(key, *problem) for problem in [*fatal, *problems]), fatal=bool(fatal),
            options={"scale": list(header.scale)},
        )
    ]  # fmt: skip


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | SourceRef | Rejected]:
    """One object and its bulk source, after the problems; a file that cannot be used gives its problems only."""
    yield from probe.problems
    if probe.fatal:
        return
    path = Path(probe.uri)
    try:
        source = LasSource(path, context.place, 16)
        bits = color_bits(source)
    except CorruptSource as error:
        yield Rejected(probe.key, error.code, {**error.fields, "file": probe.key})
        return
    header = source.header
    box = _box(context.place, np.array(header.low), np.array(header.high))
    yield ObjectRecord(
        source_key=probe.key, class_id="survey.point-cloud", name=Path(probe.key).name, layer=context.layer,
        attributes={
            "points": header.count, "las_version": ".".join(map(str, header.version)), "point_format": header.point_format,
            "compressed": header.compressed, "created": header.created, "system": header.system, "software": header.software,
            "scale": list(header.scale), "color_bits": bits, "attributes": [a.name for a in source.schema.attributes],
        },
        box=box, representations=(Representation("bulk", "", "las", probe.key),),
    )  # fmt: skip
    yield SourceRef(
        uri=str(path), format="las", kind="points", key=probe.key, place=context.place, fingerprint=fingerprint(path), box=box,
        count=header.count, options={"color_bits": bits},
    )  # fmt: skip


def open(ref: SourceRef) -> LasSource:  # noqa: A001
    """The points behind a reference. Raises SourceError where the file is gone or changed, CorruptSource where it is broken."""
    path = Path(ref.uri)
    try:
        now = fingerprint(path)
    except OSError as error:
        raise SourceError("las.gone", file=ref.key, reason=error.strerror or str(error)) from error
    if not now.same_bytes(ref.fingerprint):
        raise SourceError("las.changed", file=ref.key)
    return LasSource(path, ref.place, int(ref.options["color_bits"]))


def _missing_points(path: Path, header: Header) -> list[Problem]:
    if not header.count:
        return [("las.empty", {})]
    try:
        chunks(path, header)
    except HeaderError as error:
        return [(error.code, error.fields)]
    except OSError as error:
        return [("las.unreadable", {"reason": error.strerror or str(error)})]
    return []


def _unreadable(path: Path, key: str, code: str, fields: Problem | object) -> Probe:
    assert isinstance(fields, dict)
    return Probe(
        uri=str(path), format="las", kind="points", key=key, files=1, size=path.stat().st_size, count=None, low=None, high=None,
        found=FoundCrs(where=key), problems=(_rejected(key, code, fields),), fatal=True,
    )  # fmt: skip


def _rejected(key: str, code: str, fields: object) -> Rejected:
    assert isinstance(fields, dict)
    return Rejected(key, code, {"file": key, **fields})


def _box(place: Place, low: F64, high: F64) -> Box3:
    """The EPSG:4979 box of a native box: its corners, and points between them, because edges curve."""
    steps = np.linspace(0.0, 1.0, 5)
    grid = np.stack(np.meshgrid(steps, steps, [0.0, 1.0], indexing="ij"), axis=-1).reshape(-1, 3)
    geographic = place.to_geographic(low + grid * (high - low))
    (west, south, bottom), (east, north, top) = geographic.min(axis=0).tolist(), geographic.max(axis=0).tolist()
    return west, south, bottom, east, north, top
