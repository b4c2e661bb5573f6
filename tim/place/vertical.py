"""Which height step a source needs: what it declares about its heights against what the user says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pyproj import CRS

from tim.errors import PlaceError
from tim.place.crs import SourceCrs, vertical_crs
from tim.place.files import DatumFile, find, shown_folders
from tim.place.height import Height, read_grid

Warning_ = tuple[str, dict[str, Any]]

UNITS = {"m": 1.0, "ft": 0.3048, "us-ft": 1200 / 3937}
"""Suffixes of ``--vertical`` for the native height unit."""

GEOIDS = {
    "egm96": ("egm96_15.gtx", "us_nga_egm96_15.tif"),
    "egm2008": ("egm08_25.gtx", "us_nga_egm08_25.tif"),
}
"""Geoid models by name, and the file names their grids are published under."""

_MODEL_OF = {"EPSG:5773": "egm96", "EPSG:3855": "egm2008"}
"""Vertical CRSs that *are* a geoid model, so that the model's grid is the definition."""

_ELLIPSOIDAL_CODES = range(5001, 5036)
"""GeoTIFF 1.0's codes for "ellipsoidal height" on a named ellipsoid; EPSG withdrew them."""

_CONSTANT = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*m?")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a source says about its heights."""

    kind: str
    """``ellipsoid``, ``other`` (a named surface: geoid, sea level, chart datum) or ``nothing``."""
    name: str
    unit: float | None
    """Metres per native unit, negative downwards; ``None`` where it does not say."""
    model: str = ""
    """The geoid model that is the declared surface by definition."""


def declared_height(source: SourceCrs, apart: str | None) -> Declared:
    """What a source declares: its vertical part, a vertical CRS declared ``apart`` (code or WKT), or a third
    dimension."""
    crs = source.vertical
    if crs is None and apart:
        if apart.strip().lower() == "ellipsoid":
            return Declared("ellipsoid", "ellipsoid", source.ellipsoidal)
        code = re.fullmatch(r"(?:EPSG:)?(\d+)", apart.strip(), re.IGNORECASE)
        if code and int(code[1]) in _ELLIPSOIDAL_CODES:
            return Declared("ellipsoid", apart, None)
        crs = vertical_crs(f"EPSG:{code[1]}" if code else apart)
    if crs is not None:
        return _of_vertical(crs)
    if source.ellipsoidal is not None:
        return Declared("ellipsoid", source.name, source.ellipsoidal)
    return Declared("nothing", "", None)


def _of_vertical(crs: CRS) -> Declared:
    axis = crs.axis_info[0]
    unit = axis.unit_conversion_factor * (-1.0 if axis.direction == "down" else 1.0)
    if "ellipsoid" in crs.name.lower() or (crs.datum is not None and "ellipsoid" in crs.datum.name.lower()):
        return Declared("ellipsoid", crs.name, unit)
    authority = crs.to_authority(min_confidence=70)
    return Declared("other", crs.name, unit, _MODEL_OF.get(":".join(authority) if authority else "", ""))


def height_step(
    source: SourceCrs, declared: Declared, said: str | None, override: bool, where: str
) -> tuple[Height, list[Warning_]]:
    """The height step and what to look at; ``said`` is the user's ``--vertical``, ``override`` their
    ``--override-vertical``.

    Raises PlaceError: ``place.vertical-unknown``, ``place.vertical-needs-separation``, ``place.vertical-contradicts``,
    ``place.vertical-unreadable``, ``place.geoid-missing``, ``place.vertical-geocentric``, and those of the grid reader.
    """
    unit = declared.unit
    warnings: list[Warning_] = []
    if said is not None:
        said, own_unit = _split_unit(said)
        unit = own_unit if own_unit is not None else unit
    if unit is None:
        unit, warnings = _unit_of_map(source)
    if said is None:
        return _as_declared(declared, unit, where), warnings
    height = _as_said(said, unit)
    if height.method == "ellipsoid":
        if declared.kind == "other":
            fields = {"declared": declared.name, "where": where}
            if not override:
                raise PlaceError("place.vertical-contradicts", **fields)
            warnings.append(("place.vertical-overridden", fields))
    elif source.kind == "geocentric":
        raise PlaceError("place.vertical-geocentric", vertical=height.name)
    elif declared.kind == "ellipsoid":
        warnings.append(("place.ellipsoidal-corrected", {"declared": declared.name, "vertical": height.name}))
    elif declared.kind == "other" and height.name in GEOIDS and height.name != declared.model:
        warnings.append(("place.other-geoid", {"declared": declared.name, "vertical": height.name}))
    return height, warnings


def _as_declared(declared: Declared, unit: float, where: str) -> Height:
    if declared.kind == "ellipsoid":
        return Height("ellipsoid", "ellipsoid", unit=unit)
    if declared.model:
        return _geoid(declared.model, unit)
    if declared.kind == "other":
        raise PlaceError("place.vertical-needs-separation", declared=declared.name, where=where)
    raise PlaceError("place.vertical-unknown", where=where)


def _as_said(said: str, unit: float) -> Height:
    if said.lower() == "ellipsoid":
        return Height("ellipsoid", "ellipsoid", unit=unit)
    if said.lower() in GEOIDS:
        return _geoid(said.lower(), unit)
    if said.lower().startswith("grid:"):
        path, comma, offset = said[5:].rpartition(",")
        shift = _CONSTANT.fullmatch(offset.strip()) if comma else None
        grid = DatumFile.named(path if shift else said[5:])
        read_grid(grid)
        name = f"{grid.name}, {float(shift[1]):+g} m" if shift else grid.name
        return Height("grid", name, float(shift[1]) if shift else 0.0, grid, unit)
    if match := _CONSTANT.fullmatch(said):
        return Height("constant", f"{float(match[1]):+g} m", offset=float(match[1]), unit=unit)
    raise PlaceError("place.vertical-unreadable", vertical=said)


def _geoid(model: str, unit: float) -> Height:
    grid = find(GEOIDS[model])
    if grid is None:
        raise PlaceError("place.geoid-missing", model=model, files=" / ".join(GEOIDS[model]), folders=shown_folders())
    read_grid(grid)
    return Height("grid", model, grid=grid, unit=unit)


def _split_unit(said: str) -> tuple[str, float | None]:
    text, comma, suffix = said.strip().rpartition(",")
    if comma and suffix.strip().lower() in UNITS:
        return text.strip(), UNITS[suffix.strip().lower()]
    return said.strip(), None


def _unit_of_map(source: SourceCrs) -> tuple[float, list[Warning_]]:
    """Heights of nobody-said-which unit are in the unit of the map; where that is not the metre, it is worth a look."""
    if source.crs is None or source.kind != "projected":
        return 1.0, []
    axis = source.crs.axis_info[0]
    if abs(axis.unit_conversion_factor - 1) < 1e-9:
        return 1.0, []
    return axis.unit_conversion_factor, [("place.height-unit-assumed", {"unit": axis.unit_name})]
