"""YAML documents that people edit: every value knows its line, and every refusal names it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import yaml

from tim.errors import UsageError

_MISSING: Any = object()


class Node:
    """A mapping of a document."""

    def __init__(self, file: str, name: str, line: int, members: dict[str, yaml.Node]) -> None:
        self.file, self.name, self.line = file, name, line
        self._members = members

    def error(self, name: str, code: str, **fields: Any) -> UsageError:
        """A refusal of one member, with its file, line and path."""
        node = self._members.get(name)
        line = self.line if node is None else node.start_mark.line + 1
        return UsageError(code, file=self.file, line=line, field=self._path(name), **fields)

    def only(self, known: set[str]) -> None:
        """Raises UsageError ``import.plan-unknown-field`` for a member that is not among the known."""
        for name in self._members:
            if name not in known:
                raise self.error(name, "import.plan-unknown-field", known=", ".join(sorted(known)))

    def get(self, name: str, kind: type, default: Any = _MISSING, among: Iterable[str] | None = None) -> Any:
        """A scalar member of this type. ``null`` counts as missing."""
        value = self.plain(name, None)
        if value is None:
            if default is _MISSING:
                raise self.error(name, "import.plan-missing-field")
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(name, "import.plan-wrong-type", value=str(value), expected=kind.__name__)
        if among is not None and value not in _container(among):
            raise self.error(name, "import.plan-wrong-value", value=value, allowed=", ".join(among))
        return value

    def plain(self, name: str, default: Any) -> Any:
        """A member as plain values."""
        if name not in self._members:
            return default
        return _construct(self._members[name])

    def triple(self, name: str) -> tuple[float, float, float] | None:
        """A member of three numbers, or none."""
        value = self.plain(name, None)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 3 or not all(isinstance(v, int | float) for v in value):
            raise self.error(name, "import.plan-wrong-type", value=str(value), expected="[x, y, z]")
        return float(value[0]), float(value[1]), float(value[2])

    def child(self, name: str) -> Node | None:
        """A member that is a mapping, or none."""
        node = self._members.get(name)
        if node is None or _construct(node) is None:
            return None
        if not isinstance(node, yaml.MappingNode):
            raise self.error(name, "import.plan-wrong-type", value=str(_construct(node)), expected="mapping")
        return _mapping(self.file, self._path(name), node)

    def items(self, name: str, default: Any = _MISSING) -> list[Node]:
        """A member that is a list of mappings."""
        node = self._members.get(name)
        if node is None:
            if default is _MISSING:
                raise self.error(name, "import.plan-missing-field")
            return list(default)
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(name, "import.plan-wrong-type", value=str(_construct(node)), expected="list")
        out = []
        for index, item in enumerate(node.value):
            if not isinstance(item, yaml.MappingNode):
                where = f"{self._path(name)}[{index}]"
                line = item.start_mark.line + 1
                raise UsageError(
                    "import.plan-wrong-type",
                    file=self.file,
                    line=line,
                    field=where,
                    value=str(_construct(item)),
                    expected="mapping",
                )
            out.append(_mapping(self.file, f"{self._path(name)}[{index}]", item))
        return out

    def _path(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name


def read_document(text: str, file: str) -> Node:
    """The top mapping of a YAML text. Raises UsageError ``import.plan-not-yaml``."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        top = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(
            "import.plan-not-yaml", file=file, line=mark.line + 1 if mark else 1, problem=problem
        ) from None
    if not isinstance(top, yaml.MappingNode):
        raise UsageError("import.plan-not-yaml", file=file, line=1, problem="not a mapping")
    return _mapping(file, "", top)


def _mapping(file: str, name: str, node: yaml.MappingNode) -> Node:
    members: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if key.value in members:
            line = key.start_mark.line + 1
            raise UsageError(
                "import.plan-field-twice", file=file, line=line, field=f"{name}.{key.value}" if name else key.value
            )
        members[key.value] = value
    return Node(file, name, node.start_mark.line + 1, members)


def _construct(node: yaml.Node) -> Any:
    return yaml.SafeLoader("").construct_document(node)


def _container(values: Iterable[str]) -> Container[str]:
    return values if isinstance(values, Container) else tuple(values)
