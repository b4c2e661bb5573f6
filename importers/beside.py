"""Files that lie beside a source and that it refers to by relative paths: images of textures. Nothing outside its folder is opened."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tim.errors import SourceError
from tim.model import Blob

_KNOWN = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
_LARGEST = 64 << 20
"""Bytes of an image file."""
_PIXELS = 1 << 26


@dataclass(slots=True)
class Images:
    """The images of one source, each read once."""

    folder: Path
    """Where the source lies."""
    blobs: list[Blob] = field(default_factory=list)
    """Read and not yet handed on."""
    _known: dict[str, tuple[str, str] | SourceError] = field(default_factory=dict)
    _given: set[str] = field(default_factory=set)

    def get(self, name: str) -> tuple[str, str]:
        """Content hash and MIME type of an image (JPEG, PNG, WebP as they are, others as PNG).

        Raises SourceError: ``city.image-outside``, ``city.image-missing``, ``city.image-unreadable``.
        """
        return self._once(name, lambda: self._read(name))

    def put(self, name: str, data: bytes) -> tuple[str, str]:
        """The same of an image that is in the source itself, by a name of its own. Raises SourceError ``city.image-unreadable``."""
        return self._once(name, lambda: self._take_in(data, name))

    def take(self) -> list[Blob]:
        """The blobs read since the last call."""
        out, self.blobs = self.blobs, []
        return out

    def _once(self, name: str, read: Callable[[], tuple[str, str]]) -> tuple[str, str]:
        if name not in self._known:
            try:
                self._known[name] = read()
            except SourceError as error:
                self._known[name] = error
        known = self._known[name]
        if isinstance(known, SourceError):
            raise known
        return known

    def _read(self, name: str) -> tuple[str, str]:
        path = inside(self.folder, name)
        if path is None:
            raise SourceError("city.image-outside", image=name)
        try:
            if path.stat().st_size > _LARGEST:
                raise SourceError("city.image-unreadable", image=name, reason=f"> {_LARGEST >> 20} MiB")
            data = path.read_bytes()
        except OSError as error:
            raise SourceError("city.image-missing", image=name, reason=error.strerror or "") from None
        return self._take_in(data, name)

    def _take_in(self, data: bytes, name: str) -> tuple[str, str]:
        data, mime = _sniffed(data, name)
        blob = Blob(data)
        if blob.content not in self._given:
            self._given.add(blob.content)
            self.blobs.append(blob)
        return blob.content, mime


def inside(folder: Path, name: str) -> Path | None:
    """The file that a relative path names, links followed; ``None`` where it lies outside ``folder`` or is no path at all."""
    relative = PurePosixPath(name.strip().replace("\\", "/"))
    if not relative.parts or relative.is_absolute() or ":" in relative.parts[0] or "\0" in name:
        return None
    root = folder.resolve()
    try:
        path = root.joinpath(*relative.parts).resolve()
    except (OSError, RuntimeError):
        return None
    return path if path.is_relative_to(root) else None


def _sniffed(data: bytes, name: str) -> tuple[bytes, str]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > _PIXELS:
                raise SourceError("city.image-unreadable", image=name, reason=f"{image.width} x {image.height}")
            mime = next((mime for magic, mime in _KNOWN if data.startswith(magic)), "")
            if not mime and image.format == "WEBP":
                mime = "image/webp"
            if mime:
                return data, mime
            out = io.BytesIO()
            image.convert("RGBA" if "A" in image.getbands() else "RGB").save(out, "PNG")
            return out.getvalue(), "image/png"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceError("city.image-unreadable", image=name, reason=type(error).__name__) from None
