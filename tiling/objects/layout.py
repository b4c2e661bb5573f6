"""Where objects go: a quadtree in the dataset frame whose split cells are remembered, so that what did not change stays where it is.

The root cell is 2^24 m wide, centred on the frame's origin, so whatever is added later falls inside. An object belongs to the cell of the
centre of its box, at the depth where its cell is not split, or where it is wider than the next smaller cells. A cell with more than
:data:`FULL` objects is split; one with fewer than :data:`SPARSE` is merged again; in between it stays as it was. The objects that stay at a
split cell are a leaf of their own (``…/own``): refinement by replacement must go on showing them. What no cell can divide any further
is divided by bits of the ids' hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tim.geometry import F64
from tim.place import Frame, ellipsoid
from tim.store import Outline

FULL, SPARSE = 256, 96
DEPTH = 24
"""Cells of 1 m are not split."""
HALF = 2.0**23
"""Metres: half the width of the root cell."""

I64 = NDArray[np.int64]


class Cell(NamedTuple):
    """A cell of the quadtree; ``x`` and ``y`` count from the south-west corner of the root cell."""

    z: int
    x: int
    y: int

    @property
    def key(self) -> str:
        """``quad/{z}/{x}/{y}``."""
        return f"quad/{self.z}/{self.x}/{self.y}"

    @property
    def parent(self) -> Cell:
        """The cell it is a quarter of."""
        return Cell(self.z - 1, self.x >> 1, self.y >> 1)

    def holds(self, other: Cell) -> bool:
        """Whether ``other`` is this cell or within it."""
        up = other.z - self.z
        return up >= 0 and (other.x >> up, other.y >> up) == (self.x, self.y)


ROOT = Cell(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Splits:
    """What is remembered of a layout."""

    cells: frozenset[Cell] = frozenset()
    """Those that are split."""
    bits: Mapping[str, int] = field(default_factory=dict)
    """By key of an own leaf or a leaf that cannot be split: how many bits of the ids' hash divide it; those with none are left out."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects with a place, in columns."""

    ids: NDArray[np.void]
    """V16[n]."""
    digests: NDArray[np.void]
    """V32[n]."""
    versions: I64
    """int64[n]: as the store calls them."""
    classes: NDArray[np.int32]
    class_ids: Sequence[str]
    xy: I64
    """int64[n, 2]: the cell at :data:`DEPTH`."""
    width: F64
    """float64[n]: the larger side in the frame's x and y, metres."""
    size: F64
    """float64[n]: the diagonal of the box, metres."""

    def __len__(self) -> int:
        return len(self.ids)


class Leaf(NamedTuple):
    """A tile that shows objects in full."""

    key: str
    cell: Cell
    members: I64
    """Rows of :class:`Objects`, by id."""


def place(parts: Iterable[Outline], frame: Frame) -> tuple[Objects, int]:
    """All objects that have a box, and how many have none."""
    columns: list[tuple[NDArray[Any], ...]] = []
    class_ids: Sequence[str] = ()
    without = 0
    for part in parts:
        there = ~np.isnan(part.boxes[:, 0])
        without += int(len(there) - there.sum())
        named = (part.ids[there], part.digests[there], part.versions[there], part.classes[there])
        columns.append((*named, *measure(part.boxes[there], frame)))
        class_ids = part.class_ids
    if not columns:
        nothing = (np.empty(0, kind) for kind in ("V16", "V32", np.int64, np.int32))
        columns = [(*nothing, *measure(np.empty((0, 6)), frame))]
    ids, *others = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = by_id(ids)
    digests, versions, classes, xy, width, size = (column[order] for column in others)
    return Objects(ids[order], digests, versions, classes, class_ids, xy, width, size), without


def measure(boxes: F64, frame: Frame) -> tuple[I64, F64, F64]:
    """Cell at :data:`DEPTH`, width and diagonal of boxes.

    boxes: float64[n, 6], EPSG:4979, west above east where they cross the antimeridian. The same bits for a box whatever batch it comes in.
    """
    west, south, bottom, east, north, top = boxes.T
    east = np.where(east < west, east + 360.0, east)
    middle = np.column_stack([(west + east) / 2, (south + north) / 2, (bottom + top) / 2])
    centre = frame.from_ecef(ellipsoid.to_ecef(middle))
    low, high = np.full_like(centre, np.inf), np.full_like(centre, -np.inf)
    for x in (west, east):
        for y in (south, north):
            for z in (bottom, top):
                corner = frame.from_ecef(ellipsoid.to_ecef(np.column_stack([x, y, z])))
                np.minimum(low, corner, out=low)
                np.maximum(high, corner, out=high)
    side = high - low
    cells = np.floor((centre[:, :2] + HALF) * (2.0**DEPTH / (2 * HALF))).astype(np.int64)
    diagonal = np.sqrt(side[:, 0] * side[:, 0] + side[:, 1] * side[:, 1] + side[:, 2] * side[:, 2])
    return cells.clip(0, (1 << DEPTH) - 1), side[:, :2].max(axis=1, initial=0.0), diagonal


def settle(objects: Objects, known: Splits) -> tuple[Splits, list[Leaf]]:
    """The leaves, and the splits to remember: those known, changed only where they must be. Settling again changes nothing."""
    cells: set[Cell] = set()
    bits: dict[str, int] = {}
    leaves: list[Leaf] = []
    stack = [(ROOT, np.arange(len(objects)))]
    while stack:
        cell, members = stack.pop()
        if cell.z < DEPTH and len(members) > (FULL if cell not in known.cells else SPARSE - 1):
            cells.add(cell)
            wide = stays(cell.z, objects.width[members])
            leaves += _divided(objects, f"{cell.key}/own", cell, members[wide], known, bits)
            stack += _quarters(objects, cell, members[~wide])
        else:
            leaves += _divided(objects, cell.key, cell, members, known, bits)
    leaves.sort(key=lambda leaf: leaf.key)
    return Splits(frozenset(cells), bits), leaves


def locate(xy: Sequence[int], width: float, tim_id: bytes, splits: Splits) -> tuple[str, Cell]:
    """The leaf one object belongs to: its key and cell. xy, width: as :func:`measure` gives them."""
    cell = ROOT
    key = cell.key
    while cell in splits.cells:
        if bool(stays(cell.z, np.array([width]))[0]):
            key = f"{cell.key}/own"
            break
        down = DEPTH - cell.z - 1
        cell = Cell(cell.z + 1, xy[0] >> down, xy[1] >> down)
        key = cell.key
    if count := splits.bits.get(key, 0):
        key = f"{key}/{int(_hash(np.frombuffer(tim_id, 'V16'))[0] >> np.uint64(64 - count))}"
    return key, cell


def stays(z: int, width: F64) -> NDArray[np.bool_]:
    """Which objects are wider than the quarters of a cell at depth ``z``."""
    return width > 2 * HALF / 2.0 ** (z + 1)


def by_id(ids: NDArray[np.void]) -> I64:
    """The order of ids (V16) as bytes."""
    words = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2)
    order: I64 = np.lexsort((words[:, 1], words[:, 0]))
    return order


def _quarters(objects: Objects, cell: Cell, members: I64) -> Iterator[tuple[Cell, I64]]:
    down = DEPTH - cell.z - 1
    xy = objects.xy[members] >> down
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = 2 * cell.x + dx, 2 * cell.y + dy
            inside = members[(xy[:, 0] == x) & (xy[:, 1] == y)]
            if len(inside):
                yield Cell(cell.z + 1, x, y), inside


def _divided(
    objects: Objects, key: str, cell: Cell, members: I64, known: Splits, bits: dict[str, int]
) -> Iterator[Leaf]:
    """The leaf, or its parts where it is too full."""
    if not len(members):
        return
    hashes = _hash(objects.ids[members])
    count = known.bits.get(key, 0)
    while _fullest(hashes, count) > FULL and count < 32:
        count += 1
    while count and _fullest(hashes, count - 1) < SPARSE:
        count -= 1
    if not count:
        yield Leaf(key, cell, members)
        return
    bits[key] = count
    part = hashes >> np.uint64(64 - count)
    for number in np.unique(part).tolist():
        yield Leaf(f"{key}/{number}", cell, members[part == number])


def _fullest(hashes: NDArray[np.uint64], bits: int) -> int:
    if not bits:
        return len(hashes)
    return int(np.unique(hashes >> np.uint64(64 - bits), return_counts=True)[1].max())


def _hash(ids: NDArray[np.void]) -> NDArray[np.uint64]:
    """64 well mixed bits of each id (the finaliser of SplitMix64, Steele et al. 2014): ids made in a row differ in few bits."""
    words = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    mixed = words[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ words[:, 1]
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    hashed: NDArray[np.uint64] = mixed ^ mixed >> np.uint64(31)
    return hashed
