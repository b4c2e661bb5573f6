"""One content of 3D Tiles 1.0 as glTF 2.0 with the extensions of 3D Tiles 1.1.

=====  ==================================================================================================================
b3dm   its glb: ``_BATCHID`` becomes ``_FEATURE_ID_0``, the batch table a property table, the centre a node
i3dm   its glb, every mesh instanced (EXT_mesh_gpu_instancing, EXT_instance_features)
pnts   a glb of points
=====  ==================================================================================================================

Positions stay as they are wherever they are 32-bit floats; centres (RTC_CENTER, CESIUM_RTC) and the up axis become the matrix of one root
node. Colours of point clouds are sRGB and become linear, as glTF has them. Migration guide: 3D Tiles 1.1 §"Migration".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from importers.tiles3d.content import Content
from tiling.foreign.batch import BatchTable, binary, count_of, table_of
from tiling.foreign.gltf import Y_UP, Model
from tiling.spec.glb import GlbWriter
from tim.errors import CorruptSource
from tim.place import Frame, ellipsoid

F64 = NDArray[np.float64]
Find = Callable[[str], bytes]
"""The file a content refers to, by its URI."""
DRACO = "3DTILES_draco_point_compression"
_DOWN: F64 = Y_UP.T
_AXES = {"Y": Y_UP, "Z": np.eye(4), "X": np.array([[0.0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])}


def convertible(content: Content) -> bool:
    """Whether :func:`to_glb` can write it; point clouds under Draco it cannot."""
    extensions = content.features.get("extensions")
    return content.kind != "pnts" or not (isinstance(extensions, dict) and DRACO in extensions)


def to_glb(content: Content, path: str, up_axis: str, find: Find) -> bytes:
    """The content as a glb, y up. Raises SourceError ``tiles3d.gltf-1``, CorruptSource naming ``path``."""
    axis = _AXES.get(up_axis)
    if axis is None:
        raise CorruptSource("tiles3d.bad-number", path=path, what="gltfUpAxis")
    try:
        if content.kind == "pnts":
            return _points(content, path)
        payload = find(bytes(content.payload).rstrip(b"\0 ").decode()) if content.external else content.payload
        model = Model(payload, path)
        if content.kind == "i3dm":
            _instances(model, content, path, axis)
        else:
            _batches(model, content, path, axis)
        return model.finish()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CorruptSource("tiles3d.glb-broken", path=path, reason=f"{type(error).__name__}: {error}"[:200]) from error


def _batches(model: Model, content: Content, path: str, axis: F64) -> None:
    model.wrap(_DOWN @ _shift(content, model) @ axis)
    if content.kind != "b3dm":
        return
    table = table_of(content, path)
    if not table.count:
        return
    model.table(table.columns, table.count)
    for primitive in model.primitives:
        attributes = primitive["attributes"]
        name = next((name for name in ("_BATCHID", "BATCHID") if name in attributes), None)
        if name is not None:
            attributes["_FEATURE_ID_0"] = attributes.pop(name)
            _features(model, primitive, "EXT_mesh_features", table, {"attribute": 0})


def _instances(model: Model, content: Content, path: str, axis: F64) -> None:
    table = table_of(content, path)
    count = count_of(content, path, "INSTANCES_LENGTH")
    at, centre = _positions(content, count, path)
    turns = _turns(content, count, path, at + centre)
    placed = np.tile(np.eye(4), (count, 1, 1))
    placed[:, :3, :3] = turns * _scales(content, count, path)[:, None, :]
    placed[:, :3, 3] = at
    shift = np.eye(4)
    shift[:3, 3] = centre
    ids = _ids(content, count, path)
    shown = model.mesh_nodes()
    nodes: list[Any] = model.json["nodes"]
    children = []
    for index, own in shown:
        moves, rotations, scales = _decomposed(placed @ axis @ own, path)
        attributes = {
            "TRANSLATION": model.accessor(moves),
            "ROTATION": model.accessor(rotations),
            "SCALE": model.accessor(scales),
        }
        node: dict[str, Any] = {
            "mesh": nodes[index]["mesh"],
            "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}},
        }
        if table.count:
            if ids is not None:
                attributes["_FEATURE_ID_0"] = _scalars(model, ids)
            _features(model, node, "EXT_instance_features", table, {} if ids is None else {"attribute": 0})
        children.append(len(nodes))
        nodes.append(node)
    model.json["scenes"][model.json.get("scene", 0)]["nodes"] = children
    model.use("EXT_mesh_gpu_instancing", required=True)
    model.wrap(_DOWN @ shift @ _shift(content, model, features=False))
    model.table(table.columns, table.count)
    for primitive in model.primitives:
        for name in ("_BATCHID", "BATCHID"):
            primitive["attributes"].pop(name, None)


def _points(content: Content, path: str) -> bytes:
    count = count_of(content, path, "POINTS_LENGTH")
    at, centre = _positions(content, count, path)
    writer = GlbWriter()
    attributes = {"POSITION": writer.vertices(at.astype("<f4"), bounds=True)}
    if (colours := _colours(content, count, path)) is not None:
        attributes["COLOR_0"] = writer.vertices(colours, normalized=True)
    if (normals := _normals(content, count, path)) is not None:
        attributes["NORMAL"] = writer.vertices(normals.astype("<f4"))
    ids = _ids(content, count, path)
    if ids is not None:
        attributes["_FEATURE_ID_0"] = writer.vertices(ids.astype("<f4"))
    material = writer.add(
        "materials", {"pbrMetallicRoughness": {"metallicFactor": 0.0}, "extensions": {"KHR_materials_unlit": {}}}
    )
    writer.extension("KHR_materials_unlit")
    mesh = writer.add("meshes", {"primitives": [{"attributes": attributes, "mode": 0, "material": material}]})
    writer.json["scenes"][0]["nodes"].append(writer.add("nodes", {"mesh": mesh}))
    model = Model(b"".join(bytes(part) for part in writer.chunks()), path)
    shift = np.eye(4)
    shift[:3, 3] = centre
    model.wrap(_DOWN @ shift)
    table = table_of(content, path)
    if table.count:
        model.table(table.columns, table.count)
        _features(model, model.primitives[0], "EXT_mesh_features", table, {} if ids is None else {"attribute": 0})
    return model.finish()


def _features(model: Model, owner: dict[str, Any], extension: str, table: BatchTable, source: dict[str, Any]) -> None:
    """Say which feature ids a primitive or node has; without ``attribute`` they count from 0."""
    entry = {"featureCount": table.count, **source}
    if "EXT_structural_metadata" in model.json.get("extensions", {}) or table.columns:
        entry["propertyTable"] = 0
    owner.setdefault("extensions", {})[extension] = {"featureIds": [entry]}
    model.use(extension)


def _shift(content: Content, model: Model, *, features: bool = True) -> F64:
    """float64[4, 4] of the centre that a content's coordinates are relative to, in tile coordinates."""
    shift = np.eye(4)
    if features and "RTC_CENTER" in content.features:
        shift[:3, 3] += _vector(content, "RTC_CENTER")
    relative = model.json.get("extensions", {}).pop("CESIUM_RTC", None)
    if relative is not None:
        shift[:3, 3] += np.array(relative["center"], float)
        model.drop("CESIUM_RTC")
        if not model.json["extensions"]:
            del model.json["extensions"]
    return shift


def _vector(content: Content, name: str, width: int = 3) -> F64:
    """A global property of the feature table: as JSON, or in the binary part."""
    value = content.features[name]
    if isinstance(value, dict):
        return binary(value, content.features_binary, 1, "", name, "<f4", width).reshape(width).astype(float)
    vector = np.array(value, float).reshape(width)
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} is not finite")
    return vector


def _column(content: Content, name: str, count: int, path: str, dtype: str, width: int) -> NDArray[Any] | None:
    if name not in content.features:
        return None
    return binary(content.features[name], content.features_binary, count, path, name, dtype, width)


def _positions(content: Content, count: int, path: str) -> tuple[F64, F64]:
    """float64[n, 3] relative to float64[3]."""
    centre = _vector(content, "RTC_CENTER") if "RTC_CENTER" in content.features else np.zeros(3)
    plain = _column(content, "POSITION", count, path, "<f4", 3)
    if plain is not None:
        return plain.astype(float), centre
    quantised = _column(content, "POSITION_QUANTIZED", count, path, "<u2", 3)
    if quantised is None:
        raise CorruptSource("tiles3d.bad-column", path=path, column="POSITION")
    offset, scale = _vector(content, "QUANTIZED_VOLUME_OFFSET"), _vector(content, "QUANTIZED_VOLUME_SCALE")
    return quantised / 65535.0 * scale, centre + offset


def _ids(content: Content, count: int, path: str) -> NDArray[Any] | None:
    reference = content.features.get("BATCH_ID")
    if reference is None:
        return None
    kind = {"UNSIGNED_BYTE": "<u1", "UNSIGNED_SHORT": "<u2", "UNSIGNED_INT": "<u4"}[
        reference.get("componentType", "UNSIGNED_SHORT")
    ]
    return binary(reference, content.features_binary, count, path, "BATCH_ID", kind, 1)


def _turns(content: Content, count: int, path: str, at: F64) -> F64:
    """float64[n, 3, 3] rotations: columns are right, up × …, as NORMAL_RIGHT and NORMAL_UP say; by default the tile's own axes."""
    up = _column(content, "NORMAL_UP", count, path, "<f4", 3)
    right = _column(content, "NORMAL_RIGHT", count, path, "<f4", 3)
    if up is None and (packed := _column(content, "NORMAL_UP_OCT32P", count, path, "<u2", 2)) is not None:
        up, right = (
            _unpacked(packed, 65535),
            _unpacked(_need(_column(content, "NORMAL_RIGHT_OCT32P", count, path, "<u2", 2)), 65535),
        )
    if up is not None:
        y, x = up.astype(float), _need(right).astype(float)
        turns = np.stack([x, y, np.cross(x, y)], axis=2)
        unit: F64 = turns / np.linalg.norm(turns, axis=1, keepdims=True)
        return unit
    turns = np.tile(np.eye(3), (count, 1, 1))
    if content.features.get("EAST_NORTH_UP"):
        lon, lat, _ = ellipsoid.to_geographic(at).T
        turns = np.stack([Frame(x, y, 0.0, 1.0).axes.T for x, y in zip(lon.tolist(), lat.tolist(), strict=True)])
    return turns


def _scales(content: Content, count: int, path: str) -> F64:
    scales = np.ones((count, 3))
    if (one := _column(content, "SCALE", count, path, "<f4", 1)) is not None:
        scales *= one.reshape(-1, 1)
    if (three := _column(content, "SCALE_NON_UNIFORM", count, path, "<f4", 3)) is not None:
        scales *= three
    return scales


def _decomposed(matrices: F64, path: str) -> tuple[F64, F64, F64]:
    """Translation, rotation (quaternion x, y, z, w) and scale of float64[n, 4, 4]. Raises CorruptSource where they shear."""
    linear = matrices[:, :3, :3]
    scales = np.linalg.norm(linear, axis=1)
    scales[:, 0] *= np.where(np.linalg.det(linear) < 0, -1.0, 1.0)
    if not (np.isfinite(matrices).all() and (scales != 0).all()):
        raise CorruptSource("tiles3d.bad-number", path=path, what="instance")
    turns = linear / scales[:, None, :]
    if np.abs(turns.transpose(0, 2, 1) @ turns - np.eye(3)).max(initial=0.0) > 1e-3:
        raise CorruptSource("tiles3d.shear", path=path)
    # Each component's size from the diagonal, signs by the largest (Shepperd 1978).
    trace = np.einsum("nii->n", turns)
    squares = np.column_stack([*(1 + 2 * turns[:, i, i] - trace for i in range(3)), 1 + trace])
    largest = squares.argmax(axis=1)
    r = turns
    rows = np.stack([
        np.column_stack([squares[:, 0], r[:, 0, 1] + r[:, 1, 0], r[:, 0, 2] + r[:, 2, 0], r[:, 2, 1] - r[:, 1, 2]]),
        np.column_stack([r[:, 0, 1] + r[:, 1, 0], squares[:, 1], r[:, 1, 2] + r[:, 2, 1], r[:, 0, 2] - r[:, 2, 0]]),
        np.column_stack([r[:, 0, 2] + r[:, 2, 0], r[:, 1, 2] + r[:, 2, 1], squares[:, 2], r[:, 1, 0] - r[:, 0, 1]]),
        np.column_stack([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1], squares[:, 3]]),
    ])  # fmt: skip
    quaternions = rows[largest, np.arange(len(turns))]
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    return matrices[:, :3, 3], quaternions, scales


def _colours(content: Content, count: int, path: str) -> NDArray[Any] | None:
    """uint16[n, 4] linear colours."""
    alpha = np.full((count, 1), 255.0)
    if (rgba := _column(content, "RGBA", count, path, "<u1", 4)) is not None:
        srgb, alpha = rgba[:, :3].astype(float), rgba[:, 3:].astype(float)
    elif (rgb := _column(content, "RGB", count, path, "<u1", 3)) is not None:
        srgb = rgb.astype(float)
    elif (packed := _column(content, "RGB565", count, path, "<u2", 1)) is not None:
        srgb = np.column_stack([packed >> 11, packed >> 5 & 63, packed & 31]) * (255 / np.array([31, 63, 31]))
    elif "CONSTANT_RGBA" in content.features:
        constant = np.array(content.features["CONSTANT_RGBA"], float).reshape(1, 4)
        srgb, alpha = np.tile(constant[:, :3], (count, 1)), np.tile(constant[:, 3:], (count, 1))
    else:
        return None
    srgb /= 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.round(np.column_stack([linear, alpha / 255.0]) * 65535).astype("<u2")


def _normals(content: Content, count: int, path: str) -> F64 | None:
    if (plain := _column(content, "NORMAL", count, path, "<f4", 3)) is not None:
        length = np.linalg.norm(plain, axis=1, keepdims=True)
        unit: F64 = np.where(length > 0, plain / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])
        return unit
    if (packed := _column(content, "NORMAL_OCT16P", count, path, "<u1", 2)) is not None:
        return _unpacked(packed, 255)
    return None


def _unpacked(packed: NDArray[Any], largest: int) -> F64:
    """float64[n, 3] unit vectors of oct-encoded pairs (Cigolle et al. 2014)."""
    xy = packed / largest * 2.0 - 1.0
    z = 1.0 - np.abs(xy).sum(axis=1, keepdims=True)
    folded = (1.0 - np.abs(xy[:, ::-1])) * np.where(xy >= 0, 1.0, -1.0)
    vectors: F64 = np.column_stack([np.where(z < 0, folded, xy), z])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _scalars(model: Model, values: NDArray[Any]) -> int:
    """A float32 scalar accessor."""
    rows = np.ascontiguousarray(values, "<f4")
    accessors: list[Any] = model.json.setdefault("accessors", [])
    accessors.append(
        {"bufferView": model.view(rows.tobytes()), "componentType": 5126, "count": len(rows), "type": "SCALAR"}
    )
    return len(accessors) - 1


def _need(values: NDArray[Any] | None) -> NDArray[Any]:
    if values is None:
        raise KeyError("NORMAL_RIGHT")
    return values
