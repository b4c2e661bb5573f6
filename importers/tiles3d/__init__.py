"""Tilesets that are there already: a folder with ``tileset.json``, or one ``.3tz``, in 3D Tiles 1.0 or 1.1, mounted where it lies.

``probe`` reads the root page and looks into a few contents; ``read`` gives one object and one source of kind ``tiles``, whose options say
how the tileset is moved; ``open`` gives its files. Nothing is copied and nothing is converted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from importers import ImportContext, Probe
from importers.tiles3d.content import contents, gltf_version, kind_of
from importers.tiles3d.files import Files, Folder, Packed, open_files
from importers.tiles3d.tree import ROOT, column_major, matrix, read_page, tiles_of
from importers.tiles3d.volume import geographic_box, moved, on_earth, samples, up_at
from tim.errors import PlaceError, SourceError, UsageError
from tim.geometry import F64
from tim.model import ObjectRecord, Rejected, Representation
from tim.place import Frame, ellipsoid
from tim.place.resolve import FoundCrs
from tim.sources import SourceRef, fingerprint

__all__ = ["Files", "open", "probe", "read"]

SUFFIXES = (".3tz",)


FORMAT, CLASS = "tiles3d", "survey.tileset"
_SAMPLED, _LOOKED = 8, 200
"""Contents opened, and tiles passed on the way to them."""
_SMALL = 4 << 20
"""Bytes of a content that an inventory reads whole; of larger ones it reads the head."""


@dataclass(frozen=True, slots=True)
class _Root:
    """What the root page says."""

    files: Files
    page: Mapping[str, Any]
    points: F64
    """float64[n, 3] on the root volume, with the root's own transform."""

    @property
    def local(self) -> bool:
        """Whether it lies in no place on Earth."""
        return not on_earth(self.points)

    @property
    def region(self) -> bool:
        """Whether its root volume is a region, which no transform moves."""
        return "region" in self.page["root"]["boundingVolume"]


def probe(path: Path, key: str = "") -> list[Probe]:
    """The tileset at ``path``: a folder with ``tileset.json`` or a ``.3tz`` file. Empty for anything else."""
    path = Path(path)
    if not ((path.is_dir() and (path / ROOT).is_file()) or (path.is_file() and path.suffix.lower() == ".3tz")):
        return []
    where = key or path.name
    try:
        count, size = _extent(path)
        root = _root(path)
    except (SourceError, OSError) as error:
        reason = (
            error
            if isinstance(error, SourceError)
            else SourceError("tiles3d.unreadable", path=where, reason=str(error))
        )
        return [Probe(
            uri=str(path), format=FORMAT, kind="tiles", key=key, files=0, size=0, count=None, low=None, high=None, found=FoundCrs(where=where),
            problems=(Rejected(where, reason.code, reason.fields),), fatal=True,
        )]  # fmt: skip
    kinds, problems = _look(root, where)
    if root.local:
        problems.append(Rejected(where, "tiles3d.no-place", {"path": where}))
        low, high = root.points.min(axis=0), root.points.max(axis=0)
        found = FoundCrs(where=where)
    else:
        west, south, bottom, east, north, top = geographic_box(root.points)
        low, high = np.array([west, south, bottom]), np.array([east if east >= west else east + 360, north, top])
        found = FoundCrs("EPSG:4979", where=where)
    axis = str(root.page["asset"].get("gltfUpAxis", "Y")).upper()
    options = {
        "version": str(root.page["asset"].get("version", "")), "geometric_error": _error(root.page), "contents": dict(sorted(kinds.items())),
        "up_axis": axis,
    }  # fmt: skip
    return [Probe(
        uri=str(path), format=FORMAT, kind="tiles", key=key, files=count, size=size, count=None, low=tuple(low.tolist()),
        high=tuple(high.tolist()), found=found, problems=tuple(problems), fatal=any(p.code == "tiles3d.gltf-1" for p in problems),
        options=options,
    )]  # fmt: skip


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | SourceRef | Rejected]:
    """The tileset as one object and one source.

    Settings: ``height_offset`` (metres), ``at`` [longitude, latitude, height] for the tileset's origin (of one that lies on Earth: the foot
    of its middle on the ellipsoid), ``heading`` (degrees clockwise). Raises PlaceError where a tileset bounded by regions is to be moved
    other than up, SourceError where it cannot be read.
    """
    path = Path(probe.uri)
    key = probe.key or path.name
    root = _root(path)
    offset = _number(context.settings, "height_offset")
    transform = _transform(root, context, key)
    points = moved(root.points, transform)
    lift = np.eye(4)
    lift[:3, 3] = up_at(points) * offset
    transform, points = lift @ transform, moved(points, lift)
    box = geographic_box(points)
    options = {
        "transform": column_major(transform),
        "height_offset": offset,
        "up_axis": probe.options.get("up_axis", "Y"),
    }
    yield SourceRef(
        uri=str(path), format=FORMAT, kind="tiles", key=key, place=context.place, fingerprint=fingerprint(path), box=box, options=options,
    )  # fmt: skip
    yield ObjectRecord(
        source_key=key, class_id=CLASS, name=key.rsplit("/", 1)[-1], layer=context.layer, box=box,
        attributes={"files": probe.files, "bytes": probe.size, **probe.options},
        representations=(Representation("bulk", "", FORMAT, key),),
    )  # fmt: skip


def open(ref: SourceRef) -> Files:  # noqa: A001
    """The files of a mounted tileset. Raises SourceError where it is gone, CorruptSource where it is broken."""
    return open_files(Path(ref.uri))


def _root(path: Path) -> _Root:
    files = open_files(path)
    page = read_page(files, ROOT)
    root = page["root"]
    transform = matrix(root["transform"], ROOT) if "transform" in root else np.eye(4)
    return _Root(files, page, samples(root.get("boundingVolume"), transform, ROOT))


def _transform(root: _Root, context: ImportContext, key: str) -> F64:
    """float64[4, 4]: from where the tileset says it lies to where it shall lie, without the height offset."""
    at, heading = context.settings.get("at"), math.radians(_number(context.settings, "heading"))
    turn = np.eye(4)
    turn[:2, :2] = [[math.cos(heading), math.sin(heading)], [-math.sin(heading), math.cos(heading)]]
    if at is None and not heading and not root.local:
        return np.eye(4)
    if root.region:
        raise PlaceError("tiles3d.region-fixed", path=key)
    if root.local:
        middle = (root.points.min(axis=0) + root.points.max(axis=0)) / 2
        # The frame of a local tileset: what its CRS does to the axes in its middle.
        ends = context.place.to_ecef(np.vstack([middle, middle + np.eye(3)]))
        frame = np.eye(4)
        frame[:3, :3] = (ends[1:] - ends[0]).T
        frame[:3, 3] = ends[0] - frame[:3, :3] @ middle
        return frame @ turn
    lon, lat, _ = ellipsoid.to_geographic(root.points.mean(axis=0)[None])[0].tolist()
    to = _frame(*_at(at)) if at is not None else _frame(lon, lat, 0.0)
    result: F64 = to @ turn @ np.linalg.inv(_frame(lon, lat, 0.0))
    return result


def _frame(lon: float, lat: float, height: float) -> F64:
    return np.array(Frame(lon, lat, height, 1.0).transform).reshape(4, 4).T


def _at(value: Any) -> tuple[float, float, float]:
    try:
        lon, lat, *rest = (float(v) for v in value)
        height = rest[0] if rest else 0.0
    except (TypeError, ValueError):
        raise UsageError("tiles3d.bad-setting", name="at", value=str(value)) from None
    if not (abs(lon) <= 180 and abs(lat) <= 90 and math.isfinite(height)):
        raise UsageError("tiles3d.bad-setting", name="at", value=str(value))
    return lon, lat, height


def _number(settings: Mapping[str, Any], name: str) -> float:
    try:
        value = float(settings.get(name, 0.0))
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError("tiles3d.bad-setting", name=name, value=str(settings.get(name)))
    return value


def _extent(path: Path) -> tuple[int, int]:
    """How many files, and their bytes."""
    if path.is_file():
        return 1, path.stat().st_size
    count = size = 0
    for name in Folder(path).paths():
        count, size = count + 1, size + (path / name).stat().st_size
    return count, size


def _error(page: Mapping[str, Any]) -> float:
    error = page.get("geometricError")
    return float(error) if isinstance(error, int | float) and math.isfinite(error) else 0.0


def _look(root: _Root, where: str) -> tuple[Counter[str], list[Rejected]]:
    """Kinds of a few contents, and what is wrong with the tileset at first sight."""
    kinds: Counter[str] = Counter()
    problems: list[Rejected] = []
    pages, seen = [ROOT], {ROOT}

    def note(code: str, **fields: Any) -> None:
        if all(problem.code != code for problem in problems):
            problems.append(Rejected(where, code, {"path": where, **fields}))

    if isinstance(root.files, Packed) and root.files.refused:
        name, reason = next(iter(root.files.refused.items()))
        note("tiles3d.entries-refused", count=len(root.files.refused), example=name, reason=reason)
    while pages and kinds.total() < _SAMPLED:
        page = pages.pop(0)
        try:
            tiles = list(islice(tiles_of(read_page(root.files, page), page), _LOOKED))
        except SourceError as error:
            problems.append(Rejected(where, error.code, error.fields))
            continue
        for tile in (tile for tile in tiles if not tile.implicit):
            for uri, path in tile.links:
                if kinds.total() >= _SAMPLED:
                    break
                if path is None:
                    note("tiles3d.uri-outside", uri=uri[:200])
                    continue
                if path in seen:
                    continue
                seen.add(path)
                try:
                    stored = root.files.find(path)
                    if stored is None:
                        note("tiles3d.content-missing", uri=uri[:200])
                        continue
                    small = stored.stored <= _SMALL
                    data = stored.plain() if small else stored.read(0, 64) if stored.encoding == "identity" else b""
                    kind = kind_of(data[:64], path)
                    if kind == "json":
                        pages.append(path)
                        continue
                    kinds[kind] += 1
                    if small:
                        _check(data, kind, path)
                except SourceError as error:
                    # What cannot be read at all comes first: it is the reason of the refusal.
                    problems.insert(
                        0 if error.code == "tiles3d.gltf-1" else len(problems),
                        Rejected(where, error.code, error.fields),
                    )
    if str(root.page["asset"].get("gltfUpAxis", "Y")).upper() != "Y":
        note("tiles3d.up-axis", axis=str(root.page["asset"]["gltfUpAxis"]))
    return kinds, problems


def _check(data: bytes, kind: str, path: str) -> None:
    """Raises CorruptSource where a content does not come apart, or holds glTF 1.0."""
    if kind not in ("b3dm", "i3dm", "cmpt", "glb"):
        return
    for content in contents(data, path):
        if content.payload and not content.external and gltf_version(content.payload, path) != 2:
            raise SourceError("tiles3d.gltf-1", path=path)
