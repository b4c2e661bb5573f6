"""An inventory of a disk of 10,000 deliveries in every layout: seconds, and bytes read, which are headers only.

``python -m benchmarks.inventory [--deliveries N] [--json]``. The files are made here and small, or sparse where they stand for bulk data.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._report import Row, arguments, emit

BULK = 1 << 30
"""Bytes a sparse file says it has."""


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--walk", metavar="DISK", help="make the inventory of one disk (what this script measures)")
    options = parser.parse_args()
    if options.walk:
        return walk(Path(options.walk))
    with tempfile.TemporaryDirectory(prefix="tim-inventory-") as folder:
        disk = Path(folder) / "disk"
        make_disk(disk, options.deliveries)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.inventory", "--walk", str(disk)], check=True, capture_output=True
        )
    found = json.loads(done.stdout)
    rows = [
        Row("inventory_s", found["seconds"], "s", bar=60.0 if options.deliveries == 10_000 else None, at_least=False),
        Row("found", found["deliveries"], "deliveries"),
        Row("read_mb", found["read"] / 1e6, "MB"),
    ]
    emit("inventory", rows, options.json, [f"{options.deliveries:,} deliveries asked for; kinds {found['kinds']}"])
    return None


def walk(disk: Path) -> None:
    """Inventory, plan and CSV of one disk; what it took, as JSON."""
    from importers.inventory import groups, to_csv
    from importers.plan import make_plan

    before, began = read_so_far(), time.perf_counter()
    plan = make_plan([disk])
    plan.to_yaml()
    to_csv(plan)
    groups(plan)
    kinds: dict[str, int] = {}
    for delivery in plan.deliveries:
        kinds[delivery.probe.format] = kinds.get(delivery.probe.format, 0) + 1
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {"seconds": seconds, "deliveries": len(plan.deliveries), "read": read_so_far() - before, "kinds": kinds}
        )
    )


def read_so_far() -> int:
    """Bytes this process has read through system calls."""
    text = Path("/proc/self/io").read_text(encoding="ascii")
    return int(text.split("rchar:")[1].split()[0])


def make_disk(disk: Path, deliveries: int) -> None:
    """A disk of so many deliveries: productions of photogrammetry, sheets of laser points and heights, city models and vectors."""
    makers = (smart3d, terra, bare_tiles, laz_sheet, laz_sheet, dem_sheet, dem_sheet, shp, cityjson, ifc, tiles3d)
    scene = root_scene(disk.parent)
    for number in range(deliveries):
        maker = makers[number % len(makers)]
        # A county holds a few hundred deliveries, as disks do.
        maker(disk / f"county-{number // 400:03}", number, scene)


def root_scene(folder: Path) -> Path:
    """An OSGB file with one triangle, the root of every block."""
    from importers.osgb.writer import PagedNode, write_osgb
    from tim.geometry import Mesh

    folder.mkdir(parents=True, exist_ok=True)
    corners = np.array([(0, 0, 0), (100, 0, 0), (0, 100, 30)], np.float32)
    write_osgb(folder / "root.osgb", [PagedNode((Mesh(corners, np.array([(0, 1, 2)], np.uint32)),))])
    return folder / "root.osgb"


def block(folder: Path, scene: Path) -> None:
    """A root and a bulky finer level."""
    folder.mkdir(parents=True)
    os.link(scene, folder / f"{folder.name}.osgb")
    sparse(folder / f"{folder.name}_L15_0.osgb")


def metadata(folder: Path) -> None:
    """ContextCapture's metadata.xml."""
    (folder / "metadata.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<ModelMetadata version="1"><SRS>EPSG:4547</SRS>'
        "<SRSOrigin>529000,3387000,0</SRSOrigin></ModelMetadata>", encoding="utf-8",
    )  # fmt: skip


def smart3d(folder: Path, number: int, scene: Path) -> None:
    """ContextCapture: ``Data/Tile_*``, its second half in ``Data2``."""
    root = folder / f"cc-{number:05}"
    for name in ("Data/Tile_+000_+000", "Data/Tile_+000_+001", "Data2/Tile_+001_+000"):
        block(root / name, scene)
    metadata(root)


def terra(folder: Path, number: int, scene: Path) -> None:
    """DJI Terra: ``terra_osgbs/Block*``."""
    root = folder / f"dji-{number:05}" / "terra_osgbs"
    for name in ("BlockA", "BlockB"):
        block(root / name, scene)
    metadata(root)


def bare_tiles(folder: Path, number: int, scene: Path) -> None:
    """Pix4D: tiles without metadata."""
    block(folder / f"pix4d-{number:05}" / "tile_0", scene)


def laz_sheet(folder: Path, number: int, _: Path) -> None:
    """A sheet of laser points; the file is as large as it says and holds nothing."""
    (folder / "laser").mkdir(parents=True, exist_ok=True)
    head = bytearray(227)
    head[:4] = b"LASF"
    head[24:26] = bytes((1, 2))
    struct.pack_into("<HIIBHI", head, 94, 227, 227, 0, 0, 20, 50_000_000)
    scale, offset = (0.01,) * 3, (500_000.0, 3_380_000.0, 0.0)
    x = 500_000.0 + number % 100 * 500
    struct.pack_into("<12d", head, 131, *scale, *offset, x + 500, x, 3_381_000.0, 3_380_500.0, 90.0, 10.0)
    sparse(folder / "laser" / f"sheet-{number:05}.las", bytes(head), 227 + 20 * 50_000_000)


def dem_sheet(folder: Path, number: int, _: Path) -> None:
    """A sheet of heights: a GeoTIFF header before a hole."""
    (folder / "dem").mkdir(parents=True, exist_ok=True)
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 4547)
    after = 8 + 2 + 12 * 8 + 4
    doubles = struct.pack("<9d", 2.0, 2.0, 0.0, 0, 0, 0, 500_000.0 + number * 10, 3_390_000.0, 0.0)
    table = [
        (256, 4, 1, 20_000), (257, 4, 1, 10_000), (258, 3, 1, 32), (277, 3, 1, 1), (339, 3, 1, 3),
        (33550, 12, 3, after), (33922, 12, 6, after + 24), (34735, 3, len(keys), after + 72),
    ]  # fmt: skip
    head = b"II" + struct.pack("<HIH", 42, 8, len(table)) + b"".join(struct.pack("<HHII", *row) for row in table)
    head += struct.pack("<I", 0) + doubles + np.array(keys, "<u2").tobytes()
    sparse(folder / "dem" / f"dem-{number:05}.tif", head, 800_000_000)


def shp(folder: Path, number: int, _: Path) -> None:
    """A shapefile of one point, with its companions."""
    (folder / "vector").mkdir(parents=True, exist_ok=True)
    stem = folder / "vector" / f"parcels-{number:05}"
    box = (500_000.0, 3_380_000.0) * 2 + (0.0,) * 4
    record = struct.pack(">2i", 1, 10) + struct.pack("<i2d", 1, 500_000.0, 3_380_000.0)
    for suffix, body in ((".shp", record), (".shx", struct.pack(">2i", 50, 10))):
        head = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, (100 + len(body)) // 2) + struct.pack("<2i8d", 1000, 1, *box)
        stem.with_suffix(suffix).write_bytes(head + body)
    fields = b"ID".ljust(11, b"\0") + b"C" + bytes(4) + bytes((4, 0)) + bytes(14) + b"\r"
    stem.with_suffix(".dbf").write_bytes(struct.pack("<4BIHH20x", 3, 124, 1, 1, 1, 65, 5) + fields + b" 0001\x1a")
    stem.with_suffix(".prj").write_text('GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]]]')


def cityjson(folder: Path, number: int, _: Path) -> None:
    """A city model without buildings."""
    (folder / "city").mkdir(parents=True, exist_ok=True)
    model = {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [0, 0, 0]},
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4547", "geographicalExtent": [5e5, 33e5, 0, 5.1e5, 33.1e5, 9]},
        "CityObjects": {}, "vertices": [],
    }  # fmt: skip
    (folder / "city" / f"city-{number:05}.city.json").write_text(json.dumps(model), encoding="utf-8")


def ifc(folder: Path, number: int, _: Path) -> None:
    """An IFC file's header."""
    (folder / "bim").mkdir(parents=True, exist_ok=True)
    (folder / "bim" / f"house-{number:05}.ifc").write_text(
        "ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('','',(''),(''),'','','');\nFILE_SCHEMA(('IFC4'));\nENDSEC;\n"
        "DATA;\nENDSEC;\nEND-ISO-10303-21;\n", encoding="utf-8",
    )  # fmt: skip


def tiles3d(folder: Path, number: int, _: Path) -> None:
    """An old tileset with one bulky tile."""
    root = folder / f"tiles-{number:05}"
    root.mkdir(parents=True)
    tile = {
        "boundingVolume": {"region": [1.99, 0.53, 1.991, 0.531, 0, 50]},
        "geometricError": 0,
        "content": {"uri": "0.b3dm"},
    }
    tileset = {"asset": {"version": "1.0"}, "geometricError": 100, "root": {**tile, "refine": "ADD"}}
    (root / "tileset.json").write_text(json.dumps(tileset), encoding="utf-8")
    sparse(root / "0.b3dm", b"b3dm")


def sparse(path: Path, head: bytes = b"", size: int = BULK) -> None:
    """A file that says it has ``size`` bytes and takes a block."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


if __name__ == "__main__":
    main()
