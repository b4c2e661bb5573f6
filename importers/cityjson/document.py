"""The JSON of CityJSON: is it one, what does it say about itself, and its parts one after another (CityJSON 2.0.1, CityJSONSeq 2.0)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tim.geometry import F64

LARGEST = 1 << 30
"""Bytes of a CityJSON file or of one CityJSONSeq line that are read at once; it takes about eight times that in memory."""
VERSIONS = ("1.0", "1.1", "2.0")
_FARTHEST = 1e8
"""No coordinate on Earth is larger in any CRS; one that is must not decide where a whole file lies."""
_PEEK = 1 << 16
_SUFFIXES = {".json", ".jsonl", ".cityjson", ".cityjsonl"}
_METADATA = re.compile(r'"metadata"\s*:\s*(?=\{)')

Triple = tuple[float, float, float]


class Problem(Exception):
    """A text that is no sound CityJSON: a message code with its fields."""

    def __init__(self, code: str, **fields: Any) -> None:
        super().__init__(code)
        self.code, self.fields = code, fields


@dataclass(frozen=True, slots=True)
class Overview:
    """What a file says about itself."""

    version: str
    lines: bool
    """Whether it is CityJSONSeq."""
    crs: str
    """As written; empty where it names none."""
    low: Triple | None
    """As written, axes not exchanged."""
    high: Triple | None


@dataclass(frozen=True, slots=True)
class Document:
    """A CityJSON object, or one feature of a sequence with what its header says."""

    objects: Mapping[str, Any]
    vertices: F64
    """float64[n, 3], transformed, as written; those of no place on Earth are NaN."""
    appearance: Mapping[str, Any]
    templates: Mapping[str, Any]
    line: int = 0
    """From 1 in a sequence; 0 otherwise."""
    doubles: Sequence[str] = field(default=())
    """Names that stand twice in one JSON object."""


def sniffed(path: Path) -> bool:
    """Whether a file's name and its first and last bytes are those of CityJSON."""
    if path.suffix.lower() not in _SUFFIXES:
        return False
    try:
        head, tail = _ends(path)
    except OSError:
        return False
    if not head.lstrip("\ufeff \t\r\n").startswith("{"):
        return False
    return re.search(r'"type"\s*:\s*"CityJSON(Feature)?"', head + tail) is not None or '"CityObjects"' in head


def overview(path: Path) -> Overview:
    """Version, CRS and extent: from the metadata where they are complete, otherwise from the vertices. Raises Problem."""
    head, tail = _ends(path)
    if _is_lines(head):
        return _lines_overview(path)
    version = re.search(r'"version"\s*:\s*"([^"]*)"', head + tail)
    for text in (head, tail):
        for match in _METADATA.finditer(text):
            try:
                metadata, _ = json.JSONDecoder().raw_decode(text, match.end())
            except (ValueError, RecursionError):
                continue
            extent = _extent(metadata)
            if extent and metadata.get("referenceSystem") and version and version[1] in VERSIONS:
                return Overview(version[1], False, str(metadata["referenceSystem"]), *extent)
    top, _ = _whole(path)
    metadata = top.get("metadata")
    low, high = _extent(metadata) or _spanned([_vertices(top, top.get("transform"))])
    return Overview(_version(top), False, _reference(metadata), low, high)


def documents(path: Path, lines: bool) -> Iterator[Document | Problem]:
    """The file's documents; a line that cannot be used is a problem, and the lines after it are read on. Raises OSError."""
    if not lines:
        try:
            top, doubles = _whole(path)
            _version(top)
            yield _document(top, top, 0, doubles)
        except Problem as problem:
            yield problem
        return
    header: dict[str, Any] = {}
    for number, line in _numbered(path):
        try:
            top, doubles = _parsed(line)
            if top.get("type") == "CityJSON":
                _version(top)
                header = top
            if top.get("CityObjects"):
                yield _document(top, header, number, doubles)
        except Problem as problem:
            problem.fields = {**problem.fields, "line": number}
            yield problem


def _document(top: Mapping[str, Any], header: Mapping[str, Any], line: int, doubles: Sequence[str]) -> Document:
    objects = top.get("CityObjects")
    if not isinstance(objects, dict):
        raise Problem("cityjson.no-objects")
    appearance, templates = top.get("appearance") or header.get("appearance"), header.get("geometry-templates")
    return Document(
        objects, _vertices(top, header.get("transform")), appearance if isinstance(appearance, dict) else {},
        templates if isinstance(templates, dict) else {}, line, doubles,
    )  # fmt: skip


def _vertices(top: Mapping[str, Any], transform: object) -> F64:
    try:
        out: F64 = np.array(top.get("vertices") or [], np.float64).reshape(-1, 3)
        if transform is not None:
            assert isinstance(transform, dict)
            scale = np.array(transform["scale"], np.float64).reshape(3)
            out = out * scale + np.array(transform["translate"], np.float64).reshape(3)
    except (ValueError, TypeError, KeyError, AssertionError, OverflowError) as error:
        raise Problem("cityjson.bad-vertices", reason=str(error)[:120]) from None
    out[~(np.abs(out) < _FARTHEST).all(axis=1)] = np.nan
    return out


def _version(top: Mapping[str, Any]) -> str:
    version = str(top.get("version"))
    if version.startswith("1.0."):
        version = "1.0"
    if version not in VERSIONS:
        raise Problem("cityjson.version", version=version[:40])
    if (
        version != "1.0"
        and top.get("type") == "CityJSON"
        and not isinstance(top.get("transform"), dict)
        and _integers(top)
    ):
        raise Problem("cityjson.no-transform", version=version)
    return version


def _integers(top: Mapping[str, Any]) -> bool:
    """Whether the vertices can only be meant with a transform; some writers of 1.1 leave both it and the integers out."""
    vertices = top.get("vertices")
    return isinstance(vertices, list) and bool(vertices) and all(type(v) is int for row in vertices[:100] for v in row)


def _reference(metadata: object) -> str:
    if not isinstance(metadata, dict):
        return ""
    reference = metadata.get("referenceSystem") or ""
    return f"EPSG:{reference}" if isinstance(reference, int) else str(reference)


def _extent(metadata: object) -> tuple[Triple, Triple] | None:
    extent = metadata.get("geographicalExtent") if isinstance(metadata, dict) else None
    try:
        x0, y0, z0, x1, y1, z1 = (float(v) for v in extent or ())
    except (ValueError, TypeError, OverflowError):
        return None
    ordered = (
        -_FARTHEST < x0 <= x1 < _FARTHEST and -_FARTHEST < y0 <= y1 < _FARTHEST and -_FARTHEST < z0 <= z1 < _FARTHEST
    )
    return ((x0, y0, z0), (x1, y1, z1)) if ordered and (x0, y0) != (x1, y1) else None


def _spanned(parts: Iterator[F64] | Sequence[F64]) -> tuple[Triple | None, Triple | None]:
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for part in parts:
        good = part[np.isfinite(part).all(axis=1)]
        if len(good):
            low, high = np.minimum(low, good.min(axis=0)), np.maximum(high, good.max(axis=0))
    if not np.isfinite(low).all():
        return None, None
    (a, b, c), (d, e, f) = low.tolist(), high.tolist()
    return (a, b, c), (d, e, f)


def _lines_overview(path: Path) -> Overview:
    header: dict[str, Any] = {}
    for number, line in _numbered(path):
        try:
            header, _ = _parsed(line)
            version = _version(header)
        except Problem as problem:
            problem.fields = {**problem.fields, "line": number}
            raise
        break
    metadata = header.get("metadata")
    low, high = _extent(metadata) or _spanned(d.vertices for d in documents(path, True) if isinstance(d, Document))
    return Overview(version, True, _reference(metadata), low, high)


def _is_lines(head: str) -> bool:
    first, newline, _ = head.lstrip("\ufeff \r\n").partition("\n")
    return bool(newline) and first.rstrip().endswith("}") and re.search(r'"type"\s*:\s*"CityJSON"', first) is not None


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(LARGEST + 1):
            number += 1
            if line.strip():
                yield number, line


def _whole(path: Path) -> tuple[dict[str, Any], list[str]]:
    size = path.stat().st_size
    if size > LARGEST:
        raise Problem("cityjson.too-large", size=size, largest=LARGEST)
    return _parsed(path.read_bytes())


def _parsed(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """The object of a JSON text, and the names that stand twice in one object of it. NaN and Infinity, which are no JSON, become null."""
    doubles: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(found)
        if len(out) != len(found):
            doubles.extend(name for name, times in Counter(name for name, _ in found).items() if times > 1)
        return out

    if len(data) > LARGEST:
        raise Problem("cityjson.too-large", size=len(data), largest=LARGEST)
    try:
        top = json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs, parse_constant=lambda _: None)
    except RecursionError:
        raise Problem("cityjson.too-deep") from None
    except ValueError as error:
        raise Problem("cityjson.broken", reason=str(error)[:200]) from None
    if not isinstance(top, dict):
        raise Problem("cityjson.no-objects")
    return top, doubles


def _ends(path: Path) -> tuple[str, str]:
    with path.open("rb") as stream:
        head = stream.read(_PEEK)
        size = path.stat().st_size
        stream.seek(max(len(head), size - _PEEK))
        return head.decode("utf-8", "replace"), stream.read().decode("utf-8", "replace")
