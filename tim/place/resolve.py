"""From what a file says and what the user says to a :class:`Place`, or a refusal that names the option that helps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tim.errors import PlaceError
from tim.geometry import F64
from tim.place.checks import check, check_authority, check_heights, check_override
from tim.place.crs import SourceCrs, conversion, parse
from tim.place.datum import datum_remarks, datum_step
from tim.place.files import DatumFile, whole
from tim.place.parameters import SOURCE, kind_of, residuals
from tim.place.place import Place
from tim.place.vertical import Declared, declared_height, height_step


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
    """``ellipsoid``, ``egm96``, ``egm2008``, ``+12.3m``, ``grid:FILE``; the native unit may follow:
    ``ellipsoid,us-ft``."""
    datum: str | None = None
    """Where the CRS's datum is not WGS 84's equal: ``EPSG:n`` or the name of a coordinate operation, a PROJ pipeline
    or Helmert step, ``@file`` with one, or ``towgs84`` for the parameters in the source's WKT.
    What is given as text is stored in the place; what must stay secret belongs into a file."""
    override_vertical: bool = False
    """Allow ``ellipsoid`` on a file that declares another height datum."""


def resolve(found: FoundCrs, options: PlaceOptions, low: F64, high: F64) -> Place:
    """The place of a source whose native coordinates span ``low``..``high`` (float64[3] each, ``origin`` not added).

    What the user says goes before what the source says; where the two, or a WKT and the authority code in it, put the
    data in two places, the place carries a warning with the distance.

    Raises PlaceError: no CRS, unknown vertical datum, a datum without a named operation, coordinates that contradict
    the CRS (swapped axes, zone-prefixed eastings, feet, outside the area of use).
    """
    origin = np.asarray(found.origin, dtype=np.float64)
    low, high = np.asarray(low, np.float64) + origin, np.asarray(high, np.float64) + origin
    centre = ((low + high) / 2)[None]
    source = _source(found, options)
    warnings = _remarks(source) + check(source, low, high)
    warnings += check_authority(source, centre)
    as_found = _as_found(found) if options.crs is not None else None
    if as_found is not None:
        warnings += check_override(as_found, source, centre)
    declared = _declared(source, as_found, found.vertical)
    said = options.vertical
    if said is None and options.crs is not None and source.ellipsoidal is not None:
        said = "ellipsoid"  # the user chose a three-dimensional CRS
    height, remarks = height_step(source, declared, said, options.override_vertical, found.where or "-")
    corners = conversion(source.definition)(np.array([low, high]))
    west, south = corners[:, :2].min(axis=0)
    east, north = corners[:, :2].max(axis=0)
    named = options.datum
    if named is None and source.file is not None and source.file.part.endswith(SOURCE):
        named = options.crs  # the set that names the CRS has its datum's parameters as well
    datum = datum_step(source, named, (float(west), float(south), float(east), float(north)))
    warnings += remarks + datum_remarks(source, datum)
    text = source.file.shown if source.file else source.text
    place = Place(text, height, datum, found.origin, file=source.file)
    # The corners of a box of geocentric coordinates may lie far above and below the data in it.
    judged = centre if source.kind == "geocentric" else np.array([low, high])
    heights = place.to_geographic(judged - origin)[:, 2]
    warnings += check_heights(float(heights.min()), float(heights.max()))
    return replace(place, warnings=tuple(warnings))


def _source(found: FoundCrs, options: PlaceOptions) -> SourceCrs:
    """The CRS that counts."""
    if options.crs is not None and options.crs.startswith("@"):
        file = DatumFile.parameters(options.crs[1:]) or DatumFile.named(options.crs[1:])
        if file.part and kind_of(file.name, whole(file), file.part) == "helmert-3d":
            file = replace(file, part=file.part + SOURCE)
        return parse(file.text(), file)
    text = options.crs if options.crs is not None else found.horizontal
    if text is None:
        raise PlaceError("place.crs-missing", where=found.where or "-")
    return parse(text)


def _remarks(source: SourceCrs) -> list[tuple[str, dict[str, object]]]:
    """A warning for each control point that the others contradict."""
    if source.file is None or not source.file.part:
        return []
    file = source.file
    found = residuals(file.name, whole(file), file.part.removesuffix(SOURCE))
    return [("place.control-outlier", {"crs": file.shown, "point": name}) for name in (found.outliers if found else ())]


def _as_found(found: FoundCrs) -> SourceCrs | None:
    """The CRS the source declares, where it is readable: the user's word replaces an unreadable one."""
    if found.horizontal is None:
        return None
    try:
        return parse(found.horizontal)
    except PlaceError:
        return None


def _declared(source: SourceCrs, as_found: SourceCrs | None, apart: str | None) -> Declared:
    """What is declared about heights: in the CRS that counts, apart from it, or in the CRS it replaces.

    A user who names a horizontal CRS has not said that the source's word about its heights is wrong.
    """
    if source.vertical is not None or as_found is None or as_found.kind == "geocentric":
        return declared_height(source, apart)
    declared = declared_height(as_found, apart)
    return declared_height(source, None) if declared.kind == "nothing" else declared
