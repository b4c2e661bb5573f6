"""CityGML 2.0 and 3.0, PLATEAU's i-UR included: features are objects, their levels of detail representations.

A file is read twice, one top-level feature in memory at a time: first what others refer to (textures, surfaces, versions), then the features.
Parts name what they belong to (``partOf``) and stand as long as it does. The source key is the ``gml:identifier``, which all versions of a
feature share, with its code space before it, else the ``gml:id``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from importers import ImportContext, Probe
from importers.beside import inside
from importers.city import CLASSES, finished
from importers.citygml.document import extent, head
from importers.citygml.features import Reader
from importers.crsname import crs_text, swapped_axes
from tim.errors import SourceError
from tim.model import Blob, ObjectRecord, Rejected
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef, fingerprint

__all__ = ["open", "probe", "read"]

SUFFIXES = (".gml", ".xml", ".citygml")
FOLDERS = False


_COUNTED = 32 << 20
"""Bytes of a file that is read for its number of objects; of a larger one it is not known beforehand."""
_FEATURE = re.compile(
    rb"<(?:[\w.-]+:)?(" + "|".join(sorted(CLASSES.keys() - {"WaterSurface"})).encode() + rb")(?=[\s>/])"
)
_LIBRARY = re.compile(rb"libraryObject>([^<]{1,1000})<")
_NUMBERS = r"\s*([-+\d.eE\s]+?)\s*<"


def probe(path: Path, key: str = "") -> list[Probe]:
    """Extent and CRS of one CityGML file; empty for anything else."""
    path = Path(path)
    key = key or path.name
    if path.suffix.lower() not in (".gml", ".xml", ".citygml") or not path.is_file() or not (text := head(path)):
        return []
    size = path.stat().st_size
    if "<!DOCTYPE" in text:
        rejected = Rejected(key, "citygml.doctype", {"file": key})
        found = FoundCrs(where=key)
        return [Probe(str(path), "citygml", "objects", key, 1, size, None, None, None, found, (rejected,), fatal=True)]
    name = re.search(r"""srsName\s*=\s*["']([^"']+)""", text)
    dimension = re.search(r"""<[\w:]*Envelope[^>]*srsDimension\s*=\s*["'](\d)""", text)
    corners = [re.search(rf"<[\w:]*{corner}Corner[^>]*>{_NUMBERS}", text) for corner in ("lower", "upper")]
    bounds = None
    if corners[0] and corners[1]:
        bounds = _corner(corners[0].group(1)), _corner(corners[1].group(1))
    if bounds is None or None in bounds:
        bounds = extent(path)
    low, high = bounds or (None, None)
    if low is None or high is None:
        rejected = Rejected(key, "citygml.no-extent", {"file": key})
        found = FoundCrs(where=key)
        return [Probe(str(path), "citygml", "objects", key, 1, size, None, None, None, found, (rejected,), fatal=True)]
    low, high = tuple(map(min, low, high)), tuple(map(max, low, high))  # type: ignore[assignment]
    swap = bool(name) and swapped_axes(name.group(1), low, high) if name else False
    if swap:
        low, high = (low[1], low[0], low[2]), (high[1], high[0], high[2])
    found = FoundCrs(crs_text(name.group(1)) if name else None, where=key)
    options: dict[str, Any] = {"swap": swap, "dimension": int(dimension.group(1)) if dimension else 3}
    count, owned = _counted(path) if size <= _COUNTED else (None, [])
    if owned:
        options["owned"] = owned
    return [Probe(str(path), "citygml", "objects", key, 1, size, count, low, high, found, options=options)]


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | Blob | SourceRef | Rejected]:
    """The objects in the order of the file, then the reference; where the file breaks, what stands before is taken."""
    yield from probe.problems
    if probe.fatal or probe.low is None or probe.high is None:
        return
    path = Path(probe.uri)
    try:
        print_ = fingerprint(path)
        reader = Reader(path, probe.key, context, bool(probe.options["swap"]), int(probe.options["dimension"]))
        yield from context.told(probe, finished(reader.drafts(), context.place), print_)
    except OSError as error:
        raise SourceError("citygml.unreadable", file=probe.key, reason=error.strerror or str(error)) from None


def open(ref: SourceRef) -> NoReturn:  # noqa: A001
    """Raises SourceError: objects are in the store, there is nothing to open."""
    raise SourceError("citygml.not-bulk", file=ref.key)


def _counted(path: Path) -> tuple[int | None, list[str]]:
    """Features of known types, by their tags: as many as there are objects in a sound file; and the files that it places as models."""
    try:
        data = path.read_bytes()
    except OSError:
        return None, []
    names = {name.decode("utf-8", "replace").strip() for name in _LIBRARY.findall(data)}
    return len(_FEATURE.findall(data)) or None, sorted(name for name in names if inside(path.parent, name))


def _corner(text: str) -> tuple[float, float, float] | None:
    try:
        values = [float(v) for v in text.split()]
    except ValueError:
        return None
    values += [0.0] * (3 - len(values))
    return (values[0], values[1], values[2]) if len(values) == 3 and np.isfinite(values).all() else None
