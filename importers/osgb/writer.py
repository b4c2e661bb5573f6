"""A writer of OSGB files as ContextCapture lays them out: version 80, no brackets, no compression, inline JPEG.

For fixtures and demonstrations. One file holds one PagedLOD per :class:`PagedNode` that names a child, a plain Geode for the others.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from importers.osgb.stream import MAGIC
from tim.geometry import Mesh

VERSION = 80
_FOREVER = 1e30
_STATIC = 2
_COLOR_MODE_OFF = 0x1603
_GL = {"texture 2d": 0x0DE1, "clamp": 0x2900, "linear": 0x2601, "triangles": 4, "on": 1}


@dataclass(frozen=True, slots=True)
class PagedNode:
    """One level of detail in a file: what it shows, and the file that replaces it closer up."""

    meshes: tuple[Mesh, ...]
    """Texture coordinates with v down (glTF); a JPEG or PNG texture or none."""
    child: str = ""
    """File name relative to this file; empty for a leaf."""
    pixels: float = 0.0
    """Diameter of the bounding sphere in pixels at which the child takes over: ``2 * radius / metres per pixel``."""
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 0.0


def write_osgb(path: Path, nodes: Sequence[PagedNode]) -> None:
    """Write one file; the same nodes give the same bytes. Raises OSError."""
    path.write_bytes(encode_osgb(nodes, path.stem))


def encode_osgb(nodes: Sequence[PagedNode], stem: str) -> bytes:
    """The bytes of one file; ``stem`` names its images."""
    out = _Out()
    out.raw(MAGIC)
    out.pack("3I", 1, VERSION, 0)
    out.text("0")
    if len(nodes) != 1:
        out.object("osg::Group")
        out.node()
        out.pack("?I", True, len(nodes))
    for index, node in enumerate(nodes):
        _node(out, node, f"{stem}_{index}")
    return b"".join(out.parts)


class _Out:
    """Bytes so far and the last unique id given."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.ids = 0
        self.array_ids = 0

    def raw(self, data: bytes | memoryview) -> None:
        self.parts.append(bytes(data))

    def pack(self, layout: str, *values: float | bool) -> None:
        self.parts.append(struct.pack(f"<{layout}", *values))

    def text(self, value: str) -> None:
        data = value.encode("utf-8")
        self.pack("i", len(data))
        self.raw(data)

    def object(self, kind: str, *, name: str = "", variance: int = 0) -> None:
        """Class name, id, and the properties of Object."""
        self.text(kind)
        self.identity()
        self.properties(name, variance)

    def identity(self) -> None:
        self.ids += 1
        self.pack("I", self.ids)

    def properties(self, name: str = "", variance: int = 0) -> None:
        self.text(name)
        self.pack("i?", variance, False)

    def node(self) -> None:
        """The properties of Node: no bound, no callbacks, culling, mask, no state."""
        self.pack("?4??I?", False, *[False] * 4, True, 0xFFFFFFFF, False)


def _node(out: _Out, node: PagedNode, name: str) -> None:
    if node.child:
        out.object("osg::PagedLOD")
        out.node()
        out.pack("i?4di", 1, True, *node.center, node.radius, 1)
        out.pack("?I4f", True, 2, 0.0, node.pixels, node.pixels, _FOREVER)
        out.pack("?I?", False, 0, False)
        out.pack("?I", True, 2)
        out.text("")
        out.text(node.child)
        out.pack("I4f", 2, 0.0, 1.0, 0.0, 1.0)
        out.pack("?I", True, 1)
    out.object("osg::Geode")
    out.node()
    out.pack("?I", True, len(node.meshes))
    for index, mesh in enumerate(node.meshes):
        _geometry(out, mesh, f"{name}_{index}")


def _geometry(out: _Out, mesh: Mesh, name: str) -> None:
    out.object("osg::Geometry")
    out.pack("?", True)
    _state(out, mesh, name)
    out.pack("?????", False, False, False, True, False)  # bound, callback, shape, lists supported, lists used
    out.pack("?4?", False, *[False] * 4)  # buffer objects, callbacks
    triangles = np.ascontiguousarray(mesh.triangles, "<u4")
    out.pack("IiII", 1, 54, _GL["triangles"], triangles.size)
    out.raw(triangles.tobytes())
    out.pack("?", True)
    _array(out, 16, mesh.positions)
    out.pack("?", mesh.normals is not None)
    if mesh.normals is not None:
        _array(out, 16, mesh.normals)
    out.pack("???", False, False, False)
    out.pack("?", mesh.uv is not None)
    if mesh.uv is not None:
        flipped = np.column_stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]])
        out.pack("I", 1)
        _array(out, 15, flipped)
    out.pack("??", False, False)


def _array(out: _Out, kind: int, values: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> None:
    """Per-vertex float32 vectors: present, id, type, count, values, no indices, binding per vertex, not normalised."""
    out.array_ids += 1
    out.pack("?IiI", True, out.array_ids, kind, len(values))
    out.raw(np.ascontiguousarray(values, "<f4").tobytes())
    out.pack("?ii", False, 4, 0)


def _state(out: _Out, mesh: Mesh, name: str) -> None:
    out.object("osg::StateSet")
    out.pack("?", False)
    out.pack("?I", True, 1)
    out.object("osg::Material")
    out.pack("2?i", False, False, _COLOR_MODE_OFF)
    for color in (mesh.base_color, mesh.base_color, (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0)):
        out.pack("??8f", True, True, *color, *color)
    out.pack("??2f", True, True, 0.0, 0.0)
    out.pack("i", 0)
    textured = mesh.texture is not None
    out.pack("?", textured)
    if textured:
        out.pack("IIIi", 1, 1, _GL["texture 2d"], _GL["on"])
    out.pack("?", textured)
    if mesh.texture is not None:
        out.pack("II", 1, 1)
        out.object("osg::Texture2D", variance=_STATIC)
        out.pack("2?", False, False)
        for value in ("clamp", "clamp", "clamp", "linear", "linear"):
            out.pack("?I", True, _GL[value])
        out.pack("f4?4dii", 1.0, False, True, False, False, *[0.0] * 4, 0, 0)
        out.pack("3?", False, False, False)
        out.pack("?iif", False, 0x0203, 0x1909, 0.0)
        out.pack("?", True)
        out.identity()
        out.text(f"{name}.{'png' if mesh.texture.mime == 'image/png' else 'jpg'}")
        out.pack("iiI", 0, 1, len(mesh.texture.data))
        out.raw(mesh.texture.data)
        out.properties()
        out.pack("ii", 0, 0)
        out.pack("i", 0)
    out.pack("?", False)
    out.pack("3i", 0, 0, 0)
    out.text("")
    out.pack("???", True, False, False)
