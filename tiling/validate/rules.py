"""Structural rules of tileset JSON (3D Tiles 1.1 §6 and its schemas), as checks that never trust a type."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import pi
from typing import Any, TypeGuard

import numpy as np

Fault = tuple[str, str, dict[str, Any]]
"""Issue code, JSON pointer below what was checked, fields."""

KNOWN_EXTENSIONS = frozenset({
    "3DTILES_content_gltf", "3DTILES_implicit_tiling", "3DTILES_metadata", "3DTILES_multiple_contents", "3DTILES_bounding_volume_S2",
})  # fmt: skip
MAX_SUBTREE_LEVELS = 8
"""Deeper subtrees would have more than two million tiles (16 MB of bits for their children)."""


def load(data: bytes) -> Any:
    """Parse JSON strictly. Raises ValueError for anything that is not JSON (NaN included) or nests too deeply."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def document_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of a tileset's own members, without its tiles."""
    asset = document.get("asset")
    if not isinstance(asset, dict):
        yield "missing-field" if asset is None else "wrong-field", "/asset", {"field": "asset", "expected": "object"}
    elif asset.get("version") not in ("1.0", "1.1"):
        yield "wrong-field", "/asset/version", {"field": "asset.version", "expected": '"1.1"'}
    yield from _number(document, "geometricError", "")
    if not isinstance(document.get("root"), dict):
        yield (
            "missing-field" if "root" not in document else "wrong-field",
            "/root",
            {"field": "root", "expected": "object"},
        )
    if "schema" in document and "schemaUri" in document:
        yield "wrong-field", "/schema", {"field": "schema", "expected": "schema | schemaUri"}
    if "schema" in document and not (
        isinstance(document["schema"], dict) and isinstance(document["schema"].get("id"), str)
    ):
        yield "wrong-field", "/schema", {"field": "schema", "expected": "object with id"}
    for name in ("extensionsUsed", "extensionsRequired"):
        value = document.get(name, ["-"])
        if not (
            isinstance(value, list)
            and value
            and all(isinstance(v, str) for v in value)
            and len(set(value)) == len(value)
        ):
            yield "wrong-field", f"/{name}", {"field": name, "expected": "string[1..], unique"}
            return
    used, required = document.get("extensionsUsed", []), document.get("extensionsRequired", [])
    for name in required:
        if name not in used:
            yield "wrong-field", "/extensionsUsed", {"field": "extensionsUsed", "expected": name}
        if name not in KNOWN_EXTENSIONS:
            yield "extension-unknown", "/extensionsRequired", {"extension": name}


def tile_faults(tile: Mapping[str, Any], *, root: bool) -> Iterator[Fault]:
    """Faults of one tile, without its children."""
    if "boundingVolume" not in tile:
        yield "missing-field", "/boundingVolume", {"field": "boundingVolume", "expected": "object"}
    else:
        yield from volume_faults(tile["boundingVolume"], "/boundingVolume")
    yield from _number(tile, "geometricError", "")
    if root and "refine" not in tile:
        yield "missing-field", "/refine", {"field": "refine", "expected": "ADD | REPLACE"}
    if "refine" in tile and tile["refine"] not in ("ADD", "REPLACE"):
        yield "wrong-field", "/refine", {"field": "refine", "expected": "ADD | REPLACE"}
    if "transform" in tile:
        yield from _transform_faults(tile["transform"])
    if "viewerRequestVolume" in tile:
        yield from volume_faults(tile["viewerRequestVolume"], "/viewerRequestVolume")
    if "content" in tile and "contents" in tile:
        yield "wrong-field", "/contents", {"field": "contents", "expected": "content | contents"}
    contents = tile.get("contents", [])
    if not isinstance(contents, list) or ("contents" in tile and not contents):
        yield "wrong-field", "/contents", {"field": "contents", "expected": "object[1..]"}
        contents = []
    named = [("/content", tile["content"])] if "content" in tile else []
    for at, content in [*named, *((f"/contents/{i}", c) for i, c in enumerate(contents))]:
        if not isinstance(content, dict) or not isinstance(content.get("uri"), str) or not content["uri"]:
            yield "wrong-field", f"{at}/uri", {"field": "content.uri", "expected": "string"}
        elif "boundingVolume" in content:
            yield from volume_faults(content["boundingVolume"], f"{at}/boundingVolume")
    children = tile.get("children", [{}])
    if not isinstance(children, list) or not children or not all(isinstance(c, dict) for c in children):
        yield "wrong-field", "/children", {"field": "children", "expected": "object[1..]"}
    if "implicitTiling" in tile:
        yield from _implicit_faults(tile)


def volume_faults(volume: Any, at: str) -> Iterator[Fault]:
    """Faults of a bounding volume."""
    if not isinstance(volume, dict) or not volume:
        yield "wrong-field", at, {"field": "boundingVolume", "expected": "object"}
        return
    for name, length in (("box", 12), ("region", 6), ("sphere", 4)):
        if name in volume and not numbers(volume[name], length):
            yield "wrong-field", f"{at}/{name}", {"field": name, "expected": f"number[{length}]"}
            return
    if "sphere" in volume and volume["sphere"][3] < 0:
        yield "wrong-field", f"{at}/sphere", {"field": "sphere", "expected": "radius >= 0"}
    if "region" in volume:
        west, south, east, north, low, high = volume["region"]
        slack = 1e-9
        good = -pi - slack <= min(west, east) and max(west, east) <= pi + slack
        if not good or not (-pi / 2 - slack <= south <= north <= pi / 2 + slack) or low > high:
            yield (
                "wrong-field",
                f"{at}/region",
                {"field": "region", "expected": "[west, south, east, north, low, high], radians"},
            )


def numbers(value: Any, length: int) -> bool:
    """Whether a value is a list of so many finite numbers."""
    return isinstance(value, list) and len(value) == length and all(map(number, value))


def number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number one can calculate with: metres beyond 1e50 are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e50


def _transform_faults(value: Any) -> Iterator[Fault]:
    if not numbers(value, 16):
        yield "wrong-field", "/transform", {"field": "transform", "expected": "number[16]"}
        return
    matrix = np.array(value, np.float64).reshape(4, 4).T
    if not np.array_equal(matrix[3], [0, 0, 0, 1]) or not abs(np.linalg.det(matrix[:3, :3])) > 1e-12:
        yield "wrong-field", "/transform", {"field": "transform", "expected": "affine, invertible"}


def _implicit_faults(tile: Mapping[str, Any]) -> Iterator[Fault]:
    at, implicit = "/implicitTiling", tile["implicitTiling"]
    if not isinstance(implicit, dict):
        yield "wrong-field", at, {"field": "implicitTiling", "expected": "object"}
        return
    if implicit.get("subdivisionScheme") not in ("QUADTREE", "OCTREE"):
        yield "wrong-field", f"{at}/subdivisionScheme", {"field": "subdivisionScheme", "expected": "QUADTREE | OCTREE"}
    for name, most in (("subtreeLevels", MAX_SUBTREE_LEVELS), ("availableLevels", 64)):
        value = implicit.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            yield "wrong-field", f"{at}/{name}", {"field": name, "expected": f"1..{most}"}
    subtrees = implicit.get("subtrees")
    if not isinstance(subtrees, dict) or not isinstance(subtrees.get("uri"), str):
        yield "wrong-field", f"{at}/subtrees/uri", {"field": "subtrees.uri", "expected": "string"}
    if "children" in tile:
        yield "wrong-field", "/children", {"field": "children", "expected": "implicitTiling | children"}
    volume = tile.get("boundingVolume")
    if isinstance(volume, dict) and not {"box", "region", "extensions"} & volume.keys():
        yield "wrong-field", "/boundingVolume", {"field": "boundingVolume", "expected": "box | region"}


def _number(owner: Mapping[str, Any], name: str, at: str) -> Iterator[Fault]:
    if name not in owner:
        yield "missing-field", f"{at}/{name}", {"field": name, "expected": "number >= 0"}
    elif not number(owner[name]) or owner[name] < 0:
        yield "wrong-field", f"{at}/{name}", {"field": name, "expected": "number >= 0"}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
