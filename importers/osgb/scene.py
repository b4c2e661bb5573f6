"""What a scene is made of, as far as meshes need it: nodes, levels of detail, geometry, and how it looks."""

from __future__ import annotations

from dataclasses import dataclass, field

from importers.osgb.arrays import Array, Primitives
from importers.osgb.image import Image
from tim.geometry import F64

Color = tuple[float, float, float, float]
DISTANCE, PIXEL_SIZE = 0, 1
"""How the ranges of a :class:`Lod` are meant: metres from the eye, or pixels on the screen."""


@dataclass(slots=True)
class Item:
    """Any object; those we have no use for stay at this."""

    kind: str
    """Class name."""


@dataclass(slots=True)
class StateSet(Item):
    """How something looks, as far as it concerns us."""

    image: Image | None = None
    """Of texture unit 0, or the first unit that has one."""
    diffuse: Color | None = None


@dataclass(slots=True)
class Texture(Item):
    """A two-dimensional texture."""

    image: Image | None = None


@dataclass(slots=True)
class Material(Item):
    """Surface colours, of which photogrammetry uses none but white."""

    diffuse: Color | None = None


@dataclass(slots=True)
class Node(Item):
    """A group, a transform, a geode (its children are drawables), or a leaf."""

    state: StateSet | None = None
    children: list[Item] = field(default_factory=list)
    matrix: F64 | None = None
    """float64[4, 4], row vectors: ``[x y z 1] @ matrix``."""
    expanded: int = 1
    """Objects at and below it, shared ones as often as they are used."""


@dataclass(slots=True)
class Lod(Node):
    """A node that shows its children by range; of a PagedLOD some lie in files of their own."""

    center_mode: int = 0
    center: tuple[float, float, float] | None = None
    radius: float = -1.0
    range_mode: int = DISTANCE
    ranges: list[tuple[float, float]] = field(default_factory=list)
    database_path: str = ""
    files: list[str] = field(default_factory=list)
    """File per range; empty for the children that lie here, which ``children`` holds in order."""


@dataclass(slots=True)
class Geometry(Item):
    """Vertex arrays and what is drawn from them."""

    state: StateSet | None = None
    primitives: list[Primitives] = field(default_factory=list)
    vertices: Array | None = None
    normals: Array | None = None
    colors: Array | None = None
    texcoords: list[Array | None] = field(default_factory=list)


@dataclass(slots=True)
class ArrayItem(Item):
    """A vertex array that is an object of its own, as from version 112 on."""

    array: Array | None = None


@dataclass(slots=True)
class PrimitivesItem(Item):
    """A primitive set that is an object of its own, as from version 112 on."""

    mode: int = 0
    primitives: Primitives | None = None
