"""Models in binary glTF (``.glb``), placed as one object each: what a planner brings as a scheme.

A glb says its size and shape but not where on Earth it stands: the user does. Settings: ``at`` ("lon,lat,h"), ``heading``, ``scale``,
``scenario``, ``stage``; the place of the delivery is a local frame at ``at`` (:func:`importers.plan.make_plan` makes it so).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from importers import ImportContext, Probe
from importers.glb.place import planned_model, scheme
from importers.gltf import LARGEST, MAGIC, Model, examine, needed
from importers.standing import standing
from tim.errors import SourceError
from tim.model import Blob, ObjectRecord, Rejected
from tim.place.resolve import FoundCrs
from tim.sources import GridSource, MeshTree, PointSource, SourceRef, VolumeSource, fingerprint

__all__ = ["open", "planned_model", "probe", "read"]

SUFFIXES = (".glb", ".gltf")
FOLDERS = False


_ABOVE = 8
"""Folders above a file in which a tileset may lie that owns it."""


def probe(path: Path, key: str = "") -> list[Probe]:
    """One model. Empty for anything else, and for the content of a tileset; glTF in text form is refused by name."""
    path = Path(path)
    if path.suffix.lower() not in (".glb", ".gltf") or not path.is_file() or _in_tileset(path):
        return []
    key = key or path.name
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
            if path.suffix.lower() == ".gltf":
                return (
                    [_refused(path, key, size, "glb.text-form")]
                    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"
                    else []
                )
            if head[:4] != MAGIC:
                return []
            stream.seek(0)
            model = examine(stream.read(min(needed(head), LARGEST)), key, size)
    except OSError as error:
        return [_refused(path, key, size, "glb.unreadable", reason=error.strerror or str(error))]
    except SourceError as error:
        return [_refused(path, key, size, error.code, **error.fields)]
    low, high = _enu(model)
    return [Probe(
        uri=str(path), format="glb", kind="objects", key=key, files=1, size=size, count=1, low=low, high=high, found=FoundCrs(where=key),
        options={"triangles": model.triangles},
    )]  # fmt: skip


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | Blob | SourceRef | Rejected]:
    """The model's bytes, its object, its reference."""
    if probe.fatal:
        yield from probe.problems
        return
    path = Path(probe.uri)
    stands = standing(context.settings, probe.key)
    try:
        data = path.read_bytes()
        model = examine(data, probe.key)
        if not context.place.crs.upper().startswith("ENU"):
            raise SourceError("glb.needs-at", file=probe.key, crs=context.place.crs[:80])
        ((lon, lat, height),) = context.place.to_geographic(np.zeros((1, 3))).tolist()
        record = scheme(
            model,
            Blob(data).content,
            probe.key,
            (lon, lat, height),
            stands.heading,
            stands.scale,
            stands.scenario,
            stands.stage,
            context.layer,
        )
    except OSError as error:
        yield Rejected(probe.key, "glb.unreadable", {"file": probe.key, "reason": error.strerror or str(error)})
        return
    except SourceError as error:
        yield Rejected(probe.key, error.code, error.fields)
        return
    yield Blob(data)
    yield replace(record, name=str(context.settings.get("name") or record.name))
    assert record.box is not None
    yield context.source(probe, fingerprint(path), record.box, 1)


def open(ref: SourceRef) -> PointSource | MeshTree | GridSource | VolumeSource:  # noqa: A001
    """Refused: a model is an object only. Raises SourceError."""
    raise SourceError("glb.no-bulk", file=ref.key)


def _in_tileset(path: Path) -> bool:
    """Whether a tileset lies in the file's folder or above it: then the file is one of its tiles, not a delivery."""
    return any((folder / "tileset.json").is_file() for folder in path.parents[:_ABOVE])


def _enu(model: Model) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Corners in east, north, up."""
    return (model.low[0], -model.high[2], model.low[1]), (model.high[0], -model.low[2], model.high[1])


def _refused(path: Path, key: str, size: int, code: str, **fields: Any) -> Probe:
    return Probe(
        uri=str(path), format="glb", kind="objects", key=key, files=1, size=size, count=None, low=None, high=None,
        found=FoundCrs(where=key), problems=(Rejected(key, code, {"file": key, **fields}),), fatal=True,
    )  # fmt: skip
