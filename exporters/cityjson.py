"""CityJSON 2.0: every version is a CityObject with all its levels of detail; what CityJSON has no word for stands in its attribute ``tim``.

* ``parents`` and ``children`` are the relations ``partOf`` between objects that both go out, where CityJSON has them: of parts, installations,
  rooms, and members of groups. A part whose whole does not go out becomes what its whole would be, or a generic object.
* A body whose surfaces close is a Solid, any other a MultiSurface; a mesh is its triangles; a placed model is the point where it stands.
* Vertices are whole multiples of a millimetre (of 1e-8 degree in a geographic CRS) from a point of the dataset; x is the longitude or easting.

Objects are written as they come, vertices to a file beside it that follows them: what stays in memory is the name of each object.
Equal content gives equal bytes.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from exporters.job import WGS84, Job
from exporters.shapes import faces_of
from tim.exchange import OWN_ATTRIBUTE as OWN
from tim.exchange import STRUCTURES, own_values
from tim.geometry import F64
from tim.model import Representation
from tim.place import Box3, ellipsoid
from tim.shape import FORMAT, Shape, decode_each
from tim.store import ObjectVersion

_SURFACES = {
    "RoofSurface", "GroundSurface", "WallSurface", "ClosureSurface", "OuterCeilingSurface", "OuterFloorSurface", "Window", "Door",
    "InteriorWallSurface", "CeilingSurface", "FloorSurface", "WaterSurface", "WaterGroundSurface", "WaterClosureSurface", "TrafficArea",
    "AuxiliaryTrafficArea", "TransportationMarking", "TransportationHole",
}  # fmt: skip
_WHOLES = {
    "Bridge", "Building", "CityFurniture", "CityObjectGroup", "GenericCityObject", "LandUse", "OtherConstruction", "PlantCover", "Railway",
    "Road", "SolitaryVegetationObject", "TINRelief", "TransportSquare", "Tunnel", "WaterBody", "Waterway",
}  # fmt: skip
_PARTS = {
    "BridgePart": "Bridge", "BridgeInstallation": "Bridge", "BridgeConstructiveElement": "Bridge", "BridgeRoom": "Bridge",
    "BridgeFurniture": "Bridge", "BuildingPart": "Building", "BuildingInstallation": "Building", "BuildingConstructiveElement": "Building",
    "BuildingFurniture": "Building", "BuildingStorey": "Building", "BuildingRoom": "Building", "BuildingUnit": "Building",
    "TunnelPart": "Tunnel", "TunnelInstallation": "Tunnel", "TunnelConstructiveElement": "Tunnel", "TunnelHollowSpace": "Tunnel",
    "TunnelFurniture": "Tunnel",
}  # fmt: skip
"""Types of the second level, and the domain they are of (CityJSON 2.0.1, 2.2)."""
_CLASSES: Mapping[str, str] = {
    "building.part": "BuildingPart", "building.unit": "BuildingUnit", "building.storey": "BuildingStorey", "building.room": "BuildingRoom",
    "building.installation": "BuildingInstallation", "building.element.equipment": "BuildingFurniture",
    "building.element": "BuildingConstructiveElement", "building.other": "OtherConstruction", "building": "Building",
    "transport.bridge.element": "BridgeConstructiveElement", "transport.bridge": "Bridge", "transport.tunnel.element": "TunnelConstructiveElement",
    "transport.tunnel": "Tunnel", "transport.rail": "Railway", "transport.square": "TransportSquare", "transport.waterway": "Waterway",
    "transport": "Road", "vegetation.tree": "SolitaryVegetationObject", "vegetation": "PlantCover", "water": "WaterBody",
    "land.use": "LandUse", "land.furniture": "CityFurniture", "land.group": "CityObjectGroup", "terrain": "TINRelief",
    "underground.building": "Building",
}  # fmt: skip
"""By the class or one above it."""
_LEVEL = re.compile(r"[0-3](\.[0-3])?")


def write(path: Path, job: Job) -> None:
    """Every version of the job as a CityObject. Raises OSError."""
    names = _Names.of(job)
    beside = path.with_name(path.name + ".vertices")
    try:
        with beside.open("w+b") as spool, path.open("wb") as stream:
            out = _Vertices(spool, job)
            stream.write(b'{"type":"CityJSON","version":"2.0","CityObjects":{')
            first = True
            for versions in job.versions():
                for version, record in zip(versions, _objects(versions, names, job, out), strict=True):
                    stream.write(b"" if first else b",\n")
                    stream.write(_json(names.of_version(version)) + b":" + _json(record))
                    first = False
            stream.write(b'},"vertices":[')
            spool.seek(0)
            shutil.copyfileobj(spool, stream)
            stream.write(b'],"transform":' + _json(out.transform) + b',"metadata":' + _json(out.metadata) + b"}")
    finally:
        beside.unlink(missing_ok=True)


@dataclass(slots=True)
class _Names:
    """What objects are called, and who is part of whom; of what goes out."""

    names: dict[tuple[UUID, int], str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    newest: dict[UUID, str] = field(default_factory=dict)
    """The name of an object's last version that goes out."""
    parents: dict[str, list[str]] = field(default_factory=dict)
    children: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Job) -> _Names:
        """Source keys are names where they are one object's alone; otherwise, and of further versions, the ``tim_id`` is."""
        self = cls()
        taken: set[str] = set()
        links: list[tuple[str, UUID]] = []
        for versions in job.versions():
            for version in versions:
                name = version.object.source_key
                if not name or name in taken:
                    name = (
                        f"{version.tim_id}"
                        if f"{version.tim_id}" not in taken
                        else f"{version.tim_id}-{version.version}"
                    )
                taken.add(name)
                self.names[version.tim_id, version.version] = self.newest[version.tim_id] = name
                self.types[name] = _type(version)
                links += [(name, r.target) for r in version.object.relations if r.kind == "partOf"]
        job.objects = 0
        for name, target in links:
            whole = self.newest.get(target)
            if (
                whole is not None
                and whole != name
                and (self.types[name] in _PARTS or self.types[whole] == "CityObjectGroup")
            ):
                self.parents.setdefault(name, []).append(whole)
                self.children.setdefault(whole, []).append(name)
        for name, kind in self.types.items():
            if kind in _PARTS and name not in self.parents:
                self.types[name] = _PARTS[kind] if kind.endswith("Part") else "GenericCityObject"
        return self

    def of_version(self, version: ObjectVersion) -> str:
        """The name of a version."""
        return self.names[version.tim_id, version.version]


@dataclass(slots=True)
class _Vertices:
    """The vertices of the whole file: written as they come, counted, and where they are."""

    spool: IO[bytes]
    job: Job
    count: int = 0
    low: NDArray[np.int64] | None = None
    high: NDArray[np.int64] | None = None
    scale: F64 = field(init=False)
    translate: F64 = field(init=False)

    def __post_init__(self) -> None:
        frame = self.job.store.dataset(self.job.dataset).frame
        self.scale = np.array([1e-8, 1e-8, 0.001] if self.job.degrees else [0.001] * 3)
        origin = self.job.coordinates(np.array([[frame.lon, frame.lat, frame.height]]))[0]
        self.translate = np.round(origin, 3) if self.job.degrees else np.floor(origin)

    def steps(self, geographic: F64) -> NDArray[np.int64]:
        """int64[n, 3] of EPSG:4979 coordinates."""
        steps: NDArray[np.int64] = np.rint((self.job.coordinates(geographic) - self.translate) / self.scale).astype(
            np.int64
        )
        return steps

    def put(self, steps: NDArray[np.int64]) -> int:
        """Write vertices; the number of the first."""
        if not len(steps):
            return self.count
        text = ",".join(f"[{x},{y},{z}]" for x, y, z in steps.tolist())
        self.spool.write((b"," if self.count else b"") + text.encode())
        low, high = steps.min(axis=0), steps.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        self.count += len(steps)
        return self.count - len(steps)

    @property
    def transform(self) -> dict[str, Any]:
        """CityJSON 2.0.1, 4."""
        return {"scale": self.scale.tolist(), "translate": self.translate.tolist()}

    @property
    def metadata(self) -> dict[str, Any]:
        """The CRS and the extent."""
        code = (self.job.crs if self.job.place is not None else WGS84).upper().removeprefix("EPSG:").split("+")[0]
        said: dict[str, Any] = {"referenceSystem": f"https://www.opengis.net/def/crs/EPSG/0/{code}"}
        if self.low is not None and self.high is not None:
            corners = np.round(
                np.concatenate([self.low, self.high]) * np.tile(self.scale, 2) + np.tile(self.translate, 2), 9
            )
            said["geographicalExtent"] = corners.tolist()
        return said


def _objects(versions: Sequence[ObjectVersion], names: _Names, job: Job, out: _Vertices) -> list[dict[str, Any]]:
    wanted = {r.content for version in versions for r in version.object.representations if r.format == FORMAT}
    blobs = job.store.get_blobs(wanted)
    shapes = dict(zip(blobs, decode_each(list(blobs.values())), strict=True))
    return [_object(version, names, shapes, job.left, out) for version in versions]


def _object(
    version: ObjectVersion, names: _Names, shapes: Mapping[str, Shape], left: Counter[str], out: _Vertices
) -> dict[str, Any]:
    name = names.of_version(version)
    own = {
        k: v
        for k, v in own_values(version, {}).items()
        if v not in (None, [], {}) and k not in ("representations", STRUCTURES[-1])
    }
    attributes = {k: v for k, v in version.object.attributes.items() if k != OWN}
    if OWN in version.object.attributes:
        own["attributes"] = {OWN: version.object.attributes[OWN]}
    record: dict[str, Any] = {"type": names.types[name], "attributes": {**attributes, OWN: own}}
    geometry = []
    for representation in version.object.representations:
        made = _geometry(representation, shapes, left, out)
        geometry += [made] if made else []
    if not geometry and version.object.box is not None:
        left["export.boxes"] += 1
        geometry.append(_box(version.object.box, out))
    elif not geometry:
        left["export.no-geometry"] += 1
    if geometry:
        record["geometry"] = geometry
    if name in names.parents:
        record["parents"] = names.parents[name]
    if name in names.children:
        record["children"] = names.children[name]
    return record


def _geometry(
    representation: Representation, shapes: Mapping[str, Shape], left: Counter[str], out: _Vertices
) -> dict[str, Any] | None:
    lod = representation.lod.removeprefix("LOD").removeprefix("LoD")
    if representation.role == "model" and "at" in representation.properties:
        left["export.models"] += 1
        first = out.put(out.steps(np.array([representation.properties["at"]], np.float64)))
        return {"type": "MultiPoint", "lod": lod if _LEVEL.fullmatch(lod) else "2", "boundaries": [first]}
    if representation.format != FORMAT or representation.role not in ("body", "footprint"):
        return None
    if (shape := shapes.get(representation.content)) is None:
        left["export.lost-geometry"] += 1
        return None
    if any(material is not None for material in shape.materials):
        left["export.appearance"] += 1
    if representation.properties.get("surfaces"):
        left["export.surface-attributes"] += 1
    steps, vertex = np.unique(out.steps(ellipsoid.to_geographic(shape.xyz)), axis=0, return_inverse=True)
    vertex = vertex.reshape(-1)
    faces, semantics = [], []
    for semantic, rings in faces_of(shape):
        kept = [ring for ring in (_ring(vertex[indices].tolist()) for indices in rings) if len(set(ring)) > 2]
        if not kept or len(set(_ring(vertex[rings[0]].tolist()))) < 3:
            left["export.degenerate"] += 1
            continue
        faces.append(kept)
        semantics.append(semantic)
    if not faces:
        return None
    used = np.unique([i for face in faces for ring in face for i in ring])
    first = out.put(steps[used])
    numbers = np.full(len(steps), -1, np.int64)
    numbers[used] = np.arange(first, first + len(used))
    boundaries = [[numbers[ring].tolist() for ring in face] for face in faces]
    solid = representation.role == "body" and closed(boundaries)
    level = lod if _LEVEL.fullmatch(lod) else "2" if representation.role == "body" else "0"
    made: dict[str, Any] = {
        "type": "Solid" if solid else "MultiSurface",
        "lod": level,
        "boundaries": [boundaries] if solid else boundaries,
    }
    if any(semantics):
        kinds = list(dict.fromkeys(s for s in semantics if s))
        values = [kinds.index(s) if s else None for s in semantics]
        surfaces = [{"type": kind if kind in _SURFACES else f"+{kind}"} for kind in kinds]
        made["semantics"] = {"surfaces": surfaces, "values": [values] if solid else values}
    return made


def closed(faces: Sequence[Sequence[Sequence[int]]]) -> bool:
    """Whether faces (rings of vertex numbers) are one shell: every edge is walked once each way, and all of them hang together."""
    edges = Counter((a, b) for face in faces for ring in face for a, b in zip(ring, [*ring[1:], ring[0]], strict=True))
    if any(count > 1 or (b, a) not in edges for (a, b), count in edges.items()):
        return False
    beside: dict[tuple[int, int], int] = {}
    for k, face in enumerate(faces):
        for ring in face:
            beside.update(((a, b), k) for a, b in zip(ring, [*ring[1:], ring[0]], strict=True))
    reached, waiting = {0}, [0]
    while waiting:
        for ring in faces[waiting.pop()]:
            for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
                if (other := beside[b, a]) not in reached:
                    reached.add(other)
                    waiting.append(other)
    return len(reached) == len(faces)


def _box(box: Box3, out: _Vertices) -> dict[str, Any]:
    """A box from above, at its bottom."""
    west, south, bottom, east, north, _ = box
    corners = np.array([(west, south, bottom), (east, south, bottom), (east, north, bottom), (west, north, bottom)])
    steps = out.steps(corners)
    first = out.put(steps)
    if len(np.unique(steps, axis=0)) < 4:
        return {"type": "MultiPoint", "lod": "0", "boundaries": [first]}
    return {"type": "MultiSurface", "lod": "0", "boundaries": [[[first, first + 1, first + 2, first + 3]]]}


def _ring(indices: Sequence[int]) -> list[int]:
    """Without vertices that fell together with the one before."""
    return [a for a, b in zip(indices, [*indices[-1:], *indices[:-1]], strict=True) if a != b]


def _type(version: ObjectVersion) -> str:
    """As the source called it where CityJSON has the word, otherwise by the class."""
    said = version.object.attributes.get("featureType")
    if isinstance(said, str) and (said in _WHOLES or said in _PARTS):
        return said
    class_id = version.object.class_id
    while class_id and class_id not in _CLASSES:
        class_id = class_id.rpartition(".")[0]
    return _CLASSES.get(class_id, "GenericCityObject")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
