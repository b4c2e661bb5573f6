"""Headers of height rasters: how many cells, where, in which CRS; no cell is read.

Sources: TIFF 6.0 and BigTIFF, GeoTIFF 1.1 (OGC 19-008r4), ESRI ASCII grid, SRTM's file naming, MIL-PRF-89020B (DTED).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

Extent = tuple[float, float, float, float]
"""West, south, east, north in native units: the outer edges of the cells."""

_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT = 256, 257, 258, 277, 339
_SCALE, _TIE, _MATRIX, _KEYS = 33550, 33922, 34264, 34735
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 11: "f", 12: "d", 16: "Q"}
_MODEL, _RASTER, _GEOGRAPHIC, _PROJECTED, _VERTICAL = 1024, 1025, 2048, 3072, 4096
WORLD_FILES = (".tfw", ".tifw", ".wld")
_HEAD = 64 * 1024
_MANY = 4096
"""Entries of a directory, and bytes of a tag, beyond which a file is broken."""


class BrokenHeaderError(Exception):
    """The header breaks the rules of its format; says how."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says."""

    columns: int = 0
    rows: int = 0
    extent: Extent | None = None
    crs: str | None = None
    vertical: str | None = None
    opaque: bool = False
    """Whether the header can only be read with the ``raster`` extra, which is not installed."""


def read_header(path: Path) -> Header | None:
    """The header of a height raster by its suffix; ``None`` where it is none (a picture). Raises BrokenHeaderError, OSError."""
    try:
        return READERS[path.suffix.lower()](path)
    except (struct.error, ValueError, KeyError, IndexError, ZeroDivisionError, OverflowError) as error:
        raise BrokenHeaderError(str(error) or type(error).__name__) from None


def _tiff(path: Path) -> Header | None:
    with path.open("rb") as file:
        tags = _tags(file)
    if tags is None:
        return None
    kind = tags.get(_FORMAT, (1,))[0]
    if tags.get(_SAMPLES, (1,))[0] != 1 or (kind == 1 and tags.get(_BITS, (1,))[0] < 16):
        return None  # a picture, or a mask
    columns, rows = tags[_WIDTH][0], tags[_HEIGHT][0]
    keys = _geo_keys(tags.get(_KEYS, ()))
    extent = _tiff_extent(tags, columns, rows, half=0.5 if keys.get(_RASTER) == 2 else 0.0) or _world(
        path, columns, rows
    )
    crs, vertical = (_code(keys, *names) for names in ((_PROJECTED, _GEOGRAPHIC), (_VERTICAL,)))
    if extent is None and crs is None:
        return None  # nothing says that it lies anywhere
    return Header(columns, rows, extent, crs, vertical)


def _tags(file: BinaryIO) -> dict[int, tuple[Any, ...]] | None:
    """The first directory's tags that count here."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return None
    version = struct.unpack_from(f"{order}H", head, 2)[0]
    if version not in (42, 43):
        return None
    big = version == 43
    file.seek(struct.unpack_from(f"{order}{'Q' if big else 'I'}", head, 8 if big else 4)[0])
    count = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(8 if big else 2))[0]
    if count > _MANY:
        raise BrokenHeaderError(f"{count} tags")
    entry = struct.Struct(f"{order}HHQ8s" if big else f"{order}HHI4s")
    table = file.read(entry.size * count)
    tags: dict[int, tuple[Any, ...]] = {}
    for tag, kind, number, inline in entry.iter_unpack(table[: len(table) // entry.size * entry.size]):
        if tag not in (_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT, _SCALE, _TIE, _MATRIX, _KEYS) or kind not in _TYPES:
            continue
        layout = struct.Struct(f"{order}{number * len(_TYPES[kind])}{_TYPES[kind][0]}")
        if layout.size > _MANY:
            continue
        if layout.size > len(inline):
            file.seek(struct.unpack(f"{order}{'Q' if big else 'I'}", inline)[0])
            inline = file.read(layout.size)
        tags[tag] = layout.unpack_from(inline)
    return tags


def _tiff_extent(tags: Mapping[int, tuple[Any, ...]], columns: int, rows: int, half: float) -> Extent | None:
    if _MATRIX in tags:
        a, b, _, x0, d, e, _, y0 = tags[_MATRIX][:8]
    elif _SCALE in tags and _TIE in tags:
        (a, down, _), (i, j, _, x, y, _) = tags[_SCALE][:3], tags[_TIE][:6]
        b, d, e = 0.0, 0.0, -down
        x0, y0 = x - i * a, y + j * down
    else:
        return None
    return _edges((a, b, x0, d, e, y0), columns, rows, half)


def _world(path: Path, columns: int, rows: int) -> Extent | None:
    """By the world file beside it: six lines, of the middle of the upper left cell."""
    for suffix in WORLD_FILES:
        beside = path.with_suffix(suffix)
        if beside.is_file():
            a, d, b, e, x0, y0 = (
                float(line) for line in beside.read_text(encoding="ascii", errors="replace")[:_MANY].split()[:6]
            )
            return _edges((a, b, x0, d, e, y0), columns, rows, half=0.5)
    return None


def _edges(affine: tuple[float, ...], columns: int, rows: int, half: float) -> Extent:
    """Of a grid whose node (0, 0) is the corner of a cell, or where ``half`` is 0.5 its middle."""
    a, b, x0, d, e, y0 = affine
    corners = [(u - half, v - half) for u in (0, columns) for v in (0, rows)]
    xs, ys = [x0 + a * u + b * v for u, v in corners], [y0 + d * u + e * v for u, v in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _geo_keys(entries: tuple[int, ...]) -> dict[int, int]:
    """Keys whose value stands in the directory itself."""
    return {entries[i]: entries[i + 3] for i in range(4, len(entries) - 3, 4) if entries[i + 1] == 0}


def _code(keys: Mapping[int, int], *names: int) -> str | None:
    """The first of some keys that carries a code: 0 is undefined, 32767 is defined by the user."""
    code = next((keys[name] for name in names if keys.get(name, 0) not in (0, 32767)), None)
    return None if code is None else f"EPSG:{code}"


def _imagine(path: Path) -> Header | None:
    with path.open("rb") as file:
        if file.read(15) != b"EHFA_HEADER_TAG":
            return None
    try:
        import rasterio
    except ImportError:
        return Header(opaque=True)
    with rasterio.open(path) as raster:
        if raster.count != 1 or raster.dtypes[0] == "uint8":
            return None
        crs = raster.crs.to_wkt() if raster.crs else None
        return Header(raster.width, raster.height, tuple(raster.bounds), crs)


def _ascii(path: Path) -> Header | None:
    with path.open("rb") as file:
        head = file.read(1024).decode("ascii", "replace")
    pairs = re.findall(r"^\s*([a-z_]+)\s+(\S+)\s*$", head, re.IGNORECASE | re.MULTILINE)[:7]
    said = {name.lower(): value for name, value in pairs}
    if not {"ncols", "nrows", "cellsize"} <= said.keys():
        return None
    columns, rows, cell = int(said["ncols"]), int(said["nrows"]), float(said["cellsize"])
    west, south = (
        float(said[f"{axis}llcorner"]) if f"{axis}llcorner" in said else float(said[f"{axis}llcenter"]) - cell / 2
        for axis in "xy"
    )
    projection = path.with_suffix(".prj")
    crs = projection.read_text(encoding="utf-8", errors="replace")[:_HEAD] if projection.is_file() else None
    return Header(columns, rows, (west, south, west + columns * cell, south + rows * cell), crs)


def _hgt(path: Path) -> Header | None:
    """One degree by its south-west corner; nodes lie on the edges."""
    match = re.match(r"([NS])(\d\d)([EW])(\d{3})", path.stem.upper())
    nodes = {1201 * 1201 * 2: 1201, 3601 * 3601 * 2: 3601}.get(path.stat().st_size)
    if match is None or nodes is None:
        return None
    south = int(match[2]) * (1 if match[1] == "N" else -1)
    west = int(match[4]) * (1 if match[3] == "E" else -1)
    return Header(nodes, nodes, (float(west), float(south), west + 1.0, south + 1.0), "EPSG:4326", "EPSG:5773")


def _dted(path: Path) -> Header | None:
    with path.open("rb") as file:
        head = file.read(80).decode("ascii", "replace")
    if not head.startswith("UHL1"):
        return None
    west, south = _angle(head[4:12]), _angle(head[12:20])
    step_x, step_y = int(head[20:24]) / 36000, int(head[24:28]) / 36000
    columns, rows = int(head[47:51]), int(head[51:55])
    extent = (west, south, west + (columns - 1) * step_x, south + (rows - 1) * step_y)
    return Header(columns, rows, extent, "EPSG:4326", "EPSG:5773")


def _angle(text: str) -> float:
    """``DDDMMSSH`` as degrees."""
    degrees = int(text[:3]) + int(text[3:5]) / 60 + int(text[5:7]) / 3600
    return -degrees if text[7] in "SW" else degrees


READERS: Mapping[str, Callable[[Path], Header | None]] = {
    ".tif": _tiff, ".tiff": _tiff, ".img": _imagine, ".asc": _ascii, ".hgt": _hgt, ".dt0": _dted, ".dt1": _dted, ".dt2": _dted,
}  # fmt: skip
