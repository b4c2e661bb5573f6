"""How surfaces look: the material their source gives them, otherwise a colour by what they are, otherwise that of their object's class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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

    def of_surfaces(self, shapes: Shapes, rgba: Sequence[int], *, plain: bool = False) -> I64:
        """int64[surfaces]: the look of each; ``rgba``: of the classes of the objects of ``shapes``; ``plain``: without images."""
        colors, of_object = np.unique(np.array(rgba, np.int64), return_inverse=True)
        counts = np.diff(shapes.surface_ends, prepend=0)
        of_class = np.repeat(of_object.astype(np.int64), counts)
        kinds, materials = len(shapes.semantics), len(shapes.materials)
        key = (of_class * kinds + shapes.surface_semantics) * materials + shapes.surface_materials
        used, place = np.unique(key, return_inverse=True)
        table = np.empty(len(used), np.int64)
        for row, combined in enumerate(used.tolist()):
            rest, material = divmod(combined, materials)
            of, kind = divmod(rest, kinds)
            given = shapes.materials[material]
            shown = None if plain and given is not None and given.image else given
            table[row] = self.number(look_of(int(colors[of]), shapes.semantics[kind], shown))
        return table[place]


def look_of(rgba: int, semantic: str, material: Material | None) -> Look:
    """The look of a surface of an object of a class with this colour and opacity."""
    if material is not None:
        r, g, b, a = (round(min(max(v, 0.0), 1.0) * 255) for v in material.color)
        return Look((r, g, b, a), material.image, material.repeat and bool(material.image))
    rgb = _SEMANTICS.get(semantic) or rgba >> 8
    return Look((rgb >> 16, rgb >> 8 & 255, rgb & 255, rgba & 255))
