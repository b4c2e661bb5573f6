"""The geometry of one object: surfaces with their rings, triangulated once, in one blob that is decoded by the batch.

Coordinates are geocentric (EPSG:4978): whole multiples of :data:`STEP` about an origin that is one as well, so a vertex shared by two
objects has the same coordinates in both, and no map projection is needed again to draw it. A *model* (:func:`model`) is the same about
the origin zero in east, north, up metres; where it stands is said by the representation that uses it.

The blob (little-endian)::

    64 bytes   magic "TIMG", uint16 version, uint16 flags (1: texture coordinates), uint32 vertices, triangles, rings, ring indices,
               surfaces, bytes of JSON; float64 origin[3], float64 step
    int32      positions[vertices, 3]: steps from the origin
    float32    uv[vertices, 2], where flagged; origin top left, v down (glTF)
    index      triangles[triangles, 3], ring indices, ends of rings (in ring indices), per surface: end in triangles, end in rings,
               semantic, material; uint16 where every value fits, otherwise uint32, as bit 2 of the flags says
    UTF-8      {"semantics": [...], "materials": [...]}

Triangles stand in the order of their surfaces; a surface without rings is a mesh. Polygons come back from rings, holes after their hull.
"""

from __future__ import annotations

from tim.shape.blob import FORMAT, STEP, Rings, Shape, Shapes, decode, decode_each, decode_many, decode_rings, encode
from tim.shape.building import Built, build, model
from tim.shape.patches import Material, Patch, Polygon, Problem, Triangles

__all__ = [
    "FORMAT", "STEP", "Built", "Material", "Patch", "Polygon", "Problem", "Rings", "Shape", "Shapes", "Triangles", "build", "decode", "decode_each",
    "decode_many", "decode_rings", "encode", "model",
]  # fmt: skip
