"""A made-up city in a store, of any size: houses of a few patterns, moved to where they stand."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tim.geometry import F64
from tim.model import Dataset, ObjectRecord, Representation, content_hash, dataset_uid
from tim.place import Frame, ellipsoid
from tim.place.resolve import FoundCrs, PlaceOptions, resolve
from tim.shape import FORMAT, STEP, Built, Polygon, build
from tim.store import Changeset, Operation, Put
from tim.workspace import Workspace

LON, LAT = 114.3, 30.5
SPACING = 30.0
"""Metres between houses."""
PATTERNS = 200
_ORIGIN = struct.Struct("<3d")
_ORIGIN_AT = 32
"""Where a blob's header has its origin (:mod:`tim.shape`)."""


def house(random: np.random.Generator, corners: int, bands: int) -> list[Polygon]:
    """A building on a footprint of so many corners, its walls in bands: ``bands * corners + 2`` faces."""
    angle = np.sort(random.uniform(0, 2 * np.pi, corners)) if corners > 4 else np.arange(4) * np.pi / 2 + np.pi / 4
    radius = random.uniform(6, 10) * (1 if corners == 4 else random.uniform(0.7, 1, corners))
    flat = np.column_stack([np.cos(angle) * radius, np.sin(angle) * radius, np.zeros(corners)])
    height = random.uniform(6, 40)
    rings = [flat + np.array([0, 0, height * k / bands]) for k in range(bands + 1)]
    faces = [Polygon([rings[0][::-1]], "GroundSurface"), Polygon([rings[-1]], "RoofSurface")]
    for low, high in pairwise(rings):
        faces += [
            Polygon([np.array([low[k - 1], low[k], high[k], high[k - 1]])], "WallSurface") for k in range(corners)
        ]
    return faces


def patterns(corners: int, bands: int) -> list[Built]:
    """Some different houses, all at the city's middle."""
    random = np.random.default_rng(5)
    place = resolve(FoundCrs(), PlaceOptions(f"ENU:{LAT},{LON},0"), np.array([-20.0, -20, 0]), np.array([20.0, 20, 50]))
    return build([house(random, corners, bands) for _ in range(PATTERNS)], place)


def fill(workspace: Workspace, slug: str, count: int, corners: int, bands: int) -> None:
    """A dataset of so many houses in a square, with attributes and geometry."""
    made = patterns(corners, bands)
    side = int(np.ceil(np.sqrt(count)))
    frame = Frame(LON, LAT, 0.0, 2**-10)
    dataset = Dataset(slug, slug, "objects", dataset_uid(slug), frame)
    with workspace.store() as store:

        def operations() -> Iterator[Operation]:
            for start in range(0, count, 10_000):
                numbers = np.arange(start, min(start + 10_000, count))
                for number, blob, box in moved(numbers, side, made, frame):
                    store.put_blob(blob)
                    yield Put(record(number, blob, box))

        store.apply(Changeset(slug, operations(), make=dataset))


def record(number: int, blob: bytes, box: Sequence[float], floors: int | None = None) -> ObjectRecord:
    """One house as a record; ``floors`` to change it."""
    west, south, bottom, east, north, top = box
    return ObjectRecord(
        f"{number}", "building.house", f"House {number}", "buildings",
        {"floors": number % 30 if floors is None else floors, "owner": f"owner {number % 1000}", "built": 1950 + number % 75},
        (west, south, bottom, east, north, top), representations=(Representation("body", "1", FORMAT, content_hash(blob)),),
    )  # fmt: skip


def moved(
    numbers: np.ndarray, side: int, made: Sequence[Built], frame: Frame
) -> Iterator[tuple[int, bytes, list[float]]]:
    """Number, blob and box of each house where it stands."""
    local = np.column_stack(
        [(numbers % side - side / 2) * SPACING, (numbers // side - side / 2) * SPACING, np.zeros(len(numbers))]
    )
    shift = np.rint((frame.to_ecef(local) - frame.origin) / STEP) * STEP
    at: F64 = ellipsoid.to_geographic(frame.to_ecef(local))
    for number, offset, place in zip(numbers.tolist(), shift.tolist(), at.tolist(), strict=True):
        one = made[number % len(made)]
        origin = _ORIGIN.unpack_from(one.blob, _ORIGIN_AT)
        head = _ORIGIN.pack(*(a + b for a, b in zip(origin, offset, strict=True)))
        blob = one.blob[:_ORIGIN_AT] + head + one.blob[_ORIGIN_AT + len(head) :]
        assert one.box is not None
        step = (place[0] - LON, place[1] - LAT, place[2])
        yield number, blob, [value + step[i % 3] for i, value in enumerate(one.box)]


def made_workspace(folder: Path, slug: str, count: int, corners: int, bands: int) -> Workspace:
    """A workspace with such a city."""
    workspace = Workspace.create(folder)
    fill(workspace, slug, count, corners, bands)
    return workspace
