"""Images: embedded files passed through, raw pixels encoded as PNG, files beside the scene."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from importers.osgb.stream import Stream
from tim.geometry import EncodedImage

if TYPE_CHECKING:
    from PIL import Image as Pillow

INLINE_PIXELS, INLINE_FILE = 0, 1
_PIXELS = struct.Struct("<9i")
_MODES: Final = {
    0x1903: ("L", "L"), 0x1906: ("L", "L"), 0x1907: ("RGB", "RGB"), 0x1908: ("RGBA", "RGBA"), 0x1909: ("L", "L"),
    0x190A: ("LA", "LA"), 0x80E0: ("RGB", "BGR"), 0x80E1: ("RGBA", "BGRA"),
}  # fmt: skip
"""GL pixel format to the modes of the image and of its raw rows."""
_BLOCKS: Final = {0x83F0: (1, 8), 0x83F1: (1, 8), 0x83F2: (2, 16), 0x83F3: (3, 16)}
"""GL S3TC format to its number in the BC family and bytes per 4x4 block."""
_UNSIGNED_BYTE = 0x1401


@dataclass(slots=True)
class Image:
    """An image as the file holds it, decoded only when asked for."""

    file: str
    """Name as stored; its extension says nothing reliable."""
    data: memoryview | None = None
    """An image file, or raw pixels where ``pixels`` is given; ``None`` where it lies beside the scene."""
    pixels: tuple[int, int, int, int, int] | None = None
    """Width, height, GL format, GL type, row alignment."""


def read_image(stream: Stream) -> Image:
    """The body of an image behind its unique id."""
    image = Image(stream.string())
    stream.i32()  # write hint
    decision = stream.i32()
    if decision == INLINE_PIXELS:
        _, width, height, _, _, pixel_format, kind, packing, _ = stream.unpack(_PIXELS)
        image.pixels = (width, height, pixel_format, kind, packing)
        image.data = stream.take(stream.u32())
        stream.skip(4 * stream.count(4))  # offsets of mipmaps, which lie behind the first level
    elif decision == INLINE_FILE:
        image.data = stream.take(stream.u32())
    return image


def encoded(data: bytes | memoryview) -> EncodedImage:
    """An image file as glTF takes it: JPEG, PNG and WebP untouched, anything else as PNG.

    Raises ValueError or OSError where it is no image.
    """
    head = bytes(data[:12])
    if head[:3] == b"\xff\xd8\xff":
        return EncodedImage("image/jpeg", data)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return EncodedImage("image/png", data)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return EncodedImage("image/webp", data)
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(data)) as picture:
        return _png(picture)


def encoded_pixels(image: Image) -> EncodedImage:
    """Raw pixels as PNG. Row 0 is at v = 0, the bottom, so rows are flipped. Raises ValueError for formats not read."""
    from PIL import Image as Pillow

    if image.pixels is None or image.data is None:
        raise ValueError("no pixels")
    width, height, pixel_format, kind, packing = image.pixels
    if not 0 < width <= 65536 or not 0 < height <= 65536:
        raise ValueError(f"{width} x {height} pixels")
    if pixel_format in _BLOCKS:
        number, block = _BLOCKS[pixel_format]
        size = (width + 3) // 4 * ((height + 3) // 4) * block
        data = _first(image.data, size)
        picture = Pillow.frombytes("RGBA", (width, height), data, "bcn", number)
    elif pixel_format in _MODES and kind == _UNSIGNED_BYTE:
        mode, raw = _MODES[pixel_format]
        row = width * len(raw)
        stride = row + -row % max(packing, 1)
        data = _first(image.data, stride * (height - 1) + row)
        picture = Pillow.frombytes(mode, (width, height), data, "raw", raw, stride)
    else:
        raise ValueError(f"pixel format {pixel_format:#x} of type {kind:#x}")
    return _png(picture.transpose(Pillow.Transpose.FLIP_TOP_BOTTOM))


def _first(data: memoryview, size: int) -> bytes:
    if size > len(data):
        raise ValueError(f"{size} bytes of pixels needed, {len(data)} there")
    return bytes(data[:size])


def _png(picture: Pillow.Image) -> EncodedImage:
    if picture.mode not in ("L", "LA", "RGB", "RGBA"):
        picture = picture.convert("RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB")
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=6)
    return EncodedImage("image/png", out.getvalue())
