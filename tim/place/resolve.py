"""From what a file says and what the user says to a :class:`Place`, or a refusal that names the option that helps."""

from __future__ import annotations

from dataclasses import dataclass

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place.crs import parse
from tim.place.datum import datum_step
from tim.place.height import Height
from tim.place.place import Place


@dataclass(frozen=True, slots=True)
class FoundCrs:
    """What a source declares about its place."""

    horizontal: str | None = None
    """Authority code, WKT, PROJ string, ``ENU:lat,lon``, as found; ``None`` where it says nothing."""
    vertical: str | None = None
    """The vertical CRS as found (code or WKT), where it is declared apart."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Native offset of the coordinates (``SRSOrigin``)."""
    where: str = ""
    """File and record it was found in, for messages."""


@dataclass(frozen=True, slots=True)
class PlaceOptions:
    """What the user says: ``--crs``, ``--vertical``, ``--override-vertical``, or the workspace's defaults."""

    crs: str | None = None
    """``EPSG:n``, ``EPSG:n+m``, ``ENU:lat,lon[,h]``, WKT, or ``@file`` (WKT or a PROJ pipeline)."""
    vertical: str | None = None
    """``ellipsoid``, ``egm96``, ``+12.3m``, ``grid:FILE``."""
    datum: str | None = None
    """A PROJ operation by name or pipeline, where the CRS's datum is not WGS 84's equal."""
    override_vertical: bool = False
    """Allow ``ellipsoid`` on a file that declares another height datum."""


def resolve(found: FoundCrs, options: PlaceOptions, low: F64, high: F64) -> Place:
    """The place of a source whose native coordinates span ``low``..``high`` (float64[3] each, ``origin`` not added).

    Raises PlaceError: no CRS, unknown vertical datum, a datum without a named operation, coordinates that contradict the CRS
    (swapped axes, zone-prefixed eastings, feet, outside the area of use).
    """
    text = options.crs or found.horizontal
    if text is None:
        raise PlaceError("place.crs-missing", where=found.where)
    source = parse(text)
    height = Height("ellipsoid", "ellipsoid", unit=source.ellipsoidal or 1.0)
    if source.ellipsoidal is None and options.vertical != "ellipsoid":
        raise PlaceError("place.vertical-unknown", where=found.where)
    datum = datum_step(source, options.datum, (0, 0, 0, 0))
    return Place(source.text, height, datum, found.origin)
