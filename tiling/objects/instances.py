"""Models where they stand: a mesh once in the tile, its places as EXT_mesh_gpu_instancing, whose they are as EXT_instance_features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiling.objects.drawn import Model
from tiling.spec.glb import GlbWriter
from tiling.spec.scene import INSTANCING
from tim.geometry import F64
from tim.place import Frame, ellipsoid

_TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
"""East, north, up to glTF's axes."""


@dataclass(frozen=True, slots=True)
class Placements:
    """Where instances stand."""

    positions: F64
    """float64[n, 3]: frame metres."""
    turns: F64
    """float64[n, 3, 3]: model (east, north, up) to frame axes, without scale."""
    scales: F64
    """float64[n, 3]: east, north, up."""

    def bounds(self, low: F64, high: F64) -> tuple[F64, F64]:
        """Frame corners of all instances of a model with these corners (east, north, up)."""
        center, half = (low + high) / 2 * self.scales, (high - low) / 2 * np.abs(self.scales)
        middle = self.positions + (self.turns @ center[:, :, None])[:, :, 0]
        reach = (np.abs(self.turns) @ half[:, :, None])[:, :, 0]
        return (middle - reach).min(axis=0), (middle + reach).max(axis=0)


def placements(models: Sequence[Model], frame: Frame) -> Placements:
    """Where models stand: the tangent plane at each point turned by the heading, seen from the frame."""
    at = np.array([m.at for m in models], np.float64).reshape(-1, 3)
    lon, lat = np.radians(at[:, 0]), np.radians(at[:, 1])
    heading = np.radians([m.heading for m in models])
    sl, cl, sp, cp, zero = np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat), np.zeros(len(at))
    axes = np.stack([
        np.stack([-sl, cl, zero], axis=1),
        np.stack([-sp * cl, -sp * sl, cp], axis=1),
        np.stack([cp * cl, cp * sl, sp], axis=1),
    ], axis=2)  # fmt: skip
    sh, ch = np.sin(heading), np.cos(heading)
    about = np.zeros((len(at), 3, 3))
    about[:, 0, 0], about[:, 0, 1], about[:, 1, 0], about[:, 1, 1], about[:, 2, 2] = ch, sh, -sh, ch, 1.0
    scales = np.array([m.scale for m in models], np.float64).reshape(-1, 3)
    return Placements(frame.from_ecef(ellipsoid.to_ecef(at)), frame.axes @ axes @ about, scales)


def add_instances(
    writer: GlbWriter, primitives: list[dict[str, Any]], placed: Placements, features: Sequence[int]
) -> None:
    """A node with a mesh that stands at several places; the mesh is in glTF's axes."""
    middle = np.rint((placed.positions.min(axis=0) + placed.positions.max(axis=0)) / 2)
    turns = _TO_Y_UP @ placed.turns @ _TO_Y_UP.T
    attributes = {"TRANSLATION": writer.vertices(((placed.positions - middle) @ _TO_Y_UP.T).astype("<f4"))}
    attributes["ROTATION"] = writer.vertices(quaternions(turns).astype("<f4"))
    if (placed.scales != 1).any():
        attributes["SCALE"] = writer.vertices(placed.scales[:, [0, 2, 1]].astype("<f4"))
    attributes["_FEATURE_ID_0"] = writer.vertices(np.array(features, "<f4"))
    writer.extension(INSTANCING, required=True)
    writer.extension("EXT_instance_features")
    ids = {"featureCount": len(set(features)), "attribute": 0, "propertyTable": 0}
    node = {
        "mesh": writer.add("meshes", {"primitives": primitives}), "translation": (_TO_Y_UP @ middle + 0.0).tolist(),
        "extensions": {INSTANCING: {"attributes": attributes}, "EXT_instance_features": {"featureIds": [ids]}},
    }  # fmt: skip
    writer.json["scenes"][0]["nodes"].append(writer.add("nodes", node))


def quaternions(turns: F64) -> F64:
    """float64[n, 3, 3] rotations to float64[n, 4] unit quaternions (x, y, z, w), from the largest of the four (Shepperd 1978)."""
    m = turns
    trace = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    squares = np.stack([2 * m[:, k, k] - trace for k in range(3)] + [trace], axis=1) + 1  # four times x², y², z², w²
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    xw, yw, zw = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    products = np.stack([
        np.stack([squares[:, 0], xy, xz, xw], axis=1),
        np.stack([xy, squares[:, 1], yz, yw], axis=1),
        np.stack([xz, yz, squares[:, 2], zw], axis=1),
        np.stack([xw, yw, zw, squares[:, 3]], axis=1),
    ], axis=1)  # fmt: skip
    rows: F64 = products[np.arange(len(m)), squares.argmax(axis=1)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def to_y_up(xyz: F64) -> F64:
    """float64[n, 3] east, north, up to glTF's axes."""
    return np.column_stack([xyz[:, 0], xyz[:, 2], -xyz[:, 1]])


def from_y_up(low: F64, high: F64) -> tuple[F64, F64]:
    """Corners in glTF's axes to corners east, north, up."""
    return np.array([low[0], -high[2], low[1]]), np.array([high[0], -low[2], high[1]])
