"""A finished tile of points back into positions and attributes: for validation, tests and export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.spec import glb
from tim.geometry import F64


@dataclass(frozen=True, slots=True)
class DecodedPoints:
    """What a viewer sees."""

    position: F64
    """float64[n, 3]: metres in the dataset frame."""
    attributes: dict[str, NDArray[Any]]
    """``rgb`` uint8[n, 3], linear light as stored; the others as stored, with their offsets added (then float64); [n] or [n, k]."""


def decode_tile(data: bytes | memoryview) -> DecodedPoints:
    """Decode a glb of points. Raises ValueError where it breaks the format or holds no points."""
    tile = glb.parse(data)
    document = tile.json
    nodes = [n for n in document["nodes"] if "mesh" in n]
    if len(nodes) != 1:
        raise ValueError(f"a tile of points has one node with a mesh, not {len(nodes)}")
    (primitive,) = document["meshes"][nodes[0]["mesh"]]["primitives"]
    if primitive.get("mode") != 0:
        raise ValueError("the primitive does not draw points")
    matrix = np.array(nodes[0]["matrix"]).reshape(4, 4).T
    local = tile.accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
    y_up = local @ matrix[:3, :3].T + matrix[:3, 3]
    position = np.column_stack([y_up[:, 0], -y_up[:, 2], y_up[:, 1]])
    attributes: dict[str, NDArray[Any]] = {}
    if "COLOR_0" in primitive["attributes"]:
        attributes["rgb"] = tile.accessor(primitive["attributes"]["COLOR_0"])[:, :3]
    metadata = document.get("extensions", {}).get("EXT_structural_metadata", {})
    for index in primitive.get("extensions", {}).get("EXT_structural_metadata", {}).get("propertyAttributes", []):
        for name, item in metadata["propertyAttributes"][index]["properties"].items():
            values = tile.accessor(primitive["attributes"][item["attribute"]])
            values = values[:, 0] if values.shape[1] == 1 else values
            attributes[name] = values.astype(np.float64) + item["offset"] if "offset" in item else values
    return DecodedPoints(position, attributes)
