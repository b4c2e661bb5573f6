"""Records to objects: keys, attributes, and geometry built by the thousand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import shapely

from importers import ImportContext
from importers.vector import layers
from importers.vector.geometry import Made, Shaper
from importers.vector.layers import MAX_BYTES, Batch
from importers.vector.mapping import Rule, Value
from importers.vector.values import class_of, day_of, raw, rejected, text_of
from tim.exchange import record_of
from tim.model import Blob, Code, ObjectRecord, Rejected, Stage
from tim.place import Box3, boxes
from tim.workspace import LAYER, REPAIRS

_AT_ONCE = 4096
_CARRIED = 10_000
"""Records of one layer that are kept to be repaired; of more, only what is wrong with them is said."""


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
    layers: set[str] = field(default_factory=set)
    """Of the objects."""
    _keys: dict[bytes, int] = field(default_factory=dict)
    """Digest of a key to the record that has it; of geometry, to how many have it."""
    _blobs: set[bytes] = field(default_factory=set)
    repairs: list[str] = field(default_factory=list)
    """Quarantined records that its objects stand for."""
    _carried: int = 0
    """Records that were given along with what is wrong with them."""

    def read(self, batch: Batch) -> Iterator[ObjectRecord | Blob | Rejected]:
        """What a batch gives, a record at a time."""
        self.records += len(batch.numbers) + len(batch.lost)
        for number, code, said in batch.lost:
            yield rejected(self.key, number, code, **said)
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

    @cached_property
    def _shaper(self) -> Shaper:
        return Shaper(self.key, self.rule, self.context, self.solids)

    def _some(
        self, numbers: Sequence[int], wkb: Sequence[bytes | None], columns: Mapping[str, list[Any]]
    ) -> Iterator[ObjectRecord | Blob | Rejected]:
        bulky = [i for i, one in enumerate(wkb) if one is not None and len(one) > MAX_BYTES]
        shapes = layers.geometries([None if i in bulky else one for i, one in enumerate(wkb)] if bulky else wkb)
        faults: dict[int, Rejected] = {}
        for i in np.flatnonzero(shapely.is_missing(shapes) | shapely.is_empty(shapes)).tolist():
            raw = wkb[i]
            if raw is not None and i in bulky:
                faults[i] = rejected(self.key, numbers[i], "vector.record-too-large", bytes=len(raw), limit=MAX_BYTES)
            else:
                lost = raw is not None and shapes[i] is None
                faults[i] = rejected(self.key, numbers[i], "vector.bad-geometry" if lost else "vector.no-geometry")
        for i in _not_finite(shapes).tolist():
            faults.setdefault(i, rejected(self.key, numbers[i], "vector.not-finite"))
        keys = self._source_keys(numbers, wkb, columns, faults)
        good = np.array([i for i in range(len(numbers)) if i not in faults], np.int64)
        made: dict[int, Made] = {}
        if len(good):
            made = self._shaper.made(good, numbers, shapes, columns, faults)
        attributes = self._attributes(columns, len(numbers))
        for i, number in enumerate(numbers):
            if (fault := faults.get(i)) is not None:
                yield self._with_record(fault, shapes[i], {name: values[i] for name, values in columns.items()})
                continue
            own = made[i]
            for code, said in own.warnings:
                yield rejected(self.key, number, code, **said)
            if (digest := bytes.fromhex(own.representations[0].content)[:16]) not in self._blobs:
                self._blobs.add(digest)
                yield Blob(own.blob)
            yield from self._object(i, number, keys[i], columns, attributes[i], own)

    def _object(
        self, i: int, number: int, key: str, columns: Mapping[str, list[Any]], attributes: Mapping[str, Any], made: Made,
    ) -> Iterator[ObjectRecord | Rejected]:  # fmt: skip
        rule = self.rule
        if rule.ours:
            yield from self._ours(number, {name: values[i] for name, values in columns.items()}, made)
            return
        class_id = class_of(rule, columns, i)
        times: list[str | None] = []
        for value in (rule.valid_from, rule.valid_to):
            said = None if value is None else raw(value, columns, i)
            day = day_of(said)
            if day is None and said not in (None, ""):
                yield rejected(self.key, number, "vector.bad-date", value=str(said))
            times.append(day)
        stage = Stage.SURVEYED
        if rule.stage is not None and (said := raw(rule.stage, columns, i)) not in (None, ""):
            try:
                stage = Stage(str(said))
            except ValueError:
                yield rejected(self.key, number, "vector.bad-stage", value=str(said), known=", ".join(Stage))
        codes = tuple(Code(c.scheme, c.edition, text) for c in rule.codes if (text := text_of(columns[c.field][i])))
        layer = text_of(columns[LAYER][i]) if LAYER in columns else ""
        if REPAIRS in columns and (repaired := text_of(columns[REPAIRS][i])):
            self.repairs.append(repaired)
        yield self._counted(ObjectRecord(
            source_key=key, class_id=class_id, name=text_of(columns[rule.name][i]) if rule.name else "", layer=layer or self.layer,
            attributes=attributes, box=made.box, stage=stage, valid_from=times[0], valid_to=times[1], codes=codes,
            representations=made.representations,
        ))  # fmt: skip

    def _ours(self, number: int, row: Mapping[str, Any], made: Made) -> Iterator[ObjectRecord | Rejected]:
        """The object of a row of an export of ours."""
        try:
            record = record_of(row)
        except ValueError as error:
            yield rejected(self.key, number, "vector.bad-own-row", reason=str(error)[:200])
            return
        yield self._counted(replace(record, box=made.box, representations=made.representations))

    def _counted(self, record: ObjectRecord) -> ObjectRecord:
        assert record.box is not None
        self.count += 1
        self.layers.add(record.layer)
        if self.box is None or not _within(record.box, self.box):
            self.box = boxes.union(self.box, record.box)
        return record

    def _with_record(self, fault: Rejected, shape: Any, properties: Mapping[str, Any]) -> Rejected:
        """What is wrong with a record, with the record: the geometry as far as it can be read."""
        self._carried += 1
        if self._carried > _CARRIED:
            return fault
        known = shape is not None and np.isfinite(shapely.get_coordinates(shape, include_z=shapely.has_z(shape))).all()
        geometry = json.loads(shapely.to_geojson(shape)) if known else None
        layer = text_of(properties.get(LAYER)) or self.layer
        return replace(
            fault, record={"type": "Feature", "geometry": geometry, "properties": {**properties, LAYER: layer}}
        )

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
                    faults[i] = rejected(self.key, number, "vector.key-missing", field=self.rule.key)
                elif (first := self._keys.setdefault(digest, number)) != number:
                    faults[i] = rejected(
                        self.key, number, "vector.key-twice", field=self.rule.key, key=key, first=first
                    )
            else:
                digest = blake2b(wkb[i] or b"", digest_size=16).digest()
                times = self._keys[digest] = self._keys.get(digest, 0) + 1
                key = digest.hex() if times == 1 else f"{digest.hex()}-{times}"
            keys.append(key)
        return keys

    def _attributes(self, columns: Mapping[str, list[Any]], count: int) -> list[dict[str, Any]]:
        rule = self.rule
        names = [
            n
            for n in (columns if rule.keep is None else rule.keep)
            if n in columns and n not in (*rule.drop, REPAIRS, LAYER)
        ]
        shown = [str(rule.rename.get(name, name)) for name in names]
        if not names:
            return [{} for _ in range(count)]
        rows = zip(*(columns[name] for name in names), strict=True)
        return [{n: v for n, v in zip(shown, row, strict=True) if v is not None and v != ""} for row in rows]


def _not_finite(shapes: Any) -> Any:
    """Which geometries have a coordinate that is no number."""
    xyz, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    bad = ~np.isfinite(xyz[:, :2]).all(axis=1) | (~np.isfinite(xyz[:, 2]) & shapely.has_z(shapes)[owner])
    return np.unique(owner[bad])


def _within(a: Box3, b: Box3) -> bool:
    """Whether a box lies in another; said only of boxes that do not cross the antimeridian."""
    return b[0] <= a[0] <= a[3] <= b[3] and b[1] <= a[1] and a[4] <= b[4] and b[2] <= a[2] and a[5] <= b[5]
