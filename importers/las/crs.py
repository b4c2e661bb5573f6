"""The coordinate reference system a LAS file declares: OGC WKT, or GeoTIFF keys (LAS 1.4 R15, chapter 3)."""

from __future__ import annotations

import struct

from importers.las.header import Header, Problem
from tim.place.resolve import FoundCrs

_PROJECTION = "LASF_Projection"
_MODEL_TYPE, _GEOGRAPHIC, _PROJECTED, _PROJECTED_UNIT, _VERTICAL = 1024, 2048, 3072, 3076, 4096
_USER_DEFINED = 32767
_VERTICAL_DATUMS = {5101: 5701, 5102: 5702, 5103: 5703, 5114: 5711, 5118: 5714}
"""GeoTIFF 1.0 wrote datum codes into the key of the vertical CRS: ODN, NGVD29, NAVD88, AHD, mean sea level (EPSG)."""


def found_crs(header: Header, where: str) -> tuple[FoundCrs, list[Problem]]:
    """What the file declares, as it declares it, and what could not be understood. WKT wins over keys where both are there."""
    wkt = header.records.get((_PROJECTION, 2112), b"").split(b"\0", 1)[0].decode("utf-8", "replace").strip()
    if wkt:
        return FoundCrs(horizontal=wkt, where=where), []
    directory = header.records.get((_PROJECTION, 34735))
    if directory is None:
        return FoundCrs(where=where), []
    keys = geo_keys(directory)
    vertical = keys.get(_VERTICAL)
    vertical = _VERTICAL_DATUMS.get(vertical, vertical) if vertical is not None else None
    named = None if vertical in (None, 0, _USER_DEFINED) else f"EPSG:{vertical}"
    model = keys.get(_MODEL_TYPE)
    code = keys.get(_PROJECTED) if model == 1 or (model is None and _PROJECTED in keys) else keys.get(_GEOGRAPHIC)
    if code in (None, 0, _USER_DEFINED):
        text = header.records.get((_PROJECTION, 34737), b"").decode("latin-1").strip("\0| ")
        return FoundCrs(vertical=named, where=where), [("las.crs-user-defined", {"citation": text})]
    return FoundCrs(horizontal=f"EPSG:{code}", vertical=named, where=where), []


def geo_keys(directory: bytes) -> dict[int, int]:
    """The short-valued GeoTIFF keys of a directory record: key id to value; an unreadable one gives none."""
    values = struct.unpack(f"<{len(directory) // 2}H", directory[: len(directory) // 2 * 2])
    if len(values) < 4:
        return {}
    entries = [values[i : i + 4] for i in range(4, min(len(values) - 3, 4 + 4 * values[3]), 4)]
    return {key: value for key, location, _, value in entries if location == 0}
