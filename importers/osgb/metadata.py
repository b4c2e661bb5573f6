"""``metadata.xml`` of photogrammetry productions: the CRS and the origin that all coordinates are relative to."""

from __future__ import annotations

import re
from pathlib import Path
from xml.parsers import expat

from tim.errors import CorruptSource
from tim.place.resolve import FoundCrs

NAME = "metadata.xml"
_LARGEST = 1 << 20
_PLACELESS = re.compile(r"^(local|unknown|none|null|arbitrary)?(\s*cs|\s*:.*)?$", re.IGNORECASE)
_COMPOUND = re.compile(r"^EPSG:\s*(\d+)\s*\+\s*(?:EPSG:\s*)?(\d+)$", re.IGNORECASE)
_EPSG = re.compile(r"^(?:urn:ogc:def:crs:)?EPSG:{1,2}\s*(\d+)$", re.IGNORECASE)
_ENU = re.compile(r"^ENU\s*:\s*([-+\d.eE]+)\s*,\s*([-+\d.eE]+)(?:\s*,\s*([-+\d.eE]+))?$", re.IGNORECASE)


def read_metadata(path: Path, name: str) -> FoundCrs:
    """What a ``metadata.xml`` says; ``name`` is what messages call it.

    Raises CorruptSource where it is no well-formed XML, declares entities, or its origin is no numbers.
    """
    try:
        raw = path.read_bytes()[: _LARGEST + 1]
    except OSError as error:
        raise CorruptSource("osgb.metadata", file=name, reason=error.strerror or str(error)) from error
    if len(raw) > _LARGEST:
        raise CorruptSource("osgb.metadata", file=name, reason="larger than 1 MiB")
    texts = _texts(raw, name)
    srs = texts.get("srs", "").strip()
    return _found(srs, _origin(texts.get("srsorigin", ""), name), name)


def find_metadata(folder: Path) -> Path | None:
    """The ``metadata.xml`` of a folder, in it or in one of the two above it."""
    return next(filter(None, map(own_metadata, (folder, *folder.absolute().parents[:2]))), None)


def own_metadata(folder: Path) -> Path | None:
    """The ``metadata.xml`` that lies in a folder itself, in any case."""
    try:
        return min((p for p in folder.iterdir() if p.name.lower() == NAME and p.is_file()), default=None)
    except OSError:
        return None


def _found(srs: str, origin: tuple[float, float, float], name: str) -> FoundCrs:
    if _PLACELESS.match(srs):
        return FoundCrs(origin=origin, where=name)
    if match := _COMPOUND.match(srs):
        return FoundCrs(f"EPSG:{match[1]}", f"EPSG:{match[2]}", origin, name)
    if match := _EPSG.match(srs):
        return FoundCrs(f"EPSG:{match[1]}", None, origin, name)
    if match := _ENU.match(srs):
        return FoundCrs("ENU:" + ",".join(part for part in match.groups() if part), None, origin, name)
    # WKT may be broken into lines anywhere between its tokens.
    return FoundCrs(re.sub(r"\s*[\r\n]+\s*", "", srs), None, origin, name)


def _origin(text: str, name: str) -> tuple[float, float, float]:
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    if not parts:
        return 0.0, 0.0, 0.0
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) not in (2, 3) or not all(abs(v) < 1e9 for v in values):
        raise CorruptSource("osgb.metadata", file=name, reason=f"SRSOrigin {text.strip()[:80]!r}")
    return values[0], values[1], values[2] if len(values) == 3 else 0.0


def _texts(raw: bytes, name: str) -> dict[str, str]:
    """Text by lower-case element name. Entities are refused: they can name other files or grow without bound."""
    texts: dict[str, list[str]] = {}
    open_elements: list[str] = []
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise CorruptSource("osgb.metadata", file=name, reason="it declares entities")

    def start(element: str, _: object) -> None:
        open_elements.append(element.lower())

    def end(_: str) -> None:
        open_elements.pop()

    def text(data: str) -> None:
        if open_elements:
            texts.setdefault(open_elements[-1], []).append(data)

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    try:
        parser.Parse(raw, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise CorruptSource("osgb.metadata", file=name, reason=str(error)[:80]) from error
    return {element: "".join(parts) for element, parts in texts.items()}
