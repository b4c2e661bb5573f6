"""Image textures of triangulated face sets, read from the entities: the geometry kernel does not give them (IFC4 8.9, 8.10).

A face set with an ``IfcIndexedTriangleTextureMap`` says where each corner of its triangles lies in the image. Its triangles are found again in
what the kernel made by their order and their coordinates; where the kernel made others (an opening was cut out), there is no texture.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import permutations
from typing import Any

import numpy as np

from tim.geometry import F32, F64, I32

_ORDERS = np.array(list(permutations(range(3))))
_NEAR = 1e-5
"""Metres, and parts of the distance from the origin: nearer corners are the same."""
_PIXELS = 1 << 24
_NO_COLOR = {"NORMAL", "METALLICROUGHNESS", "OCCLUSION", "EMISSIVE", "SHININESS", "SPECULAR"}
"""Modes of textures that are no colours."""
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Texture:
    """An image, in a file beside the model or in the model."""

    number: int
    """Of its instance."""
    name: str
    """Relative path; empty where it is in the model."""
    data: bytes
    """An image file; empty where it is beside the model."""
    repeat: bool


def textured(product: Any, items: I32, corners: F64) -> tuple[tuple[Texture, ...], I32, F32]:
    """The textures of a mesh; int32[m], which of them its triangles have, negative for none; and float32[m, 3, 2], v down.

    ``items``: int32[m], the number of the instance each triangle comes from; ``corners``: float64[m, 3, 3], metres of the model.
    """
    images: list[Texture] = []
    chosen, uv = np.full(len(items), -1, np.int32), np.zeros((len(items), 3, 2), np.float32)
    standing: dict[int, list[tuple[Any, F64]]] = {}
    for item, matrix in _face_sets(product):
        standing.setdefault(item.id(), []).append((item, matrix))
    unit = import_module("ifcopenshell.util.unit").calculate_unit_scale(product.file) if standing else 1.0
    for number, stands in standing.items():
        item = stands[0][0]
        found = next(((m, t) for m in item.HasTextures if (t := _image(m)) is not None), None)
        own = np.flatnonzero(items == number)
        index = np.array(item.CoordIndex, np.int64) - 1
        if found is None or not len(own) or len(own) != len(index) * len(stands):
            continue
        coordinates = _coordinates(*found, index)
        points = np.array(item.Coordinates.CoordList, np.float64)
        if coordinates is None or not 0 <= index.min() <= index.max() < len(points):
            continue
        expected = np.concatenate([(points @ m[:3, :3].T + m[:3, 3])[index] * unit for _, m in stands])
        gaps = np.abs(corners[own][:, None] - expected[:, _ORDERS]).max(axis=(2, 3))
        if gaps.min(axis=1).max() > _NEAR * (1 + np.abs(expected).max()):
            continue
        order = _ORDERS[gaps.argmin(axis=1)]
        uv[own] = np.take_along_axis(np.tile(coordinates, (len(stands), 1, 1)), order[:, :, None], axis=1)
        chosen[own] = len(images)
        images.append(found[1])
    return tuple(images), chosen, uv


def _face_sets(product: Any) -> Iterator[tuple[Any, F64]]:
    """Its triangulated face sets that have textures, with the matrix from their coordinates to the model's (its units)."""
    placement = import_module("ifcopenshell.util.placement")

    def visit(items: Any, above: F64, depth: int) -> Iterator[tuple[Any, F64]]:
        for item in items:
            if item.is_a("IfcMappedItem") and depth < _DEEPEST:
                inner: F64 = above @ placement.get_mappeditem_transformation(item)
                yield from visit(item.MappingSource.MappedRepresentation.Items, inner, depth + 1)
            elif item.is_a("IfcTriangulatedFaceSet") and getattr(item, "HasTextures", None):
                yield item, above

    shown = product.Representation.Representations
    items = [i for r in shown if r.RepresentationIdentifier in ("Body", "Facetation", "Tessellation") for i in r.Items]
    if items:
        yield from visit(items, np.asarray(placement.get_local_placement(product.ObjectPlacement), np.float64), 0)


def _coordinates(mapped: Any, texture: Texture, index: Any) -> F32 | None:
    """float32[m, 3, 2] of the corners of a face set, v down; ``None`` where they do not fit it."""
    vertices = np.array(mapped.TexCoords.TexCoordsList, np.float64).reshape(-1, 2)
    said = index if mapped.TexCoordIndex is None else np.array(mapped.TexCoordIndex, np.int64) - 1
    if said.shape != index.shape or not 0 <= said.min() <= said.max() < len(vertices):
        return None
    transform = next(t for t in mapped.Maps if t.id() == texture.number).TextureTransform
    if transform is not None:
        along = np.array(transform.Axis1.DirectionRatios if transform.Axis1 else (1.0, 0.0), np.float64)
        along /= np.linalg.norm(along)
        across = np.array([-along[1], along[0]])
        scale = 1.0 if transform.Scale is None else transform.Scale
        vertices = vertices @ (np.stack([along, across]) * scale) + np.array(transform.LocalOrigin.Coordinates)
    vertices[:, 1] = 1 - vertices[:, 1]
    return vertices[said].astype(np.float32) if np.isfinite(vertices).all() else None


def _image(mapped: Any) -> Texture | None:
    """The first texture of a map that is the colour of its surface and can be read."""
    if not mapped.is_a("IfcIndexedTriangleTextureMap"):
        return None
    for texture in mapped.Maps:
        name, data = "", b""
        if (texture.Mode or "").upper() in _NO_COLOR:
            continue
        if texture.is_a("IfcImageTexture"):
            name = str(texture.URLReference)
        elif texture.is_a("IfcBlobTexture"):
            data = _bytes(texture.RasterCode)
        elif texture.is_a("IfcPixelTexture"):
            data = _png(texture)
        if name or data:
            return Texture(texture.id(), name, data, bool(texture.RepeatS or texture.RepeatT))
    return None


def _bytes(bits: str) -> bytes:
    """A binary value, which the library gives as zeros and ones."""
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits and len(bits) % 8 == 0 else b""


def _png(texture: Any) -> bytes:
    """The pixels as an image file; they are given from the lower left, row by row upwards. Empty where they do not fit."""
    from PIL import Image

    width, height, parts = texture.Width, texture.Height, texture.ColourComponents
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(parts, "")
    data = b"".join(map(_bytes, texture.Pixel))
    if not mode or not 0 < width * height <= _PIXELS or len(data) != width * height * parts:
        return b""
    out = io.BytesIO()
    image = Image.frombytes(mode, (width, height), data).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    image.save(out, "PNG")
    return out.getvalue()
