"""Height rasters: GeoTIFF, Erdas Imagine, ESRI ASCII grids, SRTM ``.hgt`` and DTED, known by their headers.

They are listed in an inventory with extent, CRS and size, and in a plan as not to be imported. Naming one alone is refused: the object
graph has no terrain.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from importers import ImportContext, Probe
from importers.dem.headers import READERS, WORLD_FILES, BrokenHeaderError, read_header
from tim.errors import SourceError
from tim.model import Rejected
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef

__all__ = ["COMPANIONS", "FOLDERS", "LISTED", "SUFFIXES", "open", "probe", "read"]

SUFFIXES = tuple(READERS)
FOLDERS = False
_BESIDE = (".prj", ".aux.xml", ".ovr")
COMPANIONS = {
    suffix: (*_BESIDE, f"{suffix}.aux.xml", f"{suffix}.ovr", *(WORLD_FILES if suffix in (".tif", ".tiff") else ()))
    for suffix in SUFFIXES
}  # fmt: skip
"""World files, projections, statistics and overviews as GDAL and its like write them beside a raster."""
LISTED = ("dem.listed", "dem.not-imported")


def probe(path: Path, key: str = "") -> list[Probe]:
    """The header of one height raster; empty for pictures, folders and other files."""
    path = Path(path)
    if path.suffix.lower() not in READERS or not path.is_file():
        return []
    key = key or path.name
    size = path.stat().st_size
    try:
        header = read_header(path)
    except (BrokenHeaderError, OSError) as error:
        problem = Rejected(key, "dem.header-broken", {"file": key, "reason": str(error)})
        return [Probe(str(path), "dem", "grid", key, 1, size, None, None, None, FoundCrs(where=key), (problem,), True)]
    if header is None:
        return []
    found = FoundCrs(header.crs, header.vertical, where=key)
    problems = [Rejected(key, "dem.needs-raster", {"file": key})] * header.opaque
    low = high = None
    if header.extent is not None:
        west, south, east, north = header.extent
        low, high = (west, south, 0.0), (east, north, 0.0)
    options = {"columns": header.columns, "rows": header.rows}
    return [
        Probe(str(path), "dem", "grid", key, 1, size, None, low, high, found, tuple(problems), options=options)
    ]  # fmt: skip


def read(probe: Probe, context: ImportContext) -> Iterator[SourceRef]:  # noqa: ARG001 - as all importers
    """Refused. Raises SourceError ``dem.not-imported``."""
    raise SourceError("dem.not-imported", file=probe.key)


def open(ref: SourceRef) -> NoReturn:  # noqa: A001
    """Refused. Raises SourceError ``dem.not-imported``."""
    raise SourceError("dem.not-imported", file=ref.key)
