"""Named parameter sets of local coordinate systems, often confidential: read from a file when they are used, never stored or shown.

A TOML or YAML file holds sets by name::

    [harbour]                       # four parameters: local plane to a map
    kind = "helmert-2d"
    to = "EPSG:4547"
    dx = 12.345                     # metres, added after turning and scaling
    dy = -6.789
    rotation = 1.5                  # of the coordinates, counter-clockwise from east to north
    rotation_unit = "arcsec"        # rad, deg, arcsec
    scale_ppm = 3.2                 # or scale = 1.0000032
    false_easting = 500000          # taken off the local coordinates first; likewise false_northing

    [old-datum]                     # seven parameters: own datum to WGS 84 or an equal one
    kind = "helmert-3d"
    from = "EPSG:2436"              # the CRS of the coordinates, where the set is used as --crs
    dx = 15.8                       # metres; dy, dz
    rx = 1.1                        # ry, rz
    rotation_unit = "arcsec"
    scale_ppm = -1.2
    convention = "position-vector"  # or "coordinate-frame": never assumed

    [site]                          # engineering coordinates by control points
    kind = "control"
    to = "EPSG:4547"
    points = [["A1", 0, 0, 500100.0, 3380200.0], ...]   # name, x, y[, h], E, N[, H]

A CSV of control points (``name,x,y[,h],E,N[,H]`` after a line ``# EPSG:4547``) is one such set.
"""

from __future__ import annotations

import csv
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tim.errors import PlaceError
from tim.geometry import F64

SUFFIXES = (".toml", ".yaml", ".yml", ".csv")
SOURCE = ":from"
"""After the name of a set: the CRS its seven parameters start from."""
_UNITS = {"rad": 1.0, "deg": math.pi / 180, "arcsec": math.pi / 648_000}
_HEAD = "TIM-LOCAL "
_FAR, _FLOOR = 4.0, 1e-3
"""A control point is an outlier where it misses the others' fit by this many times their root mean square, and by this many metres."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """How well control points fit, in metres."""

    points: int
    redundancy: int
    """Observations more than parameters."""
    rms: float
    worst: float
    worst_name: str
    outliers: tuple[str, ...]
    """Points that the others contradict."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """target = scale · rotation · (local - centre) + shift; in the plane heights pass through."""

    to: str
    matrix: F64
    """float64[3, 3], scale included."""
    centre: F64
    shift: F64

    def __call__(self, xyz: F64) -> F64:
        """float64[n, 3] local to the target CRS."""
        # Elementwise in a fixed order: a vertex gives the same bits in every batch.
        x, y, z = (xyz[:, i] - self.centre[i] for i in range(3))
        m = self.matrix
        return np.column_stack([x * m[i, 0] + y * m[i, 1] + z * m[i, 2] + self.shift[i] for i in range(3)])

    def text(self) -> str:
        """What :func:`similarity` reads; kept in memory only."""
        return _HEAD + json.dumps([self.to, self.matrix.tolist(), self.centre.tolist(), self.shift.tolist()])


def is_local(text: str) -> bool:
    """Whether a CRS definition is that of a local plane."""
    return text.startswith(_HEAD)


def similarity(text: str) -> Similarity:
    """The local plane of a definition that :func:`definition` made."""
    to, matrix, centre, shift = json.loads(text[len(_HEAD) :])
    return Similarity(to, np.array(matrix), np.array(centre), np.array(shift))


def name_of(path: Path, text: str, wanted: str) -> str:
    """The name of the set that is meant: ``wanted``, or the only one. Raises PlaceError ``place.set-unknown``, ``place.set-unreadable``."""
    sets = _sets(path.name, text)
    if not wanted and len(sets) == 1:
        return next(iter(sets))
    if wanted not in sets:
        raise PlaceError("place.set-unknown", file=path.name, set=wanted or "-", known=", ".join(sets))
    return wanted


def kind_of(file: str, text: str, name: str) -> str:
    """``helmert-2d``, ``helmert-3d`` or ``control``. Raises PlaceError for any other."""
    return _Fields(file, name, _sets(file, text)[name]).choice("kind", ("helmert-2d", "helmert-3d", "control"))


def definition(file: str, text: str, part: str) -> str:
    """What a set stands for: a local plane, a PROJ Helmert step, or with :data:`SOURCE` the CRS its parameters start from.

    Raises PlaceError ``place.set-field`` naming file, set and field, never a value.
    """
    name = part.removesuffix(SOURCE)
    fields = _Fields(file, name, _sets(file, text)[name])
    match fields.choice("kind", ("helmert-2d", "helmert-3d", "control")):
        case "helmert-2d":
            return _plane(fields).text()
        case "control":
            return _fitted(fields)[0].text()
        case _:
            return fields.text("from") if part.endswith(SOURCE) else _step(fields)


def residuals(file: str, text: str, name: str) -> Residuals | None:
    """How well the control points of a set fit; ``None`` where it has none."""
    fields = _Fields(file, name, _sets(file, text)[name])
    return _fitted(fields)[1] if fields.values.get("kind") == "control" else None


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of one set; refusals name them and never show a value."""

    file: str
    name: str
    values: Mapping[str, Any]

    def refuse(self, field: str, reason: str) -> PlaceError:
        return PlaceError("place.set-field", file=self.file, set=self.name, field=field, reason=reason)

    def only(self, *known: str) -> None:
        for field in self.values:
            if field not in known:
                raise self.refuse(field, f"unknown; known: {', '.join(known)}")

    def number(self, field: str, default: float | None = None) -> float:
        value = self.values.get(field, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refuse(field, "a number is needed")
        return float(value)

    def text(self, field: str) -> str:
        value = self.values.get(field)
        if not isinstance(value, str) or not value:
            raise self.refuse(field, "a text is needed")
        return value

    def choice(self, field: str, allowed: Sequence[str]) -> str:
        if self.values.get(field) not in allowed:
            raise self.refuse(field, " / ".join(allowed))
        return str(self.values[field])

    def scale(self) -> float:
        if ("scale" in self.values) == ("scale_ppm" in self.values):
            raise self.refuse("scale", "scale or scale_ppm, one of them")
        scale = self.number("scale") if "scale" in self.values else 1 + self.number("scale_ppm") * 1e-6
        if scale <= 0:
            raise self.refuse("scale", "> 0")
        return scale

    def target(self) -> str:
        """The CRS that is reached: a code, so that naming it shows nothing."""
        to = self.text("to")
        if not to.upper().startswith("EPSG:"):
            raise self.refuse("to", "EPSG:n")
        return to


def _sets(file: str, text: str) -> Mapping[str, Mapping[str, Any]]:
    suffix = Path(file).suffix.lower()
    try:
        if suffix == ".csv":
            return {Path(file).stem: _csv(text)}
        found = tomllib.loads(text) if suffix == ".toml" else yaml.safe_load(text)
        if isinstance(found, dict) and found and all(isinstance(v, dict) for v in found.values()):
            return found
    except (tomllib.TOMLDecodeError, yaml.YAMLError, ValueError, csv.Error):
        # The parsers' own words quote the file.
        pass
    raise PlaceError("place.set-unreadable", file=file)


def _csv(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.strip()]
    remarks = [line.lstrip("# \t") for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    names = ("x", "y", "h", "E", "N", "H") if rows and {"h", "H"} <= rows[0].keys() else ("x", "y", "E", "N")
    points = [
        [row.get("name") or str(i), *(float(row.get(name) or "nan") for name in names)] for i, row in enumerate(rows, 1)
    ]
    to = next((remark.removeprefix("to:").strip() for remark in remarks if "EPSG:" in remark.upper()), None)
    return {"kind": "control", "to": to, "points": points}


def _plane(fields: _Fields) -> Similarity:
    fields.only(
        "kind", "to", "dx", "dy", "rotation", "rotation_unit", "scale", "scale_ppm", "false_easting", "false_northing"
    )
    angle = fields.number("rotation") * _UNITS[fields.choice("rotation_unit", tuple(_UNITS))]
    scale = fields.scale()
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    centre = np.array([fields.number("false_easting", 0.0), fields.number("false_northing", 0.0), 0.0])
    return Similarity(fields.target(), matrix, centre, np.array([fields.number("dx"), fields.number("dy"), 0.0]))


def _step(fields: _Fields) -> str:
    """PROJ's Helmert step: translations (m), rotations (arc seconds), scale (ppm)."""
    fields.only(
        "kind", "from", "to", "dx", "dy", "dz", "rx", "ry", "rz", "rotation_unit", "scale", "scale_ppm", "convention"
    )
    convention = fields.choice("convention", ("position-vector", "coordinate-frame")).replace("-", "_")
    seconds = _UNITS[fields.choice("rotation_unit", tuple(_UNITS))] / _UNITS["arcsec"]
    shifts = " ".join(f"+{axis}={fields.number(f'd{axis}')!r}" for axis in "xyz")
    turns = " ".join(f"+r{axis}={fields.number(f'r{axis}') * seconds!r}" for axis in "xyz")
    return f"+proj=helmert {shifts} {turns} +s={(fields.scale() - 1) * 1e6!r} +convention={convention}"


def _fitted(fields: _Fields) -> tuple[Similarity, Residuals]:
    """The plane through control points by least squares (Umeyama 1991), and what is left."""
    fields.only("kind", "to", "points", "exact")
    rows = fields.values.get("points")
    if not isinstance(rows, list) or len({len(row) if isinstance(row, list) else 0 for row in rows}) != 1:
        raise fields.refuse("points", "name, x, y[, h], E, N[, H] each")
    width = len(rows[0])
    if width not in (5, 7):
        raise fields.refuse("points", "name, x, y[, h], E, N[, H] each")
    try:
        values = np.array([row[1:] for row in rows], np.float64)
    except (TypeError, ValueError):
        raise fields.refuse("points", "numbers are needed") from None
    if not np.isfinite(values).all():
        raise fields.refuse("points", "numbers are needed")
    size = width // 2
    names = [str(row[0]) for row in rows]
    local, target = values[:, :size], values[:, size:]
    redundancy = len(rows) * size - (4 if size == 2 else 7)
    if len(rows) < size or np.linalg.matrix_rank(local - local.mean(axis=0), tol=1e-3) < size - 1:
        raise fields.refuse("points", f"{size} points that lie apart are needed")
    if redundancy <= 0 and fields.values.get("exact") is not True:
        raise PlaceError("place.control-exact", file=fields.file, set=fields.name, points=len(rows))
    matrix, centre, shift = _umeyama(local, target)
    missed = np.linalg.norm((local - centre) @ matrix.T + shift - target, axis=1)
    outliers = tuple(name for i, name in enumerate(names) if _stands_out(local, target, i))
    worst = int(np.argmax(missed))
    told = Residuals(
        len(rows), redundancy, float(np.sqrt((missed**2).mean())), float(missed[worst]), names[worst], outliers
    )
    whole = np.eye(3)
    whole[:size, :size] = matrix
    pad = [0.0] * (3 - size)
    return Similarity(fields.target(), whole, np.array([*centre, *pad]), np.array([*shift, *pad])), told


def _umeyama(local: F64, target: F64) -> tuple[F64, F64, F64]:
    """Matrix (scale and rotation, no reflection), centre and shift of the best similarity."""
    centre, shift = local.mean(axis=0), target.mean(axis=0)
    a, b = local - centre, target - shift
    u, d, vt = np.linalg.svd(b.T @ a)
    sign = np.ones(len(d))
    sign[-1] = np.sign(np.linalg.det(u @ vt))
    scale = float((d * sign).sum() / (a**2).sum())
    return scale * (u * sign) @ vt, centre, shift


def _stands_out(local: F64, target: F64, at: int) -> bool:
    """Whether a point misses what all others agree on."""
    rest = np.arange(len(local)) != at
    size = local.shape[1]
    if rest.sum() * size - (4 if size == 2 else 7) <= 0:
        return False
    matrix, centre, shift = _umeyama(local[rest], target[rest])
    missed = np.linalg.norm((local - centre) @ matrix.T + shift - target, axis=1)
    return bool(missed[at] > max(_FLOOR, _FAR * float(np.sqrt((missed[rest] ** 2).mean()))))
