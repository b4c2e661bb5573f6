"""State sets: textures, materials, and the attributes that must only be passed over. Property lists as in :mod:`importers.osgb.objects`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from importers.osgb.scene import Item, Material, StateSet, Texture

if TYPE_CHECKING:
    from importers.osgb.objects import SceneReader

_COLORS = struct.Struct("<?8f")


def state_set(reader: SceneReader, item: StateSet) -> None:
    """Modes, attributes, the same per texture unit, uniforms, bins; the texture of the lowest unit is kept."""
    stream = reader.stream
    if stream.flag():
        _mode_list(reader)
    if stream.flag():
        for attribute in _attribute_list(reader):
            if isinstance(attribute, Material):
                item.diffuse = attribute.diffuse
    if stream.flag():
        units = stream.count(4)
        stream.begin()
        for _ in range(units):
            _mode_list(reader)
    if stream.flag():
        units = stream.count(4)
        stream.begin()
        for _ in range(units):
            for attribute in _attribute_list(reader):
                if isinstance(attribute, Texture) and item.image is None:
                    item.image = attribute.image
    if stream.flag():
        size = stream.count(8)
        stream.begin()
        for _ in range(size):
            reader.object()
            stream.i32()
    stream.skip(12)  # rendering hint, bin mode, bin number
    stream.string()
    stream.flag()
    reader.optional()
    reader.optional()
    if stream.version >= 151 and stream.flag():
        size = stream.count(12)
        stream.begin()
        for _ in range(size):
            stream.string()
            stream.string()
            stream.i32()


def _mode_list(reader: SceneReader) -> None:
    stream = reader.stream
    if size := stream.count(8):
        stream.begin()
        stream.skip(8 * size)


def _attribute_list(reader: SceneReader) -> list[Item]:
    stream = reader.stream
    found = []
    if size := stream.count(8):
        stream.begin()
        for _ in range(size):
            item = reader.object()
            stream.i32()
            if item is not None:
                found.append(item)
    return found


def callbacks(reader: SceneReader, _: Any) -> None:
    """StateAttribute: two callbacks."""
    reader.optional()
    reader.optional()


def texture(reader: SceneReader, _: Any) -> None:
    """Texture: filters, formats, shadows; nothing we keep."""
    stream = reader.stream
    for _ in range(5):  # wrap S, T, R, minification, magnification
        if stream.flag():
            stream.u32()
    stream.skip(48)  # anisotropy, four flags, border colour, border width, internal format mode
    for _ in range(3):  # internal format, source format, source type
        if stream.flag():
            stream.u32()
    stream.skip(13)  # shadow comparison, function, mode, ambient
    if 95 <= stream.version <= 153 and stream.flag():
        stream.skip(21)
    if stream.version >= 98 and stream.flag():
        stream.string()
    if stream.version >= 155:
        stream.skip(12)


def texture_2d(reader: SceneReader, item: Texture) -> None:
    """The image, then width and height."""
    if reader.stream.flag():
        item.image = reader.image()
    reader.stream.skip(8)


def material(reader: SceneReader, item: Material) -> None:
    """Five colours, each for front and back."""
    stream = reader.stream
    stream.i32()
    for name in ("ambient", "diffuse", "specular", "emission"):
        if stream.flag():
            _, *front_back = stream.unpack(_COLORS)
            if name == "diffuse":
                item.diffuse = (front_back[0], front_back[1], front_back[2], front_back[3])
    if stream.flag():
        stream.skip(9)


def polygon_mode(reader: SceneReader, _: Any) -> None:
    """Front and back."""
    if reader.stream.flag():
        reader.stream.skip(9)
