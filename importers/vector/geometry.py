"""What the geometry of records becomes: prisms, tubes, ribbons, surfaces, models, by the thousand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from importers import ImportContext
from importers.vector import sweep
from importers.vector.mapping import MODELS, Rule, Value
from importers.vector.prototypes import prototype
from importers.vector.values import class_of, number, rejected
from tim.errors import PlaceError, SourceError
from tim.geometry import F64
from tim.model import Rejected, Representation, content_hash
from tim.place import Box3, boxes
from tim.shape import FORMAT, Built, Patch, build

PIPE, LINE = 0.2, 1.0
"""Metres: the diameter of pipes and the width of other lines where no field says it."""
_POLYGONS, _LINES, _POINTS = {3, 6}, {1, 2, 5}, {0, 4}
_FLAT_SHARE = 0.01
"""A polygon in space with less than this share of its area seen from above is a wall: the geometry is a solid."""


@dataclass(slots=True)
class Made:
    """What a record's geometry became."""

    representations: tuple[Representation, ...]
    box: Box3
    blob: bytes
    warnings: Sequence[tuple[str, Mapping[str, Any]]] = ()


@dataclass(frozen=True, slots=True)
class Shaper:
    """How a layer's geometry is drawn."""

    key: str
    """Of the probe, for what is rejected."""
    rule: Rule
    context: ImportContext
    solids: bool
    """Whether the layer's geometry is of solids (MultiPatch)."""

    def made(
        self,
        good: Any,
        numbers: Sequence[int],
        shapes: Any,
        columns: Mapping[str, list[Any]],
        faults: dict[int, Rejected],
    ) -> dict[int, Made]:
        """What the geometry of every record becomes; of those where it cannot, the faults."""
        if self.rule.shape == "model":
            spread = good[~np.isin(shapely.get_type_id(shapes[good]), list(_POINTS))]
            shapes = shapes.copy()
            shapes[spread] = shapely.force_3d(shapely.centroid(shapes[spread]), _lowest(shapes[spread]))
        count = len(numbers)
        measures = {
            name: self._measure(getattr(self.rule, name), columns, count)
            for name in ("height", "base", "depth", "floors", "diameter", "width", "scale", "heading")
        }
        height = np.where(
            np.isfinite(measures["height"]) & (measures["height"] > 0), measures["height"], measures["floors"] * self.rule.storey_height
        )  # fmt: skip
        low = _lowest(shapes)
        vertical = float(self._scale(shapes[good[:1]])[0, 2])
        base = np.where(np.isfinite(measures["base"]), measures["base"] / vertical, np.nan)
        depth = np.where(np.isfinite(measures["depth"]), measures["depth"] / vertical, 0.0)
        ground = np.where(np.isfinite(base), base, low) - depth
        level = np.where(np.isfinite(base) | (depth != 0), ground, np.nan)
        kinds = shapely.get_type_id(shapes)
        patches: dict[int, list[Patch]] = {}
        roles: dict[int, str] = {}

        def add(chosen: Any, role: str, made: Sequence[list[Patch]]) -> None:
            for i, own in zip(chosen.tolist(), made, strict=True):
                patches[i], roles[i] = own, role

        is_of = {
            name: good[np.isin(kinds[good], list(ids))]
            for name, ids in (("polygon", _POLYGONS), ("line", _LINES), ("point", _POINTS))
        }
        shape, polygons, lines = self.rule.shape, is_of["polygon"], is_of["line"]
        solid = np.full(len(polygons), shape == "solid")
        if shape in ("", "solid") and len(polygons):
            solid |= self.solids | _walls(shapes[polygons])
        raised = ~solid & (height[polygons] > 0) & (shapely.area(shapes[polygons]) > 0) & (shape in ("", "extrude"))
        chosen = polygons[solid]
        add(chosen, "body", sweep.surfaces(shapes[chosen]))
        chosen = polygons[raised]
        add(chosen, "body", sweep.prisms(shapes[chosen], ground[chosen], ground[chosen] + height[chosen] / vertical))
        chosen = polygons[~solid & ~raised]
        add(chosen, "footprint", sweep.surfaces(shapes[chosen], level[chosen]))
        pipes = self.rule.class_id.startswith("pipeline") or self.rule.diameter is not None
        if shape == "tube" or (shape not in ("ribbon", "flat") and pipes):
            diameter = np.where(measures["diameter"] > 0, measures["diameter"], PIPE)
            add(lines, "body", sweep.tubes(shapes[lines], diameter[lines], level[lines], self._scale(shapes[lines])))
        else:
            width = np.where(measures["width"] > 0, measures["width"], LINE)
            add(
                lines, "footprint", sweep.ribbons(shapes[lines], width[lines], level[lines], self._scale(shapes[lines]))
            )
        out: dict[int, Made] = {}
        self._built(patches, roles, numbers, out, faults)
        for i in polygons[~solid][~shapely.is_valid(shapes[polygons[~solid]])].tolist():
            if i in out:
                reason = str(shapely.is_valid_reason(shapes[i]))
                out[i].warnings = [("vector.self-crossing", {"reason": reason})]
        for class_id, points in self._by_class(is_of["point"].tolist(), columns).items():
            self._placed(np.array(points), class_id, numbers, shapes, level, height, measures, out, faults)
        for i in good.tolist():
            if i not in out and i not in faults:
                faults[i] = rejected(self.key, numbers[i], "vector.bad-geometry")
        return out

    def _built(
        self, patches: Mapping[int, list[Patch]], roles: Mapping[int, str], numbers: Sequence[int],
        out: dict[int, Made], faults: dict[int, Rejected],
    ) -> None:  # fmt: skip
        rows = sorted(patches)
        for i, built in zip(rows, self._build([patches[i] for i in rows]), strict=True):
            if isinstance(built, PlaceError):
                faults[i] = rejected(self.key, numbers[i], "vector.no-place", reason=built)
            elif not built.blob or built.box is None:
                faults[i] = rejected(self.key, numbers[i], "vector.nothing-to-draw")
            else:
                name = f"{self.key}:{numbers[i]}"
                doubtful = [(code, {"object": name, **said}) for code, said in built.problems]
                body = Representation(roles[i], "", FORMAT, content_hash(built.blob))
                out[i] = Made((body,), built.box, built.blob, doubtful)

    def _build(self, objects: Sequence[Sequence[Patch]]) -> list[Built | PlaceError]:
        """Build; where coordinates have no place, find out whose."""
        try:
            return list(build(objects, self.context.place))
        except PlaceError as error:
            if len(objects) == 1:
                return [error]
            half = len(objects) // 2
            return [*self._build(objects[:half]), *self._build(objects[half:])]

    def _placed(
        self, points: Any, class_id: str, numbers: Sequence[int], shapes: Any, level: F64, height: F64, measures: Mapping[str, F64],
        out: dict[int, Made], faults: dict[int, Rejected],
    ) -> None:  # fmt: skip
        """Points of one class: a model at each."""
        xyz, of_point = shapely.get_coordinates(shapes[points], include_z=True, return_index=True)
        row = points[of_point]
        xyz[:, 2] = np.where(np.isfinite(level[row]), level[row], np.nan_to_num(xyz[:, 2]))
        name, blob, format_name, size, radius = self._model(class_id)
        content = content_hash(blob)
        for i, at, where in zip(row.tolist(), self._geographic(xyz), xyz.tolist(), strict=True):
            if at is None:
                faults[i] = rejected(self.key, numbers[i], "vector.no-place", reason=f"{where[0]}, {where[1]}.")
                continue
            factor = float(measures["scale"][i])
            if not factor > 0:
                tall = float(height[i])
                factor = round(tall / size, 3) if tall > 0 and name in ("tree", "lamp", "box") else 1.0
            properties: dict[str, Any] = {"at": [round(at[0], 9), round(at[1], 9), round(at[2], 3)]}
            turned = float(measures["heading"][i])
            if np.isfinite(turned) and turned % 360:
                properties["heading"] = turned % 360
            if factor != 1.0:
                properties["scale"] = factor
            placed: tuple[Representation, ...] = (Representation("model", "", format_name, content, properties),)
            box = _around(at, radius * factor, size * factor)
            if i in out:
                placed, box = out[i].representations + placed, boxes.union(out[i].box, box)
            out[i] = Made(placed, box, blob)

    def _by_class(self, rows: Sequence[int], columns: Mapping[str, list[Any]]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for i in rows:
            found.setdefault(class_of(self.rule, columns, i), []).append(i)
        return found

    def _model(self, class_id: str) -> tuple[str, bytes, str, float, float]:
        """Name, blob, format, height and radius of the model of a class, unless the layer has one for all."""
        rule = self.rule
        if rule.model_path is not None:
            try:
                data = rule.model_path.read_bytes()
            except OSError as error:
                raise SourceError(
                    "vector.model-unreadable", file=rule.model_path.name, reason=error.strerror or str(error)
                ) from None
            if data[:4] != b"glTF":
                raise SourceError("vector.model-unreadable", file=rule.model_path.name, reason="glb")
            return "", data, "glb", 10.0, 10.0
        usual = {"vegetation.tree": "tree", "land.furniture.lamp": "lamp", "land.furniture.well": "well"}
        name = (
            rule.model
            if rule.model in MODELS
            else usual.get(class_id, "well" if class_id.startswith("pipeline") else "box")
        )
        made = prototype(name)
        return name, made.blob, FORMAT, made.height, made.radius

    def _geographic(self, xyz: F64) -> list[tuple[float, float, float] | None]:
        try:
            return [(a, b, c) for a, b, c in self.context.place.to_geographic(xyz).tolist()]
        except PlaceError:
            if len(xyz) == 1:
                return [None]
            half = len(xyz) // 2
            return [*self._geographic(xyz[:half]), *self._geographic(xyz[half:])]

    def _scale(self, shapes: Any) -> F64:
        """float64[n, 3]: metres per native unit at the first point of each geometry."""
        at, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
        at = np.nan_to_num(at[np.searchsorted(owner, np.arange(len(shapes)))])
        steps = np.diag([1e-3, 1e-3, 1.0])
        try:
            here = self.context.place.to_ecef(at)
            moved = [self.context.place.to_ecef(at + step) - here for step in steps]
        except PlaceError:
            return np.ones((len(shapes), 3))  # those without a place are found out when they are built
        scale: F64 = np.column_stack([np.linalg.norm(m, axis=1) for m in moved]) / steps.diagonal()
        return np.where(np.abs(scale - 1) < 1e-9, 1.0, scale)

    def _measure(self, value: Value | None, columns: Mapping[str, list[Any]], count: int) -> F64:
        """float64[n]: numbers in metres, NaN where there is none."""
        if value is None:
            return np.full(count, np.nan)
        if not value.field:
            return np.full(count, float(value.constant) * (1.0 if value.factor is None else value.factor))
        raw = np.array([number(v) for v in columns[value.field]])
        if value.factor is None:
            return np.where(raw > 10, raw * 0.001, raw)
        return raw * value.factor


def _lowest(shapes: Any) -> F64:
    """float64[n]: the lowest height of each; 0 where there is none."""
    xyz, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    low = np.full(len(shapes), np.inf)
    np.minimum.at(low, owner, np.nan_to_num(xyz[:, 2]))
    return np.where(np.isfinite(low), low, 0.0)


def _walls(shapes: Any) -> Any:
    """bool[n]: which have a polygon that stands upright."""
    out = np.zeros(len(shapes), bool)
    spatial = np.flatnonzero(shapely.has_z(shapes))
    parts, owner = shapely.get_parts(shapes[spatial], return_index=True)
    if not len(parts):
        return out
    rings = shapely.get_exterior_ring(parts)
    xyz, ring = shapely.get_coordinates(rings, include_z=True, return_index=True)
    first = np.searchsorted(ring, np.arange(len(parts)))
    shifted = np.nan_to_num(xyz) - np.nan_to_num(xyz)[np.minimum(first, len(xyz) - 1)][ring]
    pairs = np.flatnonzero(ring[1:] == ring[:-1])
    cross = np.cross(shifted[pairs], shifted[pairs + 1])
    area = np.column_stack([np.bincount(ring[pairs], cross[:, k], len(parts)) for k in range(3)])
    out[spatial[owner[np.abs(area[:, 2]) < _FLAT_SHARE * np.linalg.norm(area, axis=1)]]] = True
    return out


def _around(at: Sequence[float], radius: float, height: float) -> Box3:
    """The box of a model that stands at a geographic point."""
    lon, lat, h = at
    north = radius / 110_000
    east = north / max(0.01, float(np.cos(np.radians(lat))))
    west, last = ((v + 180) % 360 - 180 for v in (lon - east, lon + east))
    return west, max(-90.0, lat - north), h - 0.2, last, min(90.0, lat + north), h + height
