"""The model of an IFC file as ifcopenshell reads it: products with attributes, relations and meshes, in metres of the model.

Runs in a process of its own (:mod:`importers.ifc.child`): the geometry kernel is C++ and a broken file can end it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from importers.ifc.classes import is_helper
from importers.ifc.texture import Texture, textured
from tim.geometry import F32, F64, I32, U32

Color = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Mesh:
    """What a product looks like."""

    positions: F64
    """float64[n, 3], metres of the model."""
    triangles: U32
    """uint32[m, 3]; none where the product is drawn as lines."""
    materials: I32
    """int32[m]: into :attr:`colors`, negative for none."""
    colors: tuple[Color, ...]
    lines: U32
    """uint32[k, 2]; only where there are no triangles."""
    images: tuple[Texture, ...] = ()
    skins: I32 = field(default_factory=lambda: np.empty(0, np.int32))
    """int32[m]: into :attr:`images`, negative for none; empty where there are none."""
    uv: F32 = field(default_factory=lambda: np.empty((0, 3, 2), np.float32))
    """float32[m, 3, 2] of the corners, v down; empty where there are no images."""


@dataclass(frozen=True, slots=True)
class Product:
    """One object of the model."""

    guid: str
    ancestry: tuple[str, ...]
    """Its IFC class and the superclasses, nearest first."""
    name: str
    attributes: Mapping[str, Any]
    parent: str = ""
    """GlobalId of what it is a part of."""
    container: str = ""
    """GlobalId of the spatial element it lies in."""
    mesh: Mesh | None = None
    failed: bool = False
    """Whether it has geometry that could not be made."""


@dataclass(frozen=True, slots=True)
class Summary:
    """About the whole file; comes first."""

    schema: str
    project: str
    units: Mapping[str, str]
    helpers: Mapping[str, int] = field(default_factory=dict)
    """Products that are no things, by IFC class."""
    textures: int = 0
    without_id: int = 0
    twice: tuple[str, ...] = ()
    """GlobalIds that were given before."""


def products(path: Path) -> Iterator[Summary | Product]:
    """The summary, the products with geometry as the kernel gives them, then the others in file order. Raises what ifcopenshell raises."""
    ifcopenshell, geom = _kernel("ifcopenshell"), _kernel("ifcopenshell.geom")
    model = ifcopenshell.open(str(path))
    ancestries = _Ancestries(model)
    helpers: Counter[str] = Counter()
    things: dict[str, Any] = {}
    twice, without_id = [], 0
    for product in sorted(model.by_type("IfcProduct"), key=lambda entity: entity.id()):
        if is_helper(ancestries.of(product)):
            helpers[product.is_a()] += 1
        elif not product.GlobalId:
            without_id += 1
        elif product.GlobalId in things:
            twice.append(product.GlobalId)
        else:
            things[product.GlobalId] = product
    project = next(iter(model.by_type("IfcProject")), None)
    yield Summary(
        str(model.schema_identifier), str((project and (project.LongName or project.Name)) or ""), _units(model), dict(helpers), _textures(model),
        without_id, tuple(twice),
    )  # fmt: skip
    drawn = [product for product in things.values() if product.Representation is not None]
    seen: set[str] = set()
    if drawn:
        settings = geom.settings()
        settings.set("use-world-coords", True)
        settings.set("apply-default-materials", False)
        iterator = geom.iterator(settings, model, 1, include=drawn)
        going = iterator.initialize()
        while going:
            shape = iterator.get()
            product = model.by_id(shape.id)
            if product.GlobalId not in seen:
                seen.add(product.GlobalId)
                yield _product(product, ancestries, things, _mesh(product, shape.geometry))
            going = iterator.next()
    for guid, product in things.items():
        if guid not in seen:
            yield _product(product, ancestries, things, None)


def _kernel(name: str) -> Any:
    """A module of ifcopenshell, which is imported only where a model is read, and whose types say less than they seem to."""
    return import_module(name)


class _Ancestries:
    """Classes with their superclasses, in the schema of one model."""

    def __init__(self, model: Any) -> None:
        self._schema = _kernel("ifcopenshell").ifcopenshell_wrapper.schema_by_name(model.schema_identifier)
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, entity: Any) -> tuple[str, ...]:
        name = entity.is_a()
        if name not in self._known:
            chain, declared = [], self._schema.declaration_by_name(name).as_entity()
            while declared:
                chain.append(declared.name())
                declared = declared.supertype()
            self._known[name] = tuple(chain)
        return self._known[name]


def _product(product: Any, ancestries: _Ancestries, things: Mapping[str, Any], mesh: Mesh | None) -> Product:
    element = _kernel("ifcopenshell.util.element")
    parent = element.get_aggregate(product) or element.get_nest(product)
    container = element.get_container(product, should_get_direct=True)
    ancestry = ancestries.of(product)
    empty = mesh is None or not (len(mesh.triangles) or len(mesh.lines))
    return Product(
        product.GlobalId, ancestry, str(product.Name or getattr(product, "LongName", None) or ""), _attributes(product, element),
        _guid(parent, things), _guid(container, things), None if empty else mesh, empty and _has_solid(product),
    )  # fmt: skip


def _guid(entity: Any, things: Mapping[str, Any]) -> str:
    return str(entity.GlobalId) if entity is not None and entity.GlobalId in things else ""


def _has_solid(product: Any) -> bool:
    """Whether it has a body that should have been seen; axes, footprints and boxes are none."""
    shown = product.Representation.Representations if product.Representation is not None else ()
    return any(r.RepresentationIdentifier in ("Body", "Facetation", "Tessellation") and r.Items for r in shown)


def _attributes(product: Any, element: Any) -> dict[str, Any]:
    """Attributes by name, then property sets and quantities with those of the type beneath, as the file has them (project units)."""
    typed, material = element.get_type(product), element.get_material(product, should_skip_usage=True)
    plain = {
        "ifc_class": product.is_a(), "predefined_type": element.get_predefined_type(product), "description": product.Description,
        "object_type": product.ObjectType, "long_name": getattr(product, "LongName", None), "tag": getattr(product, "Tag", None),
        "elevation": getattr(product, "Elevation", None) if product.is_a("IfcBuildingStorey") else None,
        "type": typed.Name if typed is not None and typed != product else None, "material": _material(material),
    }  # fmt: skip
    out = {name: json_value(value) for name, value in plain.items() if value not in (None, "", "NOTDEFINED")}
    for name, values in element.get_psets(product).items():
        out[str(name)] = {key: json_value(value) for key, value in values.items() if key != "id"}
    return out


def _material(material: Any) -> str | None:
    """Names of the materials, a layer set's in order."""
    if material is None:
        return None
    if material.is_a("IfcMaterial"):
        return str(material.Name)
    parts: list[Any] = []
    for name in ("MaterialLayers", "MaterialConstituents", "MaterialProfiles"):
        parts += [part.Material for part in getattr(material, name, None) or () if part.Material is not None]
    parts += list(getattr(material, "Materials", None) or ())
    return ", ".join(str(part.Name) for part in parts) or None


def json_value(value: Any, depth: int = 0) -> Any:
    """A property's value as JSON has it; what is no number becomes nothing."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping) and depth < 8:
        return {str(k): json_value(v, depth + 1) for k, v in value.items() if k != "id"}
    if isinstance(value, list | tuple) and depth < 8:
        return [json_value(v, depth + 1) for v in value]
    return str(getattr(value, "wrappedValue", value))


def _mesh(product: Any, geometry: Any) -> Mesh:
    positions = np.frombuffer(geometry.verts_buffer, np.float64).reshape(-1, 3)
    triangles = np.frombuffer(geometry.faces_buffer, np.int32).reshape(-1, 3).astype(np.uint32)
    if not len(triangles):
        lines = np.frombuffer(geometry.edges_buffer, np.int32).reshape(-1, 2).astype(np.uint32)
        return Mesh(positions, triangles, np.empty(0, np.int32), (), lines)
    materials = np.frombuffer(geometry.material_ids_buffer, np.int32)
    if len(materials) != len(triangles):
        materials = np.full(len(triangles), -1, np.int32)
    colors = tuple(_color(style) for style in geometry.materials)
    if not colors and (indexed := _indexed_colors(product, len(triangles))) is not None:
        materials, colors = indexed
    mesh = Mesh(positions, triangles, materials, colors, np.empty((0, 2), np.uint32))
    items = np.frombuffer(geometry.item_ids_buffer, np.int32)
    if len(items) != len(triangles):
        return mesh
    try:
        images, skins, uv = textured(product, items, positions[triangles])
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return mesh  # entities that are not as their schema says cost the images, not the model
    return replace(mesh, images=images, skins=skins, uv=uv) if images else mesh


def _color(style: Any) -> Color:
    """The colour of the surface; a diffuse colour only where it has none, as renderers of BIM do."""
    for part in (style.surface, style.diffuse):
        rgb = tuple(part.components or ())
        if len(rgb) == 3 and all(map(math.isfinite, rgb)):
            break
    else:
        rgb = (0.7, 0.7, 0.7)
    clear = style.transparency
    alpha = 1.0 - min(max(clear, 0.0), 0.95) if math.isfinite(clear) else 1.0
    red, green, blue = (min(max(float(v), 0.0), 1.0) for v in rgb)
    return round(red, 4), round(green, 4), round(blue, 4), round(alpha, 4)


def _indexed_colors(product: Any, triangles: int) -> tuple[I32, tuple[Color, ...]] | None:
    """IfcIndexedColourMap of a product that is one triangulated face set: the kernel keeps its triangles' order but not their colours."""
    items = [i for r in product.Representation.Representations if r.RepresentationIdentifier == "Body" for i in r.Items]
    if len(items) != 1 or not items[0].is_a("IfcTriangulatedFaceSet"):
        return None
    for mapped in items[0].HasColours or ():
        if len(mapped.ColourIndex) == triangles:
            alpha = 1.0 if mapped.Opacity is None else float(mapped.Opacity)
            colors = tuple((round(r, 4), round(g, 4), round(b, 4), alpha) for r, g, b in mapped.Colours.ColourList)
            return np.array(mapped.ColourIndex, np.int32) - 1, colors
    return None


def _units(model: Any) -> dict[str, str]:
    """The project's units by type, for whoever reads its properties: ``{"length": "millimetre"}``."""
    project = next(iter(model.by_type("IfcProject")), None)
    out = {}
    for unit in project.UnitsInContext.Units if project is not None and project.UnitsInContext is not None else ():
        kind = getattr(unit, "UnitType", None)
        if kind and kind != "USERDEFINED" and getattr(unit, "Name", None):
            name = f"{getattr(unit, 'Prefix', None) or ''}{unit.Name}".lower().replace("_", " ")
            out[kind.removesuffix("UNIT").lower()] = name
    return dict(sorted(out.items()))


def _textures(model: Any) -> int:
    return len(model.by_type("IfcSurfaceTexture"))
