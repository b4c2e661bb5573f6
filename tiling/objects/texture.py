"""The images of one tile: cut to what is used, packed into pages, or passed through.

What is used of an image is cut out, with a border so that filtering does not bleed, and packed with others into pages whose sides are
powers of two: JPEG, PNG where it has transparent pixels. An image used beyond its edges repeats and stays as it is, as does one that
is alone and mostly used.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tiling.objects.looks import Look
from tiling.spec.glb import GlbWriter
from tim.geometry import F64
from tim.shape import Problem

PAGE = 2048
"""Pixels of a page's sides at most."""
PAGES = 8
"""Of one tile; what does not fit is scaled down by halves."""
MOST_PIXELS = 1 << 26
BORDER = 4
_BLOCK = 16
"""Pieces lie on multiples of it: a JPEG block then belongs to one piece."""
_FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_REPEAT, _CLAMP, _LINEAR, _MIPMAPS = 10497, 33071, 9729, 9987


@dataclass(frozen=True, slots=True)
class Skin:
    """What a look became: a material of the glb."""

    material: int
    color: tuple[int, int, int, int]
    textured: bool = False
    repeats: bool = False
    window: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)
    """Factors and offsets from texture coordinates of the image to those of its page."""


@dataclass(slots=True)
class _Use:
    """What is used of an image, in its texture coordinates."""

    low: F64
    high: F64


@dataclass(frozen=True, slots=True)
class _Head:
    """What is known of an image without its pixels."""

    width: int
    height: int
    kind: str
    alpha: bool
    """Whether any pixel is transparent."""


@dataclass(slots=True)
class _Piece:
    """A part of an image on its way into a page."""

    hash: str
    window: F64
    """float64[4]: u0, v0, u1, v1 of the part in the image."""
    width: int
    """Pixels it will have."""
    height: int
    page: int = 0
    x: int = 0
    y: int = 0


def add_skins(
    writer: GlbWriter, looks: Sequence[Look], used: Sequence[tuple[F64, F64] | None], blobs: Callable[[str], bytes],
) -> tuple[list[Skin], list[Problem]]:  # fmt: skip
    """The materials of some looks.

    used: lowest and highest folded texture coordinates of each look; ``None`` where it has none, so that its image cannot be drawn.
    """
    return _Skins(writer, blobs).make(looks, used)


class _Skins:
    def __init__(self, writer: GlbWriter, blobs: Callable[[str], bytes]) -> None:
        self.writer, self.blobs = writer, blobs
        self.problems: list[Problem] = []
        self.materials: dict[tuple[int | None, str], int] = {}
        self.heads: dict[str, _Head | None] = {}

    def make(self, looks: Sequence[Look], used: Sequence[tuple[F64, F64] | None]) -> tuple[list[Skin], list[Problem]]:
        uses: dict[str, _Use] = {}
        repeated: set[int] = set()
        for number, (look, span) in enumerate(zip(looks, used, strict=True)):
            if not look.image or span is None:
                continue
            if look.repeat and float(span[1].max()) > 1.001:
                repeated.add(number)
                continue
            low, high = np.clip(span[0], 0, 1), np.clip(span[1], 0, 1)
            use = uses.setdefault(look.image, _Use(low, high))
            use.low, use.high = np.minimum(use.low, low), np.maximum(use.high, high)
        windows = self._pages(uses)
        whole = {looks[n].image: self._whole(looks[n].image, repeat=True) for n in sorted(repeated)}
        skins = []
        for number, look in enumerate(looks):
            texture = (
                whole[look.image]
                if number in repeated
                else windows.get(look.image)
                if used[number] is not None
                else None
            )
            clear = look.color[3] < 255
            if texture is None:
                skins.append(Skin(self._material(None, "BLEND" if clear else "OPAQUE"), look.color))
                continue
            index, alpha, window = texture
            mode = "BLEND" if clear else "MASK" if alpha else "OPAQUE"
            skins.append(Skin(self._material(index, mode), look.color, True, number in repeated, window))
        return skins, self.problems

    def _pages(self, uses: dict[str, _Use]) -> dict[str, tuple[int, bool, tuple[float, float, float, float]] | None]:
        """Texture, transparency and window of each image."""
        heads = {name: head for name in sorted(uses) if (head := self._head(name)) is not None}
        whole = {
            name for name, head in heads.items()
            if float(np.prod(uses[name].high - uses[name].low)) > 0.5 and (len(heads) == 1 or min(head.width, head.height) >= PAGE // 2)
        }  # fmt: skip
        if sum(min(heads[name].width * heads[name].height, PAGE * PAGE) for name in whole) > PAGES * PAGE * PAGE:
            whole = set()
        out = {name: self._whole(name, repeat=False) for name in sorted(whole)}
        for alpha in (False, True):
            pieces = [
                _piece(name, head, uses[name])
                for name, head in heads.items()
                if name not in whole and head.alpha == alpha
            ]
            out.update(self._packed(pieces, alpha))
        return out

    def _head(self, name: str) -> _Head | None:
        """Of an image that is sound as far as can be told and not too large; a problem otherwise, once."""
        if name not in self.heads:
            self.heads[name] = None
            opened = self._open(name)
            if opened is not None:
                picture, _ = opened
                width, height, kind = *picture.size, _FORMATS[str(picture.format)]
                pixels = self._pixels(name, picture) if _may_be_clear(picture) else None
                self.heads[name] = _Head(width, height, kind, pixels is not None and pixels.mode == "RGBA")
        return self.heads[name]

    def _open(self, name: str) -> tuple[Image.Image, bytes] | None:
        """An image not yet decoded, and its bytes. Neither is kept: a tile may use more of them than memory holds."""
        try:
            data = bytes(self.blobs(name))
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                picture = Image.open(io.BytesIO(data), formats=tuple(_FORMATS))
            if picture.width * picture.height > MOST_PIXELS:
                raise Image.DecompressionBombWarning
            return picture, data
        except KeyError:
            self._problem("objects.image-missing", {"image": name})
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            self._problem("objects.image-too-large", {"image": name, "megapixels": MOST_PIXELS >> 20})
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            self._bad(name, error)
        return None

    def _bad(self, name: str, error: Exception) -> None:
        reason = "no JPEG, PNG or WebP" if isinstance(error, UnidentifiedImageError) else str(error)
        self._problem("objects.image-broken", {"image": name, "reason": reason[:200]})

    def _problem(self, code: str, fields: dict[str, Any]) -> None:
        if (code, fields) not in self.problems:
            self.problems.append((code, fields))

    def _pixels(self, name: str, picture: Image.Image) -> Image.Image | None:
        """RGB, or RGBA where anything is transparent; decoding may still fail."""
        clear = _may_be_clear(picture)
        try:
            pixels = picture.convert("RGBA" if clear else "RGB")
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            self._bad(name, error)
            return None
        return pixels.convert("RGB") if clear and pixels.getchannel("A").getextrema()[0] == 255 else pixels

    def _whole(self, name: str, *, repeat: bool) -> tuple[int, bool, tuple[float, float, float, float]] | None:
        """An image as it came."""
        head = self._head(name)
        opened = self._open(name) if head else None
        pixels = self._pixels(name, opened[0]) if opened else None
        if head is None or opened is None or pixels is None:
            return None
        kind, data = head.kind, opened[1]
        if max(head.width, head.height) > 2 * PAGE:  # more than many graphics cards take
            pixels.thumbnail((PAGE, PAGE))
            kind, data = _file(pixels, head.alpha)
        return self._texture(kind, data, _REPEAT if repeat else _CLAMP), head.alpha, (1.0, 1.0, 0.0, 0.0)

    def _packed(
        self, pieces: list[_Piece], alpha: bool
    ) -> dict[str, tuple[int, bool, tuple[float, float, float, float]]]:
        if not pieces:
            return {}
        sizes, reduced = _pack(pieces), 0
        while len(sizes) > PAGES:
            reduced += 1
            for piece in pieces:
                piece.width, piece.height = max(1, piece.width // 2), max(1, piece.height // 2)
            sizes = _pack(pieces)
        if reduced:
            self._problem("objects.images-reduced", {"images": len(pieces), "factor": 2**reduced})
        out = {}
        for number, size in enumerate(sizes):
            page = Image.new("RGBA" if alpha else "RGB", size)
            own = [piece for piece in pieces if piece.page == number and self._pasted(piece, page)]
            if not own:
                continue
            texture = self._texture(*_file(page, alpha), _CLAMP)
            sides = np.array(size, np.float64)
            for piece in own:
                scale = np.array([piece.width, piece.height]) / (piece.window[2:] - piece.window[:2]) / sides
                offset = (np.array([piece.x, piece.y]) + BORDER) / sides - piece.window[:2] * scale
                out[piece.hash] = texture, alpha, (*scale.tolist(), *offset.tolist())
        return out

    def _pasted(self, piece: _Piece, page: Image.Image) -> bool:
        """Put a piece where it belongs; whether its image could be read."""
        opened = self._open(piece.hash)
        if opened is None:
            return False
        picture, _ = opened
        share = piece.window[2:] - piece.window[:2]
        wanted = np.ceil([piece.width, piece.height] / share).astype(int)
        picture.draft(None, (int(wanted[0]), int(wanted[1])))  # a JPEG can be decoded at half its size, a quarter, …
        pixels = self._pixels(piece.hash, picture)
        if pixels is None:
            return False
        edges = np.rint(piece.window * np.tile(pixels.size, 2)).astype(int).tolist()
        part = pixels.convert(page.mode).crop(
            (edges[0], edges[1], max(edges[2], edges[0] + 1), max(edges[3], edges[1] + 1))
        )
        if part.size != (piece.width, piece.height):
            part = part.resize((piece.width, piece.height), Image.Resampling.BICUBIC)
        page.paste(_bordered(part), (piece.x, piece.y))
        return True

    def _texture(self, kind: str, data: bytes, wrap: int) -> int:
        samplers = self.writer.json.setdefault("samplers", [])
        sampler = {"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": wrap, "wrapT": wrap}
        if sampler not in samplers:
            samplers.append(sampler)
        source = self.writer.image(kind, data)
        texture: dict[str, Any] = {"sampler": samplers.index(sampler)}
        if kind == "image/webp":
            texture["extensions"] = {"EXT_texture_webp": {"source": source}}
        else:
            texture["source"] = source
        return self.writer.add("textures", texture)

    def _material(self, texture: int | None, mode: str) -> int:
        key = (texture, mode)
        if key not in self.materials:
            surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
            material: dict[str, Any] = {"pbrMetallicRoughness": surface, "doubleSided": True}
            if texture is not None:  # its light is in the photographs
                surface["baseColorTexture"] = {"index": texture}
                self.writer.extension("KHR_materials_unlit")
                material["extensions"] = {"KHR_materials_unlit": {}}
            if mode != "OPAQUE":
                material["alphaMode"] = mode
            self.materials[key] = self.writer.add("materials", material)
        return self.materials[key]


def _may_be_clear(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info


def _piece(name: str, head: _Head, use: _Use) -> _Piece:
    """What is used of an image, on whole pixels and no wider than a page."""
    size = np.array([head.width, head.height], np.float64)
    low = np.clip(np.floor(use.low * size), 0, size - 1)
    high = np.clip(np.ceil(use.high * size), low + 1, size)
    pixels = high - low
    fitting = np.maximum(np.floor(pixels * min(1.0, (PAGE - 2 * BORDER) / pixels.max())), 1).astype(int)
    return _Piece(name, np.concatenate([low / size, high / size]), int(fitting[0]), int(fitting[1]))


def _pack(pieces: list[_Piece]) -> list[tuple[int, int]]:
    """Give every piece its page and place; the sizes of the pages. The smallest page that takes all, otherwise full ones."""
    order = sorted(pieces, key=lambda p: (-p.height, -p.width, p.hash))
    area = sum(_side(p.width) * _side(p.height) for p in order)
    side = 64
    while side <= PAGE:
        for width, height in ((side, side), (side * 2, side)):
            if width <= PAGE and width * height >= area and not _shelves(order, 0, width, height):
                return [(width, height)]
        side *= 2
    sizes: list[tuple[int, int]] = []
    while order:
        order = _shelves(order, len(sizes), PAGE, PAGE)
        sizes.append((PAGE, PAGE))
    return sizes


def _shelves(order: list[_Piece], page: int, width: int, height: int) -> list[_Piece]:
    """Place what fits in rows, tallest first; give back the rest."""
    x = y = shelf = 0
    left = []
    for piece in order:
        w, h = _side(piece.width), _side(piece.height)
        if x + w > width:
            x, y, shelf = 0, y + shelf, 0
        if w > width or y + h > height:
            left.append(piece)
            continue
        piece.page, piece.x, piece.y = page, x, y
        x, shelf = x + w, max(shelf, h)
    return left


def _side(pixels: int) -> int:
    return -(-(pixels + 2 * BORDER) // _BLOCK) * _BLOCK


def _bordered(picture: Image.Image) -> Image.Image:
    """Its edges continued, up to the room a piece takes."""
    pixels = np.asarray(picture)
    width, height = (_side(side) - side - BORDER for side in picture.size)
    return Image.fromarray(np.pad(pixels, ((BORDER, height), (BORDER, width), (0, 0)), mode="edge"))


def _file(picture: Image.Image, alpha: bool) -> tuple[str, bytes]:
    out = io.BytesIO()
    if alpha:
        picture.save(out, "PNG")
        return "image/png", out.getvalue()
    picture.save(out, "JPEG", quality=85)
    return "image/jpeg", out.getvalue()
