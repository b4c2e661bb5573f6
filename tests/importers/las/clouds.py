"""LAS and LAZ files made for tests, written with laspy: another implementation than the one tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import laspy
import numpy as np
from laspy.vlrs.known import WktCoordinateSystemVlr
from pyproj import CRS

from importers import ImportContext, las
from tim.place.resolve import PlaceOptions, resolve
from tim.sources import SourceRef

VERSIONS = {
    0: "1.2",
    1: "1.2",
    2: "1.2",
    3: "1.2",
    4: "1.3",
    5: "1.3",
    6: "1.4",
    7: "1.4",
    8: "1.4",
    9: "1.4",
    10: "1.4",
}
CORNER = np.array([500_000.0, 4_300_000.0, 120.0])


def write(
    path: Path, count: int = 5000, *, point_format: int = 7, scale: float = 0.01, size: float = 300.0, colour_max: int = 65535,
    extra: list[laspy.ExtraBytesParams] | None = None, crs: str | None = "EPSG:32650", seed: int = 1, xyz: Any = None,
) -> laspy.LasData:  # fmt: skip
    """A cloud of random points with random values in every dimension; compressed where the name ends in ``.laz``."""
    random = np.random.default_rng(seed)
    header = laspy.LasHeader(version=VERSIONS[point_format], point_format=point_format)
    header.scales, header.offsets = np.full(3, scale), CORNER
    for item in extra or []:
        header.add_extra_dim(item)
    if crs:
        header.vlrs.append(WktCoordinateSystemVlr(CRS.from_user_input(crs).to_wkt()))
        header.global_encoding.wkt = True
    data = laspy.LasData(header)
    if xyz is None:
        xyz = random.uniform(0, 1, (count, 3)) * [size, size, size / 10] + CORNER
    data.x, data.y, data.z = np.asarray(xyz).T
    count = len(data.x)
    skipped = {"X", "Y", "Z", "bit_fields", "raw_classification", "classification_flags"}
    for dimension in header.point_format.dimensions:
        if dimension.name in skipped:
            continue
        limit = 2 ** min(dimension.num_bits // dimension.num_elements, 32) - 1
        if dimension.name in ("red", "green", "blue"):
            limit = colour_max
        shape = (count, dimension.num_elements) if dimension.num_elements > 1 else count
        values: Any
        if extra and dimension.is_scaled:
            values = random.uniform(5, 100, shape)
        elif dimension.kind == laspy.point.dims.DimensionKind.FloatingPoint:
            values = random.uniform(-100, 100, shape)
        elif dimension.kind == laspy.point.dims.DimensionKind.SignedInteger:
            values = random.integers(-(limit // 2), limit // 2, shape)
        else:
            values = random.integers(0, limit, shape, endpoint=True)
        data[dimension.name] = values
    data.write(path, laz_backend=laspy.LazBackend.Lazrs)
    return data


def source(path: Path, crs: str | None = None, vertical: str = "ellipsoid") -> SourceRef:
    """The reference an import makes of a file."""
    (probe,) = las.probe(path)
    assert not probe.fatal, probe.problems
    assert probe.low is not None
    assert probe.high is not None
    place = resolve(probe.found, PlaceOptions(crs=crs, vertical=vertical), np.array(probe.low), np.array(probe.high))
    (ref,) = [item for item in las.read(probe, ImportContext(place)) if isinstance(item, SourceRef)]
    return ref
