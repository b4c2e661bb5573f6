"""The XML of a CityGML file, safely: no entities, no network, one top-level feature in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lxml import etree

from importers.citygml.names import HREF, Element, gml_id, local
from importers.citygml.versions import HELD, HOLDERS, NOTED, Versions
from tim.geometry import F32, F64

_HEAD = 1 << 16
_KEPT = 100_000
"""Elements that other features refer to, at most."""
_MEMBERS = {
    "cityObjectMember",
    "featureMember",
    "featureMembers",
    "versionMember",
    "versionTransitionMember",
    "appearanceMember",
}
_CODELIST = re.compile(r"(?:\.\./){0,5}codelists/[^/\\:]+\.xml")
_SAFE = {"resolve_entities": False, "no_network": True, "huge_tree": False, "load_dtd": False}
_SHARED = re.compile(r"Surface|Polygon|Solid|Point|Curve|Line|Ring|Triangle|Geometry|T(?:in|IN)$|Door$|Window$")
"""Elements that other members may refer to for what they draw."""


def head(path: Path) -> str:
    """The first 64 KiB of a CityGML file as text; empty where it is none."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_HEAD)
    except OSError:
        return ""
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    known = re.search(r"<(?:\w+:)?CityModel[\s>]", text) and "opengis.net/citygml" in text
    return text if known else ""


def extent(path: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """Native extent by all coordinates of a file whose head does not say it."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    try:
        for _, element in etree.iterparse(str(path), events=("end",), **_SAFE):
            if local(element) in ("posList", "pos") and (points := numbers(element.text, 3)) is not None:
                low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
            if local(element) in _MEMBERS:
                element.clear()
    except (etree.XMLSyntaxError, OSError):
        pass
    if not np.isfinite([low, high]).all():
        return None
    return tuple(low.tolist()), tuple(high.tolist())


def numbers(text: str | None, dimension: int) -> F64 | None:
    """float64[n, 3] of a list of coordinates (height 0 where they have two); ``None`` where it is none."""
    try:
        values = np.array((text or "").split(), dtype=np.float64)
    except ValueError:
        return None
    if dimension not in (2, 3) or not len(values) or len(values) % dimension or not np.isfinite(values).all():
        return None
    points: F64 = values.reshape(-1, dimension)
    return points if dimension == 3 else np.column_stack([points, np.zeros(len(points))])


@dataclass(slots=True)
class References:
    """What features refer to: by ids, without ``#``."""

    textures: dict[str, tuple[str, F32]] = field(default_factory=dict)
    """By ring: image and float32[n, 2], v up."""
    colors: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    """By surface."""
    elements: dict[str, Element] = field(default_factory=dict)
    """Surfaces of other features."""
    versions: Versions = field(default_factory=Versions)


def members(path: Path) -> Iterator[Element]:
    """The elements that hold features, one after the other; each is emptied after it was used. Raises XMLSyntaxError with a line."""
    root: Element = None
    depth = 0
    for event, element in etree.iterparse(str(path), events=("start", "end"), **_SAFE):
        depth += 1 if event == "start" else -1
        if root is None:
            root = element
        if event == "end" and depth == 1 and local(element) in _MEMBERS:
            yield element
            element.clear()
            while element.getprevious() is not None:
                del root[0]


def features(holder: Element) -> Iterator[Element]:
    """The features in a member, versions among them, and those that stand in a version or a transition instead of being linked from there."""
    for element in holder.iterchildren(etree.Element):
        kind = local(element)
        if kind not in HOLDERS or kind == "Version":
            yield element
        if kind not in HOLDERS:
            continue
        for prop in element.iterchildren(etree.Element):
            if local(prop) in HELD:
                yield from features(prop)


def references(path: Path) -> References:
    """The first reading. A file that breaks gives what stands before."""
    out, foreign = References(), set[str]()
    try:
        for member in members(path):
            ids, hrefs = set(), set()
            for element in member.iter(etree.Element):
                ids.add(gml_id(element))
                if (href := element.get(HREF) or "").startswith("#"):
                    hrefs.add(href[1:])
                match local(element):
                    case "ParameterizedTexture":
                        _texture(element, out)
                    case "X3DMaterial":
                        _color(element, out)
                    case kind if kind in NOTED:
                        out.versions.note(element)
            if len(foreign) < _KEPT:
                foreign |= hrefs - ids
        if foreign:
            for member in members(path):
                _keep(member, foreign, out)
    except etree.XMLSyntaxError:
        pass  # the second reading says so
    return out


def codelist(folder: Path, name: str) -> dict[str, str]:
    """Descriptions by code of a list in a folder ``codelists`` at or above the file's; empty where there is none."""
    if not _CODELIST.fullmatch(name):
        return {}
    path = (folder / name).resolve()
    try:
        if path.parent != (folder / name).parent.resolve() or path.stat().st_size > 16 << 20:
            return {}
        tree = etree.parse(str(path), etree.XMLParser(**_SAFE))
    except (OSError, etree.XMLSyntaxError):
        return {}
    out = {}
    for definition in tree.iter("{*}Definition"):
        code, text = definition.findtext("{*}name"), definition.findtext("{*}description")
        if code and text:
            out[code.strip()] = text.strip()
    return out


def _keep(member: Element, foreign: set[str], out: References) -> None:
    """What others draw of a member, and what that refers to in turn."""
    own = {gml_id(element): element for element in member.iter(etree.Element)}
    waiting = [name for name in own if name in foreign]
    while waiting:
        name = waiting.pop()
        element = own.get(name)
        if name in out.elements or element is None or not _SHARED.search(local(element)):
            continue
        out.elements[name] = deepcopy(element)
        links = (inner.get(HREF) or "" for inner in element.iter(etree.Element))
        waiting += [link[1:] for link in links if link.startswith("#")]


def _texture(element: Element, out: References) -> None:
    image = (element.findtext("{*}imageURI") or "").strip()
    for item in element.iter("{*}textureCoordinates"):
        try:
            uv = np.array((item.text or "").split(), np.float32)
        except ValueError:
            continue
        if image and len(uv) % 2 == 0 and np.isfinite(uv).all():
            out.textures[(item.get("ring") or "").removeprefix("#")] = image, uv.reshape(-1, 2)


def _color(element: Element, out: References) -> None:
    values = numbers(element.findtext("{*}diffuseColor"), 3)
    if values is None:
        return
    r, g, b = np.clip(values[0], 0, 1).tolist()
    try:
        clear = float(element.findtext("{*}transparency") or 0)
    except ValueError:
        clear = 0.0
    for target in element.iterfind("{*}target"):
        name = (target.text or target.get("uri") or "").strip().removeprefix("#")
        out.colors[name] = (r, g, b, min(max(1 - clear, 0.0), 1.0))
