"""One model at one place: what the importer and the server make of a glb somebody uploads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from importers.gltf import Model, examine
from tim.errors import SourceError
from tim.geometry import F64
from tim.model import Blob, ObjectRecord, Representation, Stage, derived_id
from tim.place import Box3, Frame
from tim.place.ellipsoid import to_geographic

CLASS = "planning.scheme"
FORMAT = "glb"
Scale = float | tuple[float, float, float]


def planned_model(
    data: bytes, name: str, at: Sequence[float], heading: float, scale: Scale, scenario: str, dataset_uid: UUID,
) -> tuple[ObjectRecord, list[Blob]]:  # fmt: skip
    """The planned object that uploaded bytes become, and the blobs it refers to.

    ``at``: longitude, latitude (degrees), ellipsoidal height (m); ``heading``: degrees clockwise from north; ``scale``: a factor, or three
    for east, north, up. ``name``: the file's, which is also the source key: the same name again is the next version of the same object.
    Raises CorruptSource ``glb.…`` for bytes that are no model that can be shown, SourceError ``glb.bad-place`` for a place that is none.
    """
    name = PurePath(name.replace("\\", "/")).name or "model.glb"
    record = scheme(examine(data, name), Blob(data).content, name, at, heading, scale, scenario, Stage.PLANNED, "")
    return replace(record, tim_id=derived_id(dataset_uid, record.layer, record.source_key)), [Blob(data)]


def scheme(
    model: Model, content: str, key: str, at: Sequence[float], heading: float, scale: Scale, scenario: str, stage: Stage, layer: str,
) -> ObjectRecord:  # fmt: skip
    """The object of an examined model. Raises SourceError ``glb.bad-place``."""
    lon, lat, height, heading, factors = _checked(key, at, heading, scale)
    properties: dict[str, Any] = {"at": [lon, lat, height]}
    if heading:
        properties["heading"] = heading
    if factors != (1.0, 1.0, 1.0):
        properties["scale"] = factors[0] if len(set(factors)) == 1 else list(factors)
    attributes = {
        "triangles": model.triangles,
        "materials": model.materials,
        "generator": model.generator,
        "copyright": model.copyright,
    }
    return ObjectRecord(
        source_key=key, class_id=CLASS, name=PurePath(key).stem, layer=layer, attributes={k: v for k, v in attributes.items() if v != ""},
        box=model_box(model.low, model.high, (lon, lat, height), heading, factors), stage=stage, scenario=scenario,
        representations=(Representation("model", "", FORMAT, content, properties),),
    )  # fmt: skip


def model_box(
    low: Sequence[float], high: Sequence[float], at: tuple[float, float, float], heading: float, scale: tuple[float, float, float],
) -> Box3:  # fmt: skip
    """The EPSG:4979 box of a model whose own corners are ``low`` and ``high`` (metres, y up as in glTF)."""
    x, y, z = np.meshgrid(*zip(low, high, strict=True), indexing="ij")
    east, north, up = (part.ravel() * factor for part, factor in zip((x, -z, y), scale, strict=True))
    turn = np.radians(heading)
    local: F64 = np.column_stack(
        [east * np.cos(turn) + north * np.sin(turn), north * np.cos(turn) - east * np.sin(turn), up]
    )
    geographic = to_geographic(Frame(at[0], at[1], at[2], 1.0).to_ecef(local))
    west, south, bottom = geographic.min(axis=0).tolist()
    right, top_north, top = geographic.max(axis=0).tolist()
    if right - west > 180:
        lon = geographic[:, 0] % 360
        west, right = ((float(v) + 180) % 360 - 180 for v in (lon.min(), lon.max()))
    return west, south, bottom, right, top_north, top


def _checked(
    name: str, at: Sequence[float], heading: float, scale: Scale
) -> tuple[float, float, float, float, tuple[float, float, float]]:
    try:
        lon, lat, height = (float(v) for v in at)
        factors = tuple(float(v) for v in (scale if isinstance(scale, Sequence) else (scale,) * 3))
        a, b, c = factors
        numbers = np.array([lon, lat, height, float(heading), a, b, c])
    except (TypeError, ValueError):
        raise SourceError("glb.bad-place", file=name, at=str(at), heading=str(heading), scale=str(scale)) from None
    if not np.isfinite(numbers).all() or abs(lon) > 180 or abs(lat) > 90 or min(factors) <= 0:
        raise SourceError("glb.bad-place", file=name, at=str(at), heading=str(heading), scale=str(scale))
    return lon, lat, height, float(heading) % 360, (a, b, c)
