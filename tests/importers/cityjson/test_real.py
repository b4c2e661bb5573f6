"""Real CityJSON: every object, level of detail and semantic surface that a second reader (cjio) sees; on its published place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer

from importers import ImportContext, Probe, importer
from importers.city import CLASSES
from importers.plan import place_of
from tim import shape
from tim.errors import is_warning
from tim.model import Blob, ObjectRecord, Rejected, derived_id
from tim.place import Place, ellipsoid
from tim.place.resolve import PlaceOptions

DUTCH = PlaceOptions(crs="EPSG:28992", vertical="ellipsoid", datum="EPSG:15934", override_vertical=True)
FILES = (
    "DH_01_subs.city.json", "delft.json", "multi_lod.json", "rotterdam/rotterdam_one.json", "rotterdam/rotterdam_subset.json",
    "rotterdam/rotterdam_subset_cjio_test.json",
)  # fmt: skip
SECOND = """
import json, sys
from cjio import cityjson
path, *lods = sys.argv[1:]
types = {key: record["type"] for key, record in cityjson.reader(file=open(path, encoding="utf-8")).j["CityObjects"].items()}
out = {}
for lod in lods:
    city = cityjson.reader(file=open(path, encoding="utf-8"))
    city.filter_lod(lod)
    out[lod] = [key for key, record in city.j["CityObjects"].items() if record.get("geometry")]
sys.stdout.write(json.dumps({"types": types, "lods": out}))
"""
"""In a process of its own: cjio makes the json module of its process round numbers to six decimals."""
TOWERS = (
    ((120700.723, 487525.501), (52.37453253, 4.88352559)),
    ((233883.131, 582065.167), (53.21938317, 6.56820053)),
)
"""RD New and WGS 84 of the Westertoren (Amsterdam) and the Martinitoren (Groningen): Schreutelkamp and Strang van Hees, Benaderingsformules
voor de transformatie tussen RD- en WGS84-kaartcoördinaten, 2001."""


class Read:
    """What the importer makes of one real file."""

    def __init__(self, path: Path) -> None:
        self.raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        (self.probe,) = importer("cityjson").probe(path, path.name)
        self.place = dutch(self.probe)
        self.context = ImportContext(self.place, "city")
        found = list(importer("cityjson").read(self.probe, self.context))
        self.objects = {item.source_key: item for item in found if isinstance(item, ObjectRecord)}
        self.blobs = {item.content: item.data for item in found if isinstance(item, Blob)}
        self.rejected = [item for item in found if isinstance(item, Rejected)]


def dutch(probe: Probe) -> Place:
    return place_of(probe, DUTCH, PlaceOptions())


@pytest.fixture(scope="module", params=FILES)
def one(request: pytest.FixtureRequest, real_data: Path) -> tuple[Read, Path]:
    path = real_data / "city" / "cityjson" / request.param
    return Read(path), path


def test_what_the_second_reader_sees(one: tuple[Read, Path]):
    ours, path = one
    lods = sorted({r.lod for record in ours.objects.values() for r in record.representations} | {"0", "1", "2", "3"})
    run = subprocess.run([sys.executable, "-c", SECOND, path, *lods], capture_output=True, encoding="utf-8", check=True)
    theirs = json.loads(run.stdout)
    assert set(ours.objects) == set(theirs["types"])
    assert not [item for item in ours.rejected if not is_warning(item.code)]
    for key, kind in theirs["types"].items():
        assert ours.objects[key].attributes["featureType"] == kind
        assert ours.objects[key].class_id == CLASSES[kind]
        assert ours.objects[key].attributes.items() >= ours.raw["CityObjects"][key].get("attributes", {}).items()
    for lod in lods:
        have = {key for key, record in ours.objects.items() if any(r.lod == lod for r in record.representations)}
        assert have == set(theirs["lods"][lod])


def test_parents_are_objects(one: tuple[Read, Path]):
    ours, _ = one
    names = {derived_id(ours.context.dataset, "city", key): key for key in ours.objects}
    for key, record in ours.objects.items():
        parents = ours.raw["CityObjects"][key].get("parents", [])
        assert [names[relation.target] for relation in record.relations if relation.kind == "partOf"] == parents


def test_semantics_of_every_surface(one: tuple[Read, Path]):
    """As the file says; a surface without area may be missing, and is counted in a message."""
    ours, _ = one
    dropped = sum(item.fields["count"] for item in ours.rejected if item.code == "shape.no-area")
    written: Counter[str] = Counter()
    for record in ours.raw["CityObjects"].values():
        for geometry in record.get("geometry", []):
            written += Counter(labels(geometry))
    read: Counter[str] = Counter()
    for record in ours.objects.values():
        for representation in record.representations:
            decoded = shape.decode(ours.blobs[representation.content])
            read += Counter(decoded.semantics[number] for number in decoded.surface_semantics)
    assert not read - written
    assert (written - read).total() == dropped


def labels(geometry: dict[str, Any]) -> list[str]:
    """The semantic type of each surface."""
    semantics = geometry.get("semantics") or {"surfaces": [], "values": None}
    shells = geometry["boundaries"] if geometry["type"] == "Solid" else [geometry["boundaries"]]
    values = semantics["values"] if geometry["type"] == "Solid" else [semantics["values"]]
    out = []
    for number, shell in enumerate(shells):
        of = (values or [None] * len(shells))[number] or [None] * len(shell)
        out += ["" if value is None else semantics["surfaces"][value]["type"] for value in of]
    return out


def test_delft_is_whole(real_data: Path):
    delft = Read(real_data / "city" / "cityjson" / "delft.json")
    assert len(delft.objects) == 570
    assert Counter(record.class_id for record in delft.objects.values()) == Counter(
        CLASSES[record["type"]] for record in delft.raw["CityObjects"].values()
    )


def test_delft_lies_where_published(real_data: Path):
    """Each corner within the operation's metre of where PROJ's own choice of operation (to ETRS89) puts the file's vertices."""
    delft = Read(real_data / "city" / "cityjson" / "delft.json")
    transform = delft.raw["transform"]
    native = np.array(delft.raw["vertices"]) * transform["scale"] + transform["translate"]
    to_etrs89 = Transformer.from_crs("EPSG:28992", "EPSG:4258", always_xy=True)
    lon, lat = to_etrs89.transform(native[:, 0], native[:, 1])
    boxes = np.array([record.box for record in delft.objects.values()])
    assert metres(boxes[:, 0].min(), boxes[:, 1].min(), lon.min(), lat.min()) < 1
    assert metres(boxes[:, 3].max(), boxes[:, 4].max(), lon.max(), lat.max()) < 1


@pytest.mark.parametrize(("rd", "published"), TOWERS)
def test_towers_stand_where_published(real_data: Path, rd: tuple[float, float], published: tuple[float, float]):
    """Within the operation's metre, by the place that Delft is read with."""
    (probe,) = importer("cityjson").probe(real_data / "city" / "cityjson" / "delft.json")
    lon, lat, _ = dutch(probe).to_geographic(np.array([[*rd, 0.0]]))[0]
    assert metres(lon, lat, published[1], published[0]) < 1
    assert dutch(probe).datum.accuracy == 1


def metres(lon: float, lat: float, other_lon: float, other_lat: float) -> float:
    """The distance on the ellipsoid's surface, near enough."""
    a, b = ellipsoid.to_ecef(np.array([[lon, lat, 0.0], [other_lon, other_lat, 0.0]]))
    return float(np.linalg.norm(a - b))


def test_textures_of_rotterdam(real_data: Path):
    """The image is taken as it is, and a corner has the file's texture coordinate with v counted from above."""
    folder = real_data / "city" / "cityjson" / "rotterdam"
    image = (folder / "appearances" / "0320_4_15.jpg").read_bytes()
    content = Blob(image).content
    ours = Read(folder / "rotterdam_subset.json")
    assert ours.blobs[content] == image
    raw = ours.raw
    wanted = next(n for n, t in enumerate(raw["appearance"]["textures"]) if t["image"].endswith("0320_4_15.jpg"))
    corners = {
        uv
        for record in raw["CityObjects"].values()
        for geometry in record["geometry"]
        for surface in next(iter(geometry["texture"].values()))["values"]
        if surface[0] and surface[0][0] == wanted
        for uv in (tuple(raw["appearance"]["vertices-texture"][i]) for i in surface[0][1:])
    }
    flipped = np.array([(u, 1 - v) for u, v in corners])
    seen = 0
    for record in ours.objects.values():
        for representation in record.representations:
            decoded = shape.decode(ours.blobs[representation.content])
            for number, material in enumerate(decoded.surface_materials):
                found = decoded.materials[material]
                if found is not None and found.image == content:
                    first = 0 if number == 0 else int(decoded.surface_triangle_ends[number - 1])
                    used = np.unique(decoded.triangles[first : decoded.surface_triangle_ends[number]])
                    assert decoded.uv is not None
                    for uv in decoded.uv[used]:
                        assert np.abs(flipped - uv).max(axis=1).min() < 1e-5
                        seen += 1
    assert seen > 3


def test_an_image_that_is_not_there_is_a_warning(real_data: Path):
    ours = Read(real_data / "city" / "cityjson" / "rotterdam" / "rotterdam_subset.json")
    missing = {item.fields["image"] for item in ours.rejected if item.code == "city.image-missing"}
    used = {
        surface[0][0]
        for record in ours.raw["CityObjects"].values()
        for geometry in record["geometry"]
        for surface in next(iter(geometry["texture"].values()))["values"]
        if surface[0] and surface[0][0] is not None
    }
    names = {ours.raw["appearance"]["textures"][number]["image"] for number in used}
    folder = real_data / "city" / "cityjson" / "rotterdam"
    assert missing == {name for name in names if not (folder / name).exists()}
    assert missing
