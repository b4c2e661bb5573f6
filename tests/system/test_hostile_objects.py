"""Files that mean harm, through the command: a clear word in both languages, the right exit code, nothing half-written, never a traceback."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import pytest

from tests.system.command import tim
from tim.workspace import Workspace

PLACE = ("--crs", "EPSG:4547", "--vertical", "ellipsoid")
BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>
<CityModel xmlns="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"><gml:name>&c;</gml:name></CityModel>
"""


def feature(coordinates: object, kind: str = "Polygon", **properties: object) -> dict[str, object]:
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def square(x: float, y: float, size: float = 10) -> list[list[list[float]]]:
    return [[[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]]


def geojson(path: Path, *features: object) -> Path:
    text = json.dumps({"type": "FeatureCollection", "features": features})
    path.write_text(text.replace('"NAN"', "NaN"), encoding="utf-8")
    return path


def xml_bomb(folder: Path) -> Path:
    (folder / "bomb.gml").write_text(BOMB, encoding="utf-8")
    return folder / "bomb.gml"


def zip_bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bomb.3tz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tileset.json", " " * (80 << 20) + "{}")
    return folder / "bomb.3tz"


def way_out(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "out.3tz", "w") as archive:
        archive.writestr("../../tileset.json", "{}")
    return folder / "out.3tz"


def huge_record(folder: Path) -> Path:
    """A shapefile whose one record says it has a gigabyte, in a sparse file that has."""
    size = 1 << 30
    head = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, (100 + 8 + size) // 2) + struct.pack(
        "<2i8d", 1000, 5, 5e5, 3.4e6, 5.1e5, 3.41e6, 0, 0, 0, 0
    )
    with (folder / "huge.shp").open("wb") as file:
        file.write(head + struct.pack(">2i", 1, size // 2) + struct.pack("<i", 5))
        file.truncate(100 + 8 + size)
    (folder / "huge.shx").write_bytes(
        struct.pack(">7i", 9994, 0, 0, 0, 0, 0, 54) + head[28:] + struct.pack(">2i", 50, size // 2)
    )
    dbf = (
        struct.pack("<4BIHH20x", 3, 126, 1, 1, 1, 65, 11)
        + b"name\0\0\0\0\0\0\0C"
        + bytes(4)
        + b"\x0a"
        + bytes(15)
        + b"\r"
        + b" "
        + b"x".ljust(10)
        + b"\x1a"
    )
    (folder / "huge.dbf").write_bytes(dbf)
    return folder / "huge.shp"


@pytest.mark.parametrize("make", [xml_bomb, zip_bomb, way_out, huge_record])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_refused_whole(tmp_path: Path, make, language: str):
    source = make(tmp_path)
    Workspace.create(tmp_path / "ws")
    ran = tim("import", source, "-w", tmp_path / "ws", *PLACE, TIM_LANG=language)
    assert ran.code in (1, 3), ran.err
    assert "Traceback" not in ran.err
    assert source.name in ran.err
    assert any("\u4e00" <= c <= "\u9fff" for c in ran.err) == (language == "zh")
    with Workspace.open(tmp_path / "ws").store() as store:
        assert sum(store.count(dataset.slug) for dataset in store.datasets()) == 0


def test_bad_records_among_good_ones(tmp_path: Path):
    """The good ones are there, every other is named, counted, and told how to be repaired."""
    bow = [
        [[500_100, 3_400_000], [500_120, 3_400_020], [500_120, 3_400_000], [500_100, 3_400_024], [500_100, 3_400_000]]
    ]
    source = geojson(
        tmp_path / "mixed.geojson", feature(square(500_000, 3_400_000), height=9), feature(bow, height=6),
        feature([["NAN", 3_400_000], [500_000, 3_400_010]], "LineString"), feature([500_050, 3_400_050], "Point"), feature([], "Polygon"),
        feature(square(500_200, 3_400_000), height="NAN"),
    )  # fmt: skip
    Workspace.create(tmp_path / "ws")
    ran = tim("import", source, "-w", tmp_path / "ws", "--dataset", "mixed", *PLACE, "--json")
    assert ran.code == 3, ran.err
    assert "Traceback" not in ran.err
    report = json.loads(ran.out)
    (dataset,) = report["datasets"]
    lost = {
        r["where"]
        for r in report["rejected"]
        if r["code"] in ("vector.not-finite", "vector.no-geometry", "vector.bad-geometry")
    }
    assert dataset["objects"]["created"] + len(lost) == 6
    assert {"vector.self-crossing"} <= {r["code"] for r in report["rejected"]}
    assert all(r["text"]["zh"] and r["text"]["en"] for r in report["rejected"])
    info = json.loads(tim("info", "mixed", "-w", tmp_path / "ws", "--json").out)
    assert info["datasets"][0]["quarantined"] == len(lost)
    assert tim("tile", "-w", tmp_path / "ws", "-q").code in (0, 3)
