"""Objects for tests: boxes, buildings of Delft, images; and a reader of what a tile shows, independent of the writer."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from PIL import Image

from tiling.objects.content import encode
from tiling.objects.drawn import Content, Drawn, Model
from tiling.spec import glb
from tiling.validate import volumes
from tiling.validate.content import Task, check_glb
from tim.geometry import F64
from tim.model import content_hash
from tim.place import FoundCrs, Frame, PlaceOptions, resolve
from tim.shape import Material, Polygon, build, decode, model

EAST, NORTH = 500_000.0, 3_400_000.0
PLACE = resolve(
    FoundCrs("EPSG:4547"),
    PlaceOptions(vertical="ellipsoid"),
    np.array([EAST, NORTH, 0]),
    np.array([EAST + 1e4, NORTH + 1e4, 90]),
)
LON, LAT, _ = PLACE.to_geographic(np.array([[EAST, NORTH, 0.0]]))[0]
FRAME = Frame(round(float(LON), 4), round(float(LAT), 4), 0.0, 2**-10)


def uid(number: int) -> UUID:
    return UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128)


def box(at=(0.0, 0.0, 0.0), size=(10.0, 8.0, 6.0), material: Material | None = None, turn=0.0) -> list[Polygon]:
    """The six sides of a box; its lower corner is at the place, from the test origin."""
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * np.array(size[:2])
    cos, sin = np.cos(turn), np.sin(turn)
    ring = np.column_stack([corner @ [[cos, sin], [-sin, cos]], np.zeros(4)]) + np.array(at) + [EAST, NORTH, 0]
    roof = ring + [0, 0, size[2]]
    sides = [np.array([ring[k], ring[(k + 1) % 4], roof[(k + 1) % 4], roof[k]]) for k in range(4)]
    uv = [np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)] if material and material.image else None
    return [
        Polygon([ring[::-1]], "GroundSurface", material, uv), Polygon([roof], "RoofSurface", material, uv),
        *(Polygon([side], "WallSurface", material, uv) for side in sides),
    ]  # fmt: skip


def blobs_of(things) -> list[bytes]:
    return [built.blob for built in build(things, PLACE)]


def objects(things, **fields: Any) -> list[Drawn]:
    return [
        Drawn(uid(i).bytes, "building.house", f"楼 {i}", shapes=[b], **fields) for i, b in enumerate(blobs_of(things))
    ]


def delft(data: Path) -> list[list[Polygon]]:
    """Patches of its buildings, moved to the test place."""
    document = json.loads((data / "city" / "cityjson" / "delft.json").read_text("utf-8"))
    points = np.array(document["vertices"]) * document["transform"]["scale"] + document["transform"]["translate"]
    points += np.array([EAST, NORTH, 0]) - [84616.0, 447422.0, 0]
    out = []
    for item in document["CityObjects"].values():
        if item["type"] == "Building":
            faces = [
                f for g in item["geometry"] for f in (g["boundaries"][0] if g["type"] == "Solid" else g["boundaries"])
            ]
            out.append([Polygon([points[ring] for ring in face]) for face in faces])
    return out


def image(color, size=(64, 64), kind="PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGBA" if len(color) == 4 else "RGB", size, color).save(
        out, kind, **({"quality": 95} if kind == "JPEG" else {})
    )
    return out.getvalue()


def parsed(content: Content) -> glb.Glb:
    return glb.parse(b"".join(content.chunks))


def table(document: glb.Glb) -> dict[str, list[Any]]:
    """The property table, decoded by the text of the specification."""
    metadata = document.json["extensions"]["EXT_structural_metadata"]
    (stored,) = metadata["propertyTables"]
    described = metadata["schema"]["classes"][stored["class"]]["properties"]
    assert described.keys() == stored["properties"].keys()
    out = {}
    for name, item in stored["properties"].items():
        values, kind = bytes(document.view(item["values"])), described[name]
        assert all(
            document.json["bufferViews"][v]["byteOffset"] % 8 == 0 for k, v in item.items() if k != "stringOffsetType"
        )
        if kind["type"] == "STRING":
            dtype = {"UINT16": "<u2", "UINT32": "<u4"}[item["stringOffsetType"]]
            ends = np.frombuffer(document.view(item["stringOffsets"]), dtype)
            cells: list[Any] = [values[a:b].decode() for a, b in pairwise(ends)]
        elif kind["type"] == "BOOLEAN":
            cells = (
                np.unpackbits(np.frombuffer(values, np.uint8), bitorder="little")
                .astype(bool)
                .tolist()[: stored["count"]]
            )
        else:
            dtype = {"INT32": "<i4", "INT64": "<i8", "FLOAT64": "<f8", "UINT8": "u1"}[kind["componentType"]]
            cells = np.frombuffer(values, dtype).tolist()
        out[kind.get("name", name)] = [None if "noData" in kind and c == kind["noData"] else c for c in cells]
        assert len(cells) == stored["count"]
    return out


def corners(document: glb.Glb) -> dict[int, np.ndarray]:
    """float64[m, 3, 3]: triangles of the bodies in the frame, by feature."""
    out: dict[int, list[np.ndarray]] = {}
    for node in document.json["nodes"]:
        if "extensions" in node:
            continue
        matrix = np.array(node["matrix"]).reshape(4, 4).T
        for primitive in document.json["meshes"][node["mesh"]]["primitives"]:
            stored = document.accessor(primitive["attributes"]["POSITION"]).astype(float)
            y_up = stored @ matrix[:3, :3].T + matrix[:3, 3]
            frame = np.column_stack([y_up[:, 0], -y_up[:, 2], y_up[:, 1]])
            index = document.accessor(primitive["indices"]).reshape(-1, 3).astype(int)
            (ids,) = primitive["extensions"]["EXT_mesh_features"]["featureIds"]
            owner = (
                document.accessor(primitive["attributes"][f"_FEATURE_ID_{ids['attribute']}"]).reshape(-1).astype(int)
            )
            assert ids["featureCount"] == len(set(owner.tolist()))
            assert (owner[index] == owner[index[:, :1]]).all()
            for feature in np.unique(owner).tolist():
                out.setdefault(feature, []).append(frame[index[owner[index[:, 0]] == feature]])
    return {feature: np.concatenate(parts) for feature, parts in out.items()}


# A tile as it is shown, and models that stand far apart

FAR = Frame(120.0, 30.0, 10.0, 2**-10)
PLACES = [
    ((120.2, 30.05, 25.0), 0.0, (1.0, 1.0, 1.0)),
    ((119.85, 29.9, -3.0), 75.0, (1.0, 2.0, 3.0)),
    ((120.0, 30.18, 80.0), 310.0, (0.5, 0.5, 0.5)),
]
NOTHING: dict[str, bytes] = {}


def shown(things, frame=FRAME, blobs=NOTHING, columns=()):
    (content,) = encode([things], frame, blobs.__getitem__, columns)
    return content


def in_frame(blob: bytes, frame: Frame = FRAME) -> F64:
    """float64[m, 3, 3]: the triangles of a shape in the frame."""
    shape = decode(blob)
    return ((shape.xyz - frame.origin) @ frame.axes.T)[shape.triangles]


def holds(content, frame=FRAME) -> None:
    """The project's own validation finds nothing against the content's own box."""
    center, half = (content.low + content.high) / 2, (content.high - content.low) / 2
    volume = volumes.read({"box": [*center, half[0], 0, 0, 0, half[1], 0, 0, 0, half[2]]})
    task = Task("a.glb", "/root", volume, np.array(frame.transform).reshape(4, 4).T)
    result = check_glb(b"".join(content.chunks), task)
    assert result.issues == []
    assert {k: result.counts[k] for k in ("vertices", "triangles")} == {
        k: content.counts[k] for k in ("vertices", "triangles")
    }


def tripod() -> bytes:
    """A model no symmetry of which can hide a wrong turn."""
    return model(
        [
            Polygon([np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0]])]),
            Polygon([np.array([[0.0, 0, 0], [0, 1, 2], [3, 0, 4]])]),
        ]
    ).blob


def standing(data: bytes, form: str) -> tuple[list[Drawn], dict[str, bytes]]:
    name = content_hash(data)
    things = [
        Drawn(uid(i).bytes, "vegetation.tree", models=[Model(name, form, at, heading, scale)])
        for i, (at, heading, scale) in enumerate(PLACES)
    ]
    return things, {name: data}
