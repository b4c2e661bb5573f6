"""Names of coordinate reference systems as geographic files spell them (OGC URN and URL, ``EPSG:n``, AdV), and the order of their axes.

The engine's native order is east, north, up; a file that follows the letter of a CRS such as EPSG:6697 writes latitude first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

_CODES = re.compile(r"(?:EPSG(?:[:/][\d.]*)?[:/]+|epsg\.xml#)(\d+)(?:\+(?:EPSG:)?(\d+))?", re.IGNORECASE)
_ADV = re.compile(r"urn:adv:crs:([A-Za-z0-9_]+)(?:\*([A-Za-z0-9_]+))?")
_ADV_CODES = {
    "ETRS89_UTM31": 25831, "ETRS89_UTM32": 25832, "ETRS89_UTM33": 25833, "DE_DHDN_3GK2": 31466, "DE_DHDN_3GK3": 31467,
    "DE_DHDN_3GK4": 31468, "DE_DHDN_3GK5": 31469, "DE_DHHN92_NH": 5783, "DE_DHHN2016_NH": 7837, "DE_DHHN85_NOH": 5784,
}  # fmt: skip
"""EPSG codes of the names that the German surveys (AdV) use, GeoInfoDok 6 and 7."""


def crs_text(name: str) -> str:
    """``EPSG:n`` or ``EPSG:n+m`` for a name; the name itself where it holds no known code."""
    if match := _ADV.fullmatch(name.strip()):
        codes = [_ADV_CODES.get(part) for part in match.groups() if part]
        if codes and None not in codes:
            return "EPSG:" + "+".join(map(str, codes))
    found = [code for pair in _CODES.findall(name) for code in pair if code]
    return "EPSG:" + "+".join(found[:2]) if found else name.strip()


def swapped_axes(name: str, low: Sequence[float], high: Sequence[float]) -> bool:
    """Whether coordinates ``low``..``high`` under a CRS of this name have to have their first two exchanged to be east, north.

    A URN or URL obliges to the CRS's own order (OGC 09-048r5), a bare ``EPSG:n`` does not; where that puts the data outside the CRS's
    area of use and the other order puts it inside, the other order is taken.
    """
    try:
        crs = CRS.from_user_input(crs_text(name).split("+")[0])
        crs = crs.sub_crs_list[0] if crs.is_compound else crs
        crs = crs.to_2d()
    except CRSError:
        return False
    if not crs.axis_info or crs.axis_info[0].direction.lower() != "north":
        return False
    formal = name.strip().lower().startswith(("urn:ogc:", "http:", "https:"))
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)][:2]
    fits = {swap: _in_area(crs, middle[::-1] if swap else middle) for swap in (True, False)}
    return not formal if fits[not formal] and not fits[formal] else formal


def _in_area(crs: CRS, point: Sequence[float]) -> bool:
    area = crs.area_of_use
    if area is None:
        return False
    lon, lat = point
    if crs.is_projected:
        lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(lon, lat)
    west, south, east, north = area.bounds
    if abs(lat) > 90 or not (south - 1 <= lat <= north + 1):
        return False
    return bool(west - 1 <= lon <= east + 1 or (west > east and (lon >= west - 1 or lon <= east + 1)))
