"""Where the meshes of a glTF scene stand (glTF 2.0 §3.5.2), also those of EXT_mesh_gpu_instancing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.spec.glb import Glb
from tim.geometry import F64, composed

FULL_SCALE: Mapping[int, float] = {5120: 127.0, 5121: 255.0, 5122: 32767.0, 5123: 65535.0}
"""What a normalised integer of a component type is divided by (glTF 2.0 §3.6.2.2)."""
INSTANCING = "EXT_mesh_gpu_instancing"


def placed_meshes(
    document: Glb, readable: Callable[[int], bool] = lambda _: True
) -> Iterator[tuple[Mapping[str, Any], F64 | None]]:
    """Every mesh of the scene with float64[k, 4, 4]: mesh to scene coordinates, for each time it stands there.

    ``None`` instead where an accessor decides about it that is not ``readable``. Raises ValueError where a node has two parents, and what :meth:`Glb.accessor` raises.
    """
    top = document.json
    nodes = top.get("nodes", [])
    scenes = top.get("scenes", [])
    first = scenes[top.get("scene", 0)].get("nodes", []) if scenes else range(len(nodes))
    shift = np.eye(4)
    if center := top.get("extensions", {}).get("CESIUM_RTC", {}).get("center"):
        shift[:3, 3] = center
    stack: list[tuple[int, F64]] = [(number, shift) for number in first]
    seen: set[int] = set()
    while stack:
        number, above = stack.pop()
        if number in seen or number < 0:
            raise ValueError(f"node {number} has two parents")
        seen.add(number)
        node = nodes[number]
        matrix = above @ node_matrix(node)
        if "mesh" in node:
            instancing = node.get("extensions", {}).get(INSTANCING)
            if instancing is None:
                yield top["meshes"][node["mesh"]], matrix[None]
            elif all(readable(accessor) for accessor in instancing["attributes"].values()):
                yield top["meshes"][node["mesh"]], matrix @ _instances(document, instancing["attributes"])
            else:
                yield top["meshes"][node["mesh"]], None
        stack.extend((child, matrix) for child in node.get("children", []))


def node_matrix(node: Mapping[str, Any]) -> F64:
    """float64[4, 4]: the transform of one node."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    parts = [node.get(name, plain) for name, plain in _PLAIN.items()]
    matrix: F64 = composed(*(np.array([part], np.float64) for part in parts))[0]
    return matrix


def scaled(values: NDArray[Any], accessor: Mapping[str, Any]) -> F64:
    """Accessor values as numbers: normalised integers become fractions."""
    wide = values.astype(np.float64)
    return np.maximum(wide / FULL_SCALE[accessor["componentType"]], -1.0) if accessor.get("normalized") else wide


_PLAIN: Mapping[str, tuple[float, ...]] = {
    "translation": (0, 0, 0),
    "rotation": (0, 0, 0, 1),
    "scale": (1, 1, 1),
}


def _instances(document: Glb, attributes: Mapping[str, int]) -> F64:
    """float64[k, 4, 4] of an EXT_mesh_gpu_instancing extension."""
    accessors = document.json["accessors"]
    counts = {accessors[number]["count"] for number in attributes.values()}
    if len(counts) != 1:
        raise ValueError(f"instance attributes of {sorted(counts)} instances")
    (count,) = counts
    parts = []
    for name, plain in _PLAIN.items():
        number = attributes.get(name.upper())
        if number is None:
            parts.append(np.tile(np.array(plain, np.float64), (count, 1)))
        else:
            parts.append(scaled(document.accessor(number), accessors[number]))
    return composed(*parts)
