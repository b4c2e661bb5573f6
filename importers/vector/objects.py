"""Records to objects: keys, attributes, and geometry built by the thousand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import shapely

from importers import ImportContext
from importers.vector import layers, sweep
from importers.vector.layers import MAX_BYTES, Batch
from importers.vector.mapping import MODELS, Rule, Value
from importers.vector.prototypes import prototype
from tim.errors import PlaceError, SourceError
from tim.geometry import F64
from tim.model import Blob, Code, ObjectRecord, Rejected, Representation, Stage, content_hash
from tim.place import Box3
from tim.shape import FORMAT, Built, Patch, build

_AT_ONCE = 4096
PIPE, LINE = 0.2, 1.0
"""Metres: the diameter of pipes and the width of other lines where no field says it."""
_POLYGONS, _LINES, _POINTS = {3, 6}, {1, 2, 5}, {0, 4}
_DATE = re.compile(r"(\d{4})(?:[-/.年]?(\d{1,2})(?:[-/.月]?(\d{1,2}))?)?(?!\d)")
"""A date, or a month or year, which is taken for its first day."""
_FLAT_SHARE = 0.01
"""A polygon in space with less than this share of its area seen from above is a wall: the geometry is a solid."""


@dataclass(slots=True)
class _Made:
    """What a record's geometry became."""

    representations: tuple[Representation, ...]
    box: Box3
    blob: bytes
    warnings: Sequence[tuple[str, Mapping[str, Any]]] = ()


@dataclass
class Reader:
    """Turns the batches of one layer into objects, one after another."""

    key: str
    """Of the probe, for what is rejected."""
    layer: str
    rule: Rule
    context: ImportContext
    solids: bool = False
    """Whether the layer's geometry is of solids (MultiPatch)."""
    box: Box3 | None = None
    count: int = 0
    records: int = 0
    _keys: dict[bytes, int] = field(default_factory=dict)
    """Digest of a key to the record that has it; of geometry, to how many have it."""
    _blobs: set[bytes] = field(default_factory=set)

    def read(self, batch: Batch) -> Iterator[ObjectRecord | Blob | Rejected]:
        """What a batch gives, a record at a time."""
        self.records += len(batch.numbers) + len(batch.lost)
        for number, code, said in batch.lost:
            yield self.rejected(number, code, **said)
        for start in range(0, len(batch.numbers), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            columns = {name: values[part] for name, values in batch.columns.items()}
            for name in self._wanted - columns.keys():  # a damaged table may have fewer columns than its header
                columns[name] = [None] * len(batch.numbers[part])
            yield from self._some(batch.numbers[part], batch.wkb[part], columns)

    @cached_property
    def _wanted(self) -> set[str]:
        """The fields the rule needs."""
        rule = self.rule
        values = (getattr(rule, f.name) for f in fields(rule))
        named = {value.field for value in values if isinstance(value, Value)} | {code.field for code in rule.codes}
        return (named | {rule.key, rule.name, rule.class_field}) - {""}

    def rejected(self, number: int, code: str, **fields: Any) -> Rejected:
        """A record, as a message names it."""
        return Rejected(f"{self.key}:{number}", code, {"file": self.key, "record": number, **fields})

    def _some(
        self, numbers: Sequence[int], wkb: Sequence[bytes | None], columns: Mapping[str, list[Any]]
    ) -> Iterator[ObjectRecord | Blob | Rejected]:
        bulky = [i for i, one in enumerate(wkb) if one is not None and len(one) > MAX_BYTES]
        shapes = layers.geometries([None if i in bulky else one for i, one in enumerate(wkb)] if bulky else wkb)
        faults: dict[int, Rejected] = {}
        for i in np.flatnonzero(shapely.is_missing(shapes) | shapely.is_empty(shapes)).tolist():
            raw = wkb[i]
            if raw is not None and i in bulky:
                faults[i] = self.rejected(numbers[i], "vector.record-too-large", bytes=len(raw), limit=MAX_BYTES)
            else:
                lost = raw is not None and shapes[i] is None
                faults[i] = self.rejected(numbers[i], "vector.bad-geometry" if lost else "vector.no-geometry")
        for i in _not_finite(shapes).tolist():
            faults.setdefault(i, self.rejected(numbers[i], "vector.not-finite"))
        keys = self._source_keys(numbers, wkb, columns, faults)
        good = np.array([i for i in range(len(numbers)) if i not in faults], np.int64)
        made: dict[int, _Made] = {}
        if len(good):
            made = self._geometry(good, numbers, shapes, columns, faults)
        attributes = self._attributes(columns, len(numbers))
        for i, number in enumerate(numbers):
            if (fault := faults.get(i)) is not None:
                yield fault
                continue
            own = made[i]
            for code, said in own.warnings:
                yield self.rejected(number, code, **said)
            if (digest := bytes.fromhex(own.representations[0].content)[:16]) not in self._blobs:
                self._blobs.add(digest)
                yield Blob(own.blob)
            yield from self._object(i, number, keys[i], columns, attributes[i], own)

    def _object(
        self, i: int, number: int, key: str, columns: Mapping[str, list[Any]], attributes: Mapping[str, Any], made: _Made,
    ) -> Iterator[ObjectRecord | Rejected]:  # fmt: skip
        rule = self.rule
        class_id = self._class(columns, i)
        times: list[str | None] = []
        for value in (rule.valid_from, rule.valid_to):
            said = None if value is None else _raw(value, columns, i)
            day = _date(said)
            if day is None and said not in (None, ""):
                yield self.rejected(number, "vector.bad-date", value=str(said))
            times.append(day)
        stage = Stage.SURVEYED
        if rule.stage is not None and (said := _raw(rule.stage, columns, i)) not in (None, ""):
            try:
                stage = Stage(str(said))
            except ValueError:
                yield self.rejected(number, "vector.bad-stage", value=str(said), known=", ".join(Stage))
        codes = tuple(Code(c.scheme, c.edition, text) for c in rule.codes if (text := text_of(columns[c.field][i])))
        self.count += 1
        if self.box is None or not _within(made.box, self.box):
            self.box = made.box if self.box is None else _union(self.box, made.box)
        yield ObjectRecord(
            source_key=key, class_id=class_id, name=text_of(columns[rule.name][i]) if rule.name else "", layer=self.layer,
            attributes=attributes, box=made.box, stage=stage, valid_from=times[0], valid_to=times[1], codes=codes,
            representations=made.representations,
        )  # fmt: skip

    def _source_keys(
        self, numbers: Sequence[int], wkb: Sequence[bytes | None], columns: Mapping[str, list[Any]], faults: dict[int, Rejected],
    ) -> list[str]:  # fmt: skip
        """The key of every record; those without one, or with one that is taken, are faults."""
        keys = []
        for i, number in enumerate(numbers):
            key = ""
            if i in faults:
                pass
            elif self.rule.key:
                key = text_of(columns[self.rule.key][i])
                digest = blake2b(key.encode("utf-8", "replace"), digest_size=16).digest()
                if not key:
                    faults[i] = self.rejected(number, "vector.key-missing", field=self.rule.key)
                elif (first := self._keys.setdefault(digest, number)) != number:
                    faults[i] = self.rejected(number, "vector.key-twice", field=self.rule.key, key=key, first=first)
            else:
                digest = blake2b(wkb[i] or b"", digest_size=16).digest()
                times = self._keys[digest] = self._keys.get(digest, 0) + 1
                key = digest.hex() if times == 1 else f"{digest.hex()}-{times}"
            keys.append(key)
        return keys

    def _attributes(self, columns: Mapping[str, list[Any]], count: int) -> list[dict[str, Any]]:
        rule = self.rule
        names = [n for n in (columns if rule.keep is None else rule.keep) if n in columns and n not in rule.drop]
        shown = [str(rule.rename.get(name, name)) for name in names]
        if not names:
            return [{} for _ in range(count)]
        rows = zip(*(columns[name] for name in names), strict=True)
        return [{n: v for n, v in zip(shown, row, strict=True) if v is not None and v != ""} for row in rows]

    def _geometry(
        self,
        good: Any,
        numbers: Sequence[int],
        shapes: Any,
        columns: Mapping[str, list[Any]],
        faults: dict[int, Rejected],
    ) -> dict[int, _Made]:
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
        out: dict[int, _Made] = {}
        self._built(patches, roles, numbers, out, faults)
        for i in polygons[~solid][~shapely.is_valid(shapes[polygons[~solid]])].tolist():
            if i in out:
                reason = str(shapely.is_valid_reason(shapes[i]))
                out[i].warnings = [("vector.self-crossing", {"reason": reason})]
        for class_id, points in self._by_class(is_of["point"].tolist(), columns).items():
            self._placed(np.array(points), class_id, numbers, shapes, level, height, measures, out, faults)
        for i in good.tolist():
            if i not in out and i not in faults:
                faults[i] = self.rejected(numbers[i], "vector.bad-geometry")
        return out

    def _built(
        self, patches: Mapping[int, list[Patch]], roles: Mapping[int, str], numbers: Sequence[int],
        out: dict[int, _Made], faults: dict[int, Rejected],
    ) -> None:  # fmt: skip
        rows = sorted(patches)
        for i, built in zip(rows, self._build([patches[i] for i in rows]), strict=True):
            if isinstance(built, PlaceError):
                faults[i] = self.rejected(numbers[i], "vector.no-place", reason=built)
            elif not built.blob or built.box is None:
                faults[i] = self.rejected(numbers[i], "vector.nothing-to-draw")
            else:
                name = f"{self.key}:{numbers[i]}"
                doubtful = [(code, {"object": name, **said}) for code, said in built.problems]
                body = Representation(roles[i], "", FORMAT, content_hash(built.blob))
                out[i] = _Made((body,), built.box, built.blob, doubtful)

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
        out: dict[int, _Made], faults: dict[int, Rejected],
    ) -> None:  # fmt: skip
        """Points of one class: a model at each."""
        xyz, of_point = shapely.get_coordinates(shapes[points], include_z=True, return_index=True)
        row = points[of_point]
        xyz[:, 2] = np.where(np.isfinite(level[row]), level[row], np.nan_to_num(xyz[:, 2]))
        name, blob, format_name, size, radius = self._model(class_id)
        content = content_hash(blob)
        for i, at, where in zip(row.tolist(), self._geographic(xyz), xyz.tolist(), strict=True):
            if at is None:
                faults[i] = self.rejected(numbers[i], "vector.no-place", reason=f"{where[0]}, {where[1]}.")
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
                placed, box = out[i].representations + placed, _union(out[i].box, box)
            out[i] = _Made(placed, box, blob)

    def _by_class(self, rows: Sequence[int], columns: Mapping[str, list[Any]]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for i in rows:
            found.setdefault(self._class(columns, i), []).append(i)
        return found

    def _class(self, columns: Mapping[str, list[Any]], i: int) -> str:
        """The class of a record: by its field's value, otherwise the layer's."""
        rule = self.rule
        if not rule.class_field:
            return rule.class_id
        return rule.class_table.get(text_of(columns[rule.class_field][i]), rule.class_id)

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
        raw = np.array([_number(v) for v in columns[value.field]])
        if value.factor is None:
            return np.where(raw > 10, raw * 0.001, raw)
        return raw * value.factor


def text_of(value: Any) -> str:
    """A value as a key, code or name: whole numbers without a point."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _raw(value: Value, columns: Mapping[str, list[Any]], i: int) -> Any:
    return columns[value.field][i] if value.field else value.constant


def _number(value: Any) -> float:
    """A number, also where text stands around it (``DN300``, ``300x200``, ``12层``)."""
    if isinstance(value, int | float):
        return float(value)
    found = re.search(r"-?\d+(?:\.\d+)?", str(value)) if value else None
    return float(found[0]) if found else np.nan


def _date(value: Any) -> str | None:
    found = _DATE.match(str(value)) if value not in (None, "") else None
    try:
        return found and date(int(found[1]), int(found[2] or 1), int(found[3] or 1)).isoformat()
    except ValueError:
        return None


def _not_finite(shapes: Any) -> Any:
    """Which geometries have a coordinate that is no number."""
    xyz, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    bad = ~np.isfinite(xyz[:, :2]).all(axis=1) | (~np.isfinite(xyz[:, 2]) & shapely.has_z(shapes)[owner])
    return np.unique(owner[bad])


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


def _within(a: Box3, b: Box3) -> bool:
    """Whether a box lies in another; said only of boxes that do not cross the antimeridian."""
    return b[0] <= a[0] <= a[3] <= b[3] and b[1] <= a[1] and a[4] <= b[4] and b[2] <= a[2] and a[5] <= b[5]


def _union(a: Box3, b: Box3) -> Box3:
    """The box around both; west exceeds east across the antimeridian."""
    start = (b[0] - a[0] + 180) % 360 - 180
    low, high = min(0.0, start), max((a[3] - a[0]) % 360, start + (b[3] - b[0]) % 360)
    if low >= 0 and high <= (a[3] - a[0]) % 360:
        west, east = a[0], a[3]
    else:
        west, east = ((a[0] + v + 180) % 360 - 180 if abs(a[0] + v) > 180 else a[0] + v for v in (low, high))
    return west, min(a[1], b[1]), min(a[2], b[2]), east, max(a[4], b[4]), max(a[5], b[5])
