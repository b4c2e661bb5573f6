"""How surfaces look: the material their source gives them, otherwise a colour by what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tim.shape import Material, Shapes

I64 = NDArray[np.int64]

_SEMANTICS = {
    "RoofSurface": 0xB4705C, "WallSurface": 0xE8E2D6, "GroundSurface": 0x9B968E, "OuterCeilingSurface": 0xCFC8BC,
    "OuterFloorSurface": 0xB9B3A8, "ClosureSurface": 0xDDD7CC, "Window": 0x7D9DB3, "WindowSurface": 0x7D9DB3, "Door": 0x7A5A45,
    "DoorSurface": 0x7A5A45, "InteriorWallSurface": 0xEFEBE3, "FloorSurface": 0xC9BFAE, "CeilingSurface": 0xF2F0EB,
    "WaterSurface": 0x7FAFD0, "WaterGroundSurface": 0x8A8571, "TrafficArea": 0x83878C, "AuxiliaryTrafficArea": 0xA9AC9C,
}  # fmt: skip
"""sRGB by the names CityGML 3.0 and CityJSON 2.0 give to surfaces."""
_CLASSES = {
    "": 0xC8C4BC, "building": 0xE3DDD1, "building.element.equipment": 0x9AA3AB, "building.element.opening": 0x8FA9BA,
    "building.element.roof": 0xB4705C, "building.element.slab": 0xC9BFAE, "building.element.structure": 0xB8BBBD,
    "cadastre": 0xD9C58F, "geology": 0xB79A77, "land": 0xC9C3A4, "mineral": 0xA68C74, "monitoring": 0xD98F5C,
    "pipeline": 0x5E8FB0, "planning": 0xC9A5C6, "sea": 0x6FA3C4, "substrate": 0xB3A083, "terrain": 0xB5AC8F,
    "transport": 0x8B8F94, "underground": 0xA39C94, "vegetation": 0x7C9F5B, "water": 0x7FAFD0,
}  # fmt: skip
"""sRGB by class; the longest of a class's ancestors counts."""


@dataclass(frozen=True, slots=True, order=True)
class Look:
    """How some triangles look."""

    color: tuple[int, int, int, int]
    """sRGB bytes and alpha; multiplies the image."""
    image: str = ""
    """Content hash."""
    repeat: bool = False


@dataclass(slots=True)
class Looks:
    """Looks, each with a number."""

    numbers: dict[Look, int] = field(default_factory=dict)

    def number(self, look: Look) -> int:
        """The number of a look."""
        return self.numbers.setdefault(look, len(self.numbers))

    def of_surfaces(self, shapes: Shapes, classes: Sequence[str], *, plain: bool = False) -> I64:
        """int64[surfaces]: the look of each; ``classes``: of the objects of ``shapes``; ``plain``: without images."""
        names, owner_class = np.unique(np.array(classes, np.str_), return_inverse=True)
        counts = np.diff(shapes.surface_ends, prepend=0)
        of_class = np.repeat(owner_class.astype(np.int64), counts)
        kinds, materials = len(shapes.semantics), len(shapes.materials)
        key = (of_class * kinds + shapes.surface_semantics) * materials + shapes.surface_materials
        used, place = np.unique(key, return_inverse=True)
        table = np.empty(len(used), np.int64)
        for row, combined in enumerate(used.tolist()):
            rest, material = divmod(combined, materials)
            of, kind = divmod(rest, kinds)
            given = shapes.materials[material]
            shown = None if plain and given is not None and given.image else given
            table[row] = self.number(look_of(str(names[of]), shapes.semantics[kind], shown))
        return table[place]


@cache
def class_color(class_id: str) -> int:
    """sRGB of a class without a better idea."""
    while class_id and class_id not in _CLASSES:
        class_id = class_id.rpartition(".")[0]
    return _CLASSES[class_id]


def look_of(class_id: str, semantic: str, material: Material | None) -> Look:
    """The look of a surface."""
    if material is not None:
        r, g, b, a = (round(min(max(v, 0.0), 1.0) * 255) for v in material.color)
        return Look((r, g, b, a), material.image, material.repeat and bool(material.image))
    rgb = _SEMANTICS.get(semantic) or class_color(class_id)
    return Look((rgb >> 16, rgb >> 8 & 255, rgb & 255, 255))
