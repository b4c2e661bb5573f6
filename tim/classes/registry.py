"""The registry: classes with their attributes, looks and equals elsewhere, and code lists, read from folders of TOML.

Each folder is read upon the ones before it: a class that is there already is changed in what the later file says of it, attribute by
attribute. A file with ``replace = true`` at its top means that its folder stands alone. Code lists are in the sub-folder ``codelists``
(:mod:`tim.classes.codelists`). A file of classes::

    "water" = { en = "Water", zh = "水", colour = "#7fafd0", gb13923 = "2" }

    ["water.body"]
    en = "Water body"
    zh = "水体"
    level = "terrain"              # 地形级 terrain, 城市级 city, 部件级 component
    citygml = ["WaterBody"]        # CityGML 3.0 feature types
    ifc = []                       # IFC 4.3 entities
    gb13923 = "2"                  # first digits of the code in GB/T 13923-2022
    cim = 3                        # CIM level, 1 to 7
    colour = "#7fafd0"
    opacity = 0.6
    solid = false                  # whether a body encloses a space
    attributes.depth = { type = "number", unit = "m", required = true, en = "Depth", zh = "水深" }
    attributes.use = { type = "text", list = "cn.land-use@GB/T 21010-2017", en = "Use", zh = "用途" }

Attributes, level, colour, opacity and solid hold for the classes below as well, unless they say otherwise.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self, cast

from tim.classes import codelists
from tim.classes.codelists import CodeList, Entry
from tim.errors import StoreError, UsageError

LEVELS = ("terrain", "city", "component")
"""地形级, 城市级, 部件级."""
TYPES = ("text", "integer", "number", "boolean", "date", "timestamp", "array", "object")
"""Of attributes."""
PLAIN = 0xC8C4BC
"""sRGB of what has no class that says more."""
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*")
_COLOUR = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a class says of one attribute."""

    name: str
    type: str
    """One of :data:`TYPES`."""
    en: str
    zh: str
    unit: str = ""
    """UCUM; empty for none."""
    required: bool = False
    list: str = ""
    """``scheme@edition`` of the code list its values are from; empty for none."""


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """One class; what it inherits is filled in."""

    id: str
    en: str
    """Name in English."""
    zh: str
    """Name in Chinese."""
    level: str = ""
    """One of :data:`LEVELS`; empty where it is of none in particular."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    """By name, those of the classes above first."""
    colour: int = PLAIN
    """sRGB."""
    opacity: float = 1.0
    solid: bool = False
    """Whether its bodies enclose a space, so that a hole in one is a mistake."""
    citygml: tuple[str, ...] = ()
    ifc: tuple[str, ...] = ()
    gb13923: str = ""
    cim: int | None = None

    @property
    def parent(self) -> str | None:
        """Id of the class above; ``None`` for a domain."""
        return self.id.rpartition(".")[0] or None

    @property
    def domain(self) -> str:
        """Id of the class at the top."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Registry:
    """Classes and code lists that belong together."""

    classes: Mapping[str, ObjectClass]
    """By id, parents before children."""
    lists: Mapping[str, CodeList]
    """By ``scheme@edition``."""

    @classmethod
    def load(cls, folders: Sequence[Traversable | Path]) -> Self:
        """Read folders, each upon the ones before. Those that are not there say nothing.

        Raises StoreError ``classes.*`` naming the file, the class and what of it is not right.
        """
        rows: dict[str, _Row] = {}
        lists: dict[str, CodeList] = {}
        for folder in folders:
            tables = _tables(folder)
            if any(table.pop("replace", None) is True for _, table in tables):
                rows, lists = {}, {}
            for file, table in _tables(folder / "codelists"):
                one = codelists.parse(table, file)
                lists[one.key] = one
            for file, table in tables:
                for class_id, said in table.items():
                    rows[class_id] = _Row(file, class_id, said, rows.get(class_id))
        classes: dict[str, ObjectClass] = {}
        for class_id in sorted(rows):
            classes[class_id] = rows[class_id].made(classes, lists)
        return cls(classes, lists)

    def get(self, class_id: str) -> ObjectClass:
        """One class. Raises UsageError naming those nearby."""
        if class_id not in self.classes:
            above = class_id.rpartition(".")[0]
            near = [c.id for c in self.classes.values() if c.parent == (above if above in self.classes else None)]
            raise UsageError("classes.unknown", id=class_id, known=", ".join(near))
        return self.classes[class_id]

    def nearest(self, class_id: str) -> ObjectClass | None:
        """The class itself, or the nearest above it that there is."""
        while class_id and class_id not in self.classes:
            class_id = class_id.rpartition(".")[0]
        return self.classes.get(class_id)

    def children(self, class_id: str | None = None) -> list[ObjectClass]:
        """The classes directly below one, or the domains."""
        if class_id is not None:
            self.get(class_id)
        return [c for c in self.classes.values() if c.parent == class_id]

    def colour(self, class_id: str) -> int:
        """sRGB of a class, or of the nearest above it."""
        found = self.nearest(class_id)
        return PLAIN if found is None else found.colour

    def rgba(self, class_id: str) -> int:
        """sRGB and, in the last byte, the opacity of a class, or of the nearest above it: ``0x7FAFD0FF``."""
        found = self.nearest(class_id)
        return PLAIN << 8 | 255 if found is None else found.colour << 8 | round(found.opacity * 255)

    def code_list(self, scheme: str, edition: str) -> CodeList:
        """One code list. Raises UsageError ``classes.no-scheme`` where scheme or edition is not given: a value means nothing without
        them; ``classes.no-list`` where there is none such."""
        if not scheme or not edition:
            raise UsageError("classes.no-scheme", known=", ".join(self.lists))
        found = self.lists.get(f"{scheme}@{edition}")
        if found is None:
            raise UsageError("classes.no-list", scheme=scheme, edition=edition, known=", ".join(self.lists))
        return found

    def entry(self, scheme: str, edition: str, value: str) -> Entry:
        """What a code means. Raises UsageError as :meth:`code_list`, and ``classes.not-in-list``."""
        return self.code_list(scheme, edition).entry(value)


def _tables(folder: Traversable | Path) -> list[tuple[str, dict[str, Any]]]:
    """The files of a folder by name, parsed; a file is named by its folder and its name."""
    if not folder.is_dir():
        return []
    found = []
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        if file.name.endswith(".toml") and not file.name.startswith("."):
            name = f"{folder.name}/{file.name}"
            try:
                found.append((name, tomllib.loads(file.read_bytes().decode("utf-8"))))
            except ValueError as error:
                raise StoreError("classes.bad-toml", file=name, reason=str(error)) from None
            except OSError as error:
                raise StoreError("classes.unreadable", file=name, reason=error.strerror or str(error)) from None
    return found


class _Row:
    """What files say of one class."""

    def __init__(self, file: str, class_id: str, said: Any, below: _Row | None) -> None:
        self.file, self.id = file, class_id
        if not isinstance(said, dict):
            raise StoreError("classes.bad-names", file=file, id=class_id)
        attributes = said.get("attributes", {})
        if not isinstance(attributes, dict):
            raise self.bad("attributes", "{name = {type, en, zh}}")
        self.attributes: dict[str, Any] = {**(below.attributes if below else {}), **attributes}
        self.said: dict[str, Any] = {**(below.said if below else {}), **said, "attributes": {}}

    def made(self, above: Mapping[str, ObjectClass], lists: Mapping[str, CodeList]) -> ObjectClass:
        """The class; ``above`` has those of shorter ids."""
        parent_id = self.id.rpartition(".")[0]
        if not _ID.fullmatch(self.id) or (parent_id and parent_id not in above):
            raise StoreError("classes.bad-id", file=self.file, id=self.id)
        if not all(isinstance(self.said.get(name), str) and self.said[name] for name in ("en", "zh")):
            raise StoreError("classes.bad-names", file=self.file, id=self.id)
        for name, value in self.said.items():
            check, wanted = _FIELDS.get(name, (None, ", ".join(_FIELDS)))
            if check is None or not check(value):
                raise self.bad(name, wanted)
        parent = above.get(parent_id) or ObjectClass(parent_id, "", "")
        said, colour = self.said, self.said.get("colour")
        own = {name: self.attribute(name, row, lists) for name, row in self.attributes.items()}
        return ObjectClass(
            self.id, said["en"], said["zh"], said.get("level", parent.level), {**parent.attributes, **own},
            parent.colour if colour is None else int(colour[1:], 16), float(said.get("opacity", parent.opacity)),
            said.get("solid", parent.solid),
            tuple(said.get("citygml", ())), tuple(said.get("ifc", ())), said.get("gb13923", ""), said.get("cim"),
        )  # fmt: skip

    def attribute(self, name: str, row: Any, lists: Mapping[str, CodeList]) -> Attribute:
        """One of its attributes."""
        if not isinstance(row, dict) or not {"type", "en", "zh"} <= set(row):
            raise self.bad(f"attributes.{name}", "{type, en, zh, unit, required, list}")
        if row["type"] not in TYPES:
            raise StoreError("classes.bad-type", file=self.file, id=self.id, attribute=name, type=row["type"], known=", ".join(TYPES))  # fmt: skip
        for key, value in row.items():
            if not isinstance(value, bool if key == "required" else str) or key not in Attribute.__slots__[1:]:
                raise self.bad(f"attributes.{name}.{key}", "type, en, zh, unit, required, list")
        if row.get("list", "") and row["list"] not in lists:
            raise StoreError("classes.unknown-list", file=self.file, id=self.id, attribute=name, list=row["list"], known=", ".join(lists))  # fmt: skip
        return Attribute(name, **cast("dict[str, Any]", row))

    def bad(self, name: str, wanted: str) -> StoreError:
        """What is not right."""
        return StoreError("classes.bad-field", file=self.file, id=self.id, field=name, wanted=wanted)


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


_FIELDS = {
    "en": (_text, "text"),
    "zh": (_text, "text"),
    "attributes": (lambda _: True, ""),
    "level": (lambda v: v in LEVELS, " | ".join(LEVELS)),
    "colour": (lambda v: isinstance(v, str) and bool(_COLOUR.fullmatch(v)), "#rrggbb"),
    "opacity": (lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1, "0 … 1"),
    "solid": (lambda v: isinstance(v, bool), "true | false"),
    "citygml": (_texts, '["…"]'),
    "ifc": (_texts, '["…"]'),
    "gb13923": (lambda v: isinstance(v, str) and v.isascii() and v.isdigit() and len(v) <= 6, "1 … 6 digits"),
    "cim": (lambda v: isinstance(v, int) and not isinstance(v, bool) and 1 <= v <= 7, "1 … 7"),
}
"""What a class may say, whether a value will do, and what would."""
