"""What the fields of a layer mean: as a mapping file says, or as usual names suggest.

A mapping file is YAML::

    layers:
      - match: "*建筑*"            # glob over the layer's name; the first that fits counts
        class: {field: 用途, table: {住宅: building.house, "*": building.other}}
        key: 房屋编号
        height: {field: 高度, unit: cm}

See ``docs/vector.md`` for all its members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from importers.document import Node, read_document
from importers.vector import recognise as usual
from tim.classes import Registry, shipped
from tim.errors import UsageError
from tim.exchange import is_ours
from tim.model import Stage

SHAPES = ("extrude", "flat", "tube", "ribbon", "model", "solid")
MODELS = ("tree", "lamp", "well", "box")
_UNITS = {"mm": 0.001, "cm": 0.01, "dm": 0.1, "m": 1.0, "km": 1000.0, "ft": 0.3048, "deg": 1.0}
_MEMBERS = {
    "match", "class", "name", "key", "codes", "height", "base", "depth", "floors", "storey_height", "diameter", "width", "shape", "model",
    "scale", "heading", "valid_from", "valid_to", "stage", "layer", "attributes", "x", "y", "z", "wkt",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """A number or text: of a field, or the same for all records."""

    field: str = ""
    constant: Any = None
    factor: float | None = 1.0
    """What makes metres of it; ``None``: millimetres above 10, metres otherwise (diameters of pipes)."""


@dataclass(frozen=True, slots=True)
class CodeField:
    """A field that holds codes of one scheme and edition."""

    scheme: str
    edition: str
    field: str


@dataclass(frozen=True, slots=True)
class Rule:
    """How the records of one layer become objects."""

    class_id: str = "land.other"
    class_field: str = ""
    class_table: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    key: str = ""
    codes: tuple[CodeField, ...] = ()
    height: Value | None = None
    base: Value | None = None
    depth: Value | None = None
    """Metres below ``base`` or the geometry's own height."""
    floors: Value | None = None
    storey_height: float = 3.0
    diameter: Value | None = None
    width: Value | None = None
    shape: str = ""
    """One of :data:`SHAPES`; empty: by the geometry."""
    model: str = ""
    """One of :data:`MODELS`, or a path of a glb file; empty: by the class."""
    model_path: Path | None = None
    scale: Value | None = None
    heading: Value | None = None
    valid_from: Value | None = None
    valid_to: Value | None = None
    stage: Value | None = None
    layer: str = ""
    keep: tuple[str, ...] | None = None
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    """Whether the layer is an export of ours (:mod:`tim.exchange`): its rows say themselves what object they are."""
    recognised: Mapping[str, str] = field(default_factory=dict)
    """What was found by usual names alone: what it is taken for, and the field or class."""


class MappingFile:
    """A mapping file that has been read."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError with file, line and field."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError("vector.mapping-unreadable", file=path.name, reason=str(error)) from None
        self.path = path
        top = read_document(text, path.name)
        top.only({"version", "layers"})
        self.layers = top.items("layers")
        for node in self.layers:
            node.only(_MEMBERS)

    def entry(self, layer: str) -> Node | None:
        """The first entry whose glob fits a layer."""
        return next((n for n in self.layers if fnmatchcase(layer, n.get("match", str, default="*"))), None)

    def geometry(self, layer: str) -> dict[str, str] | None:
        """The columns of a table's geometry, where the file names them."""
        node = self.entry(layer)
        found = {name: node.get(name, str, default="") for name in ("x", "y", "z", "wkt")} if node else {}
        return found if any(found.values()) else None


def rule_of(
    layer: str,
    fields: Sequence[str],
    mapping: MappingFile | None = None,
    key: str = "",
    classes: Registry | None = None,
) -> Rule:
    """The rule of a layer with these fields. ``key`` is the user's ``--key``, which goes before the mapping's.

    Raises UsageError for a mapping entry that names a field the layer does not have, or anything else it cannot mean.
    """
    node, known = mapping.entry(layer) if mapping else None, classes or shipped()
    if key and key not in fields:
        raise UsageError("vector.no-key-field", layer=layer, field=key, known=", ".join(fields))
    if mapping is None or node is None:
        return _ours(known) if is_ours(fields) and not key else _automatic(layer, fields, key)
    return _Entry(node, fields, mapping.path, known).rule(layer, key)


def _ours(classes: Registry) -> Rule:
    """For an export of ours."""
    return Rule(
        class_field="class", class_table={name: name for name in classes.classes}, key="tim_id", ours=True, recognised={"class": "class"},
    )  # fmt: skip


def _automatic(layer: str, fields: Sequence[str], key: str) -> Rule:
    class_id = usual.class_of(layer)
    found = {
        what: usual.recognise(fields, names)
        for what, names in (
            ("name", usual.NAME), ("height", usual.HEIGHT), ("base", usual.BASE), ("depth", usual.DEPTH), ("floors", usual.FLOORS), ("diameter", usual.DIAMETER),
            ("width", usual.WIDTH), ("heading", usual.HEADING),
        )
    }  # fmt: skip
    # Each means something for some classes only: a road's 高程 is no reason to lift it, its width is one to widen it.
    wanted = {"name", "heading"}
    if class_id.startswith(("building", "planning.scheme", "land.other", "cadastre.unit")):
        wanted |= {"height", "base", "floors"}
    if class_id.startswith("pipeline"):
        wanted |= {"diameter", "base", "depth"}
    if class_id.startswith(("transport", "water")):
        wanted |= {"width"}
    if class_id.startswith(("vegetation", "land.furniture")):
        wanted |= {"height", "base"}
    values = {
        what: Value(name, factor=None if what == "diameter" else 1.0)
        for what, name in found.items()
        if name and what in wanted and what != "name"
    }
    recognised = {"class": class_id, **{what: name for what, name in found.items() if name and what in wanted}}
    return Rule(class_id=class_id, name=found["name"], key=key, recognised=recognised, **values)  # type: ignore[arg-type]


class _Entry:
    """One entry of a mapping file, for a layer whose fields are known."""

    def __init__(self, node: Node, fields: Sequence[str], path: Path, registry: Registry) -> None:
        self.node, self.fields, self.path, self.registry = node, fields, path, registry

    def rule(self, layer: str, key: str) -> Rule:
        node = self.node
        class_id, class_field, table = self.classes(layer)
        model = node.get("model", str, default="")
        keep, drop, rename = self.attributes()
        return Rule(
            class_id=class_id, class_field=class_field, class_table=table, name=self.field("name"), key=key or self.field("key"),
            codes=self.codes(), height=self.number("height"), base=self.number("base"), depth=self.number("depth"), floors=self.number("floors"),
            storey_height=node.get("storey_height", float, default=3.0), diameter=self.number("diameter", None),
            width=self.number("width"), shape=node.get("shape", str, default="", among=("", *SHAPES)), model=model,
            model_path=None if model in ("", *MODELS) else self.file(model), scale=self.number("scale"), heading=self.number("heading"),
            valid_from=self.text("valid_from"), valid_to=self.text("valid_to"), stage=self.stage(), layer=node.get("layer", str, default=""),
            keep=keep, drop=drop, rename=rename,
        )  # fmt: skip

    def known(self, name: str, value: str, node: Node | None = None) -> str:
        if value not in self.fields:
            raise (node or self.node).error(name, "vector.mapping-no-field", value=value, known=", ".join(self.fields))
        return value

    def field(self, name: str) -> str:
        value = self.node.get(name, str, default="")
        return self.known(name, value) if value else ""

    def classes(self, layer: str) -> tuple[str, str, Mapping[str, str]]:
        plain = self.node.plain("class", None)
        if isinstance(plain, dict):
            child = self.node.child("class")
            assert child is not None
            child.only({"field", "table"})
            table = {str(k): str(v) for k, v in (child.plain("table", None) or {}).items()}
            for class_id in table.values():
                self.class_known(child, "table", class_id)
            other = table.pop("*", usual.class_of(layer))
            return other, self.known("field", child.get("field", str), child), table
        if plain is None:
            return usual.class_of(layer), "", {}
        return self.class_known(self.node, "class", self.node.get("class", str)), "", {}

    def class_known(self, node: Node, name: str, class_id: str) -> str:
        if class_id not in self.registry.classes:
            raise node.error(name, "vector.mapping-no-class", value=class_id)
        return class_id

    def number(self, name: str, factor: float | None = 1.0) -> Value | None:
        """``高度``, ``12.5`` or ``{field: 高度, unit: cm}`` / ``{value: 12, unit: m}``."""
        plain = self.node.plain(name, None)
        if plain is None:
            return None
        if isinstance(plain, dict):
            child = self.node.child(name)
            assert child is not None
            child.only({"field", "value", "unit"})
            unit = child.get("unit", str, default="", among=("", *_UNITS))
            factor = _UNITS[unit] if unit else factor
            if plain.get("field") is not None:
                return Value(self.known("field", child.get("field", str), child), factor=factor)
            return Value(constant=child.get("value", float), factor=factor)
        if isinstance(plain, int | float) and not isinstance(plain, bool):
            return Value(constant=float(plain), factor=1.0 if factor is None else factor)
        return Value(self.field(name), factor=factor)

    def text(self, name: str) -> Value | None:
        """A field's name, or the text itself where it is given as ``{value: …}``, a date, or anything that is no field."""
        plain = self.node.plain(name, None)
        if plain is None:
            return None
        if isinstance(plain, dict):
            child = self.node.child(name)
            assert child is not None
            child.only({"field", "value"})
            if plain.get("field") is not None:
                return Value(self.known("field", child.get("field", str), child))
            return Value(constant=str(child.plain("value", "")))
        return Value(str(plain)) if str(plain) in self.fields else Value(constant=str(plain))

    def stage(self) -> Value | None:
        value = self.text("stage")
        if value is not None and not value.field and value.constant not in set(Stage):
            raise self.node.error("stage", "import.plan-wrong-value", value=value.constant, allowed=", ".join(Stage))
        return value

    def codes(self) -> tuple[CodeField, ...]:
        out = []
        for child in self.node.items("codes", default=[]):
            child.only({"scheme", "edition", "field"})
            name = self.known("field", child.get("field", str), child)
            out.append(CodeField(child.get("scheme", str), child.get("edition", str, default=""), name))
        return tuple(out)

    def attributes(self) -> tuple[tuple[str, ...] | None, frozenset[str], Mapping[str, str]]:
        child = self.node.child("attributes")
        if child is None:
            return None, frozenset(), {}
        child.only({"keep", "drop", "rename"})
        keep, drop, rename = (
            child.plain("keep", None),
            child.plain("drop", None) or [],
            child.plain("rename", None) or {},
        )
        for name, value in (("keep", keep or []), ("drop", drop), ("rename", list(rename))):
            for one in value:
                self.known(name, str(one), child)
        return None if keep is None else tuple(map(str, keep)), frozenset(map(str, drop)), rename

    def file(self, text: str) -> Path:
        """A path below the mapping file's folder. Nothing outside it is ever read."""
        path = PurePosixPath(text.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in text or path.suffix.lower() != ".glb":
            raise self.node.error("model", "vector.model-path", value=text, known=", ".join(MODELS))
        return self.path.parent / path
