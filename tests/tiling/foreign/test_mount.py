"""Where mounted, moved and composed tilesets stand: every vertex, by a walk over the pages as they are served, against PROJ."""

from __future__ import annotations

import json
import posixpath
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from pyproj import Transformer

from importers.plan import Options, make_plan
from importers.run import run_import
from server.app import create_app
from tests.server.conftest import Client
from tests.tiles1 import ENU, HEIGHT, LAT, LON, boxes, container, tileset
from tiling.engine import tile
from tiling.foreign.mount import compose
from tim.errors import TilingError
from tim.workspace import Workspace

NEAR = 1e-3
"""Metres between where a vertex stands and where it was asked to."""
Y_BOX, Z_BOX = [60, -10, 40, 80, 0, 0, 0, 30, 0, 0, 0, 60], [60, 30, 10, 80, 0, 0, 0, 40, 0, 0, 0, 20]
"""Around the sample's boxes, whose longest side is the second one of the model."""
AWAY = [120.0, 31.0, 5.0]
CENTRE = [30.25, -12.5, 7.75]


def b3dm(center: list[float] | None = None, cesium_rtc: list[float] | None = None) -> bytes:
    glb = boxes()
    if cesium_rtc is not None:
        size = struct.unpack_from("<I", glb, 12)[0]
        document = json.loads(glb[20 : 20 + size])
        document["extensions"] = {"CESIUM_RTC": {"center": cesium_rtc}}
        document["extensionsUsed"] = [*document.get("extensionsUsed", []), "CESIUM_RTC"]
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        rest = glb[20 + size :]
        glb = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest
    return container(b"b3dm", {"BATCH_LENGTH": 3} | ({} if center is None else {"RTC_CENTER": center}), payload=glb)


def model(axis: str = "Y") -> np.ndarray:
    """float64[n, 3]: the vertices of the sample in tile coordinates, made here once more and not read."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    at = np.vstack([corners * [20, 20 * (1 + i), 20] + [40 * i, 0, 0] for i in range(3)])
    return np.column_stack([at[:, 0], -at[:, 2], at[:, 1]]) if axis == "Y" else at


def topocentric(lon: float, lat: float, height: float, *, inverse: bool = False) -> Transformer:
    step = f"+proj=topocentric +ellps=WGS84 +lon_0={lon!r} +lat_0={lat!r} +h_0={height!r}"
    return Transformer.from_pipeline(f"+proj=pipeline +step {'+inv ' if inverse else ''}{step}")


def standing(local: np.ndarray, lon: float, lat: float, height: float, heading: float = 0.0) -> np.ndarray:
    """ECEF of metres east, north and up of a place, turned clockwise."""
    angle = np.radians(heading)
    east = local[:, 0] * np.cos(angle) + local[:, 1] * np.sin(angle)
    north = local[:, 1] * np.cos(angle) - local[:, 0] * np.sin(angle)
    return np.column_stack(topocentric(lon, lat, height, inverse=True).transform(east, north, local[:, 2]))


def lifted(ecef: np.ndarray, metres: float) -> np.ndarray:
    lon, lat, h = Transformer.from_crs(4978, 4979, always_xy=True).transform(*ecef.T)
    return np.column_stack(Transformer.from_crs(4979, 4978, always_xy=True).transform(lon, lat, h + metres))


class Walk:
    """A client as the specification has it: transforms from root to leaf, the up axis of the page it began with."""

    def __init__(self, client: Client, dataset: str) -> None:
        self.client = client
        url = f"/tiles/{dataset}/tileset.json"
        page = client.get(url).json
        self.axis = page["asset"].get("gltfUpAxis", "Y").upper()
        self.found = list(self.tiles(page["root"], url, np.eye(4)))

    @property
    def vertices(self) -> np.ndarray:
        return np.vstack(self.found)

    def tiles(self, node: dict, url: str, above: np.ndarray) -> Iterator[np.ndarray]:
        own = above @ np.array(node.get("transform", np.eye(4)), float).reshape(4, 4).T
        below: list[np.ndarray] = []
        content = node.get("content", {})
        if name := content.get("uri", content.get("url")):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(url), unquote(name)))
            answer = self.client.get(target)
            assert answer.status == 200, target
            if target.endswith(".json"):
                below += self.tiles(answer.json["root"], target, own)
            else:
                below.append(self.content(answer.body, own))
        for child in node.get("children", []):
            below += self.tiles(child, url, own)
        self.encloses(node["boundingVolume"], own, np.vstack(below))
        yield from below

    def content(self, data: bytes, own: np.ndarray) -> np.ndarray:
        lengths = struct.unpack_from("<4I", data, 12)
        features = json.loads(data[28 : 28 + lengths[0]])
        glb = data[28 + sum(lengths) :]
        size = struct.unpack_from("<I", glb, 12)[0]
        document, binary = json.loads(glb[20 : 20 + size]), glb[28 + size :]
        [mesh] = document["meshes"]
        accessor = document["accessors"][mesh["primitives"][0]["attributes"]["POSITION"]]
        start = document["bufferViews"][accessor["bufferView"]].get("byteOffset", 0) + accessor.get("byteOffset", 0)
        at = np.frombuffer(binary, "<f4", accessor["count"] * 3, start).reshape(-1, 3).astype(float)
        if self.axis == "Y":
            at = np.column_stack([at[:, 0], -at[:, 2], at[:, 1]])
        at = at + features.get("RTC_CENTER", [0, 0, 0])
        at = at + document.get("extensions", {}).get("CESIUM_RTC", {}).get("center", [0, 0, 0])
        return at @ own[:3, :3].T + own[:3, 3]

    def encloses(self, volume: dict, own: np.ndarray, points: np.ndarray) -> None:
        if "region" in volume:
            west, south, east, north, low, high = volume["region"]
            lon, lat, h = Transformer.from_crs(4978, 4979, always_xy=True).transform(*points.T)
            assert (np.radians(lon) >= west).all()
            assert (np.radians(lon) <= east).all()
            assert (np.radians(lat) >= south).all()
            assert (np.radians(lat) <= north).all()
            assert (h >= low - NEAR).all()
            assert (h <= high + NEAR).all()
        else:
            box = np.array(volume["box"], float).reshape(4, 3)
            centre = own[:3, :3] @ box[0] + own[:3, 3]
            inside = np.linalg.solve(own[:3, :3] @ box[1:].T, (points - centre).T)
            assert (abs(inside) <= 1 + 1e-4).all()


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder, self.workspace = folder, Workspace.create(folder / "ws")
        self.client = Client(create_app(self.workspace))

    def mount(self, name: str, content: bytes, axis: str = "Y", volume: list | dict | None = None, transform: list | None = ENU, **settings: object) -> str:  # fmt: skip
        box = {"box": volume or (Y_BOX if axis == "Y" else Z_BOX)} if not isinstance(volume, dict) else volume
        asset = {} if axis == "Y" else {"gltfUpAxis": axis}
        path = tileset(self.folder / name, {"a.b3dm": content}, transform=transform, volume=box, **asset)
        run_import(self.workspace, make_plan([path], Options(settings=settings)))
        tile(self.workspace, name)
        return name

    def walk(self, dataset: str) -> Walk:
        return Walk(self.client, dataset)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.client.close()


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted, axis=1).max() < NEAR


def shifted(box: list, by: list[float]) -> list:
    return [*np.add(box[:3], by).tolist(), *box[3:]]


RELATIVE = {"plain": {}, "rtc-center": {"center": CENTRE}, "cesium-rtc": {"cesium_rtc": CENTRE}, "both": {"center": CENTRE, "cesium_rtc": CENTRE}}  # fmt: skip


@pytest.mark.parametrize("relative", RELATIVE)
@pytest.mark.parametrize("axis", ["Y", "Z"])
def test_mounted_lifted_and_local(place: Place, axis: str, relative: str):
    centres = RELATIVE[relative]
    shift = np.sum(list(centres.values()) or [[0.0, 0.0, 0.0]], axis=0)
    box = shifted(Y_BOX if axis == "Y" else Z_BOX, shift.tolist())
    local = model(axis) + shift
    here = standing(local, LON, LAT, HEIGHT)
    content = b3dm(**centres)
    walk = place.walk(place.mount("here", content, axis, box))
    assert walk.axis == axis
    assert_close(walk.vertices, here)
    assert_close(
        place.walk(place.mount("raised", content, axis, box, height_offset=-12.5)).vertices, lifted(here, -12.5)
    )
    at = place.mount("local", content, axis, box, None, at=AWAY, heading=30, height_offset=4)
    assert_close(place.walk(at).vertices, lifted(standing(local, *AWAY, 30), 4))


@pytest.mark.parametrize("axis", ["Y", "Z"])
def test_moved_on_earth(place: Place, axis: str):
    """The foot of its middle comes to the place; what stood above it so high stands there so high."""
    box = Y_BOX if axis == "Y" else Z_BOX
    moved = place.mount("moved", b3dm(center=CENTRE), axis, shifted(box, CENTRE), at=AWAY, heading=75, height_offset=3)
    middle = standing(np.array([box[:3]]) + CENTRE, LON, LAT, HEIGHT)
    lon, lat, _ = Transformer.from_crs(4978, 4979, always_xy=True).transform(*middle[0])
    before = standing(model(axis) + CENTRE, LON, LAT, HEIGHT)
    local = np.column_stack(topocentric(lon, lat, 0.0).transform(*before.T))
    assert_close(place.walk(moved).vertices, lifted(standing(local, *AWAY, 75), 3))


def test_contents_relative_to_the_centre_of_the_earth(place: Place):
    """As old productions are: no transform anywhere, boxes and centres in ECEF."""
    origin = standing(np.zeros((1, 3)), LON, LAT, HEIGHT)[0].tolist()
    box = [*origin, 300, 0, 0, 0, 300, 0, 0, 0, 300]
    there = model() + origin
    assert_close(place.walk(place.mount("earth", b3dm(cesium_rtc=origin), volume=box, transform=None)).vertices, there)
    raised = place.mount("raised", b3dm(center=origin), volume=box, transform=None, height_offset=8)
    up = standing(np.array([[0, 0, 8.0]]), LON, LAT, HEIGHT)[0] - origin
    assert_close(place.walk(raised).vertices, there + up)


def test_regions_follow_what_they_bound(place: Place):
    low, high = np.radians([LON - 0.01, LAT - 0.01]), np.radians([LON + 0.01, LAT + 0.01])
    region = {"region": [*low.tolist(), *high.tolist(), HEIGHT - 0.1, HEIGHT + 60.1]}
    walk = place.walk(place.mount("regions", b3dm(), volume=region, height_offset=40))
    assert_close(walk.vertices, lifted(standing(model(), LON, LAT, HEIGHT), 40))


def test_composed_of_moved_parts_at_any_depth(place: Place):
    place.mount("here", b3dm())
    place.mount("moved", b3dm(center=CENTRE), volume=shifted(Y_BOX, CENTRE), at=AWAY, heading=200, height_offset=-6)
    box = shifted(Y_BOX, CENTRE)
    place.mount("local", b3dm(cesium_rtc=CENTRE), volume=box, transform=None, at=[LON, LAT, 90.0], heading=45)
    alone = {name: place.walk(name).vertices for name in ("here", "moved", "local")}
    compose(place.workspace, "both", ["here", "moved"])
    compose(place.workspace, "all", ["both", "local"])
    assert_close(place.walk("both").vertices, np.vstack([alone["here"], alone["moved"]]))
    walk = place.walk("all")
    assert_close(walk.vertices, np.vstack([alone["here"], alone["moved"], alone["local"]]))
    assert_close(walk.found[2], lifted(standing(model() + CENTRE, LON, LAT, 90, 45), 0))


def test_a_composition_of_z_up_says_so_and_of_both_is_refused(place: Place):
    place.mount("z", b3dm(), "Z", at=AWAY)
    place.mount("y", b3dm())
    compose(place.workspace, "upright", ["z"])
    walk = place.walk("upright")
    assert walk.axis == "Z"
    assert_close(walk.vertices, place.walk("z").vertices)
    with pytest.raises(TilingError) as mixed:
        compose(place.workspace, "mixed", ["z", "y"])
    assert mixed.value.code == "tiles3d.mixed-axes"
