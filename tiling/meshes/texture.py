"""What a texture file says about itself in its first bytes: size and transparency, without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tim.geometry import EncodedImage

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that start a frame (ITU-T T.81, table B.1)."""


@dataclass(frozen=True, slots=True)
class TextureInfo:
    """Pixels and whether some may be transparent. An unreadable header gives the largest size there is."""

    width: int = 65535
    height: int = 65535
    alpha: bool = False


def texture_info(image: EncodedImage) -> TextureInfo:
    """Look into a JPEG or PNG header; anything else is taken as large and opaque."""
    data = memoryview(image.data)
    if image.mime == "image/jpeg":
        return _jpeg(data)
    if image.mime == "image/png" and len(data) >= 26:
        width, height, _, color = struct.unpack_from(">2I2B", data, 16)
        return TextureInfo(width, height, color in (4, 6))
    return TextureInfo()


def _jpeg(data: memoryview) -> TextureInfo:
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">2H", data, position + 5)
            return TextureInfo(width, height)
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return TextureInfo()
