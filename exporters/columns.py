"""Which columns a table of objects has, and the values of some versions in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tim.exchange import column_names, own_values
from tim.store import ObjectStore, ObjectVersion

Kind = Literal["text", "integer", "real", "boolean"]
MOST = 1500
"""Attributes with a column: a table of SQLite has at most 2,000."""
_KINDS: Mapping[frozenset[str], Kind] = {
    frozenset({"text"}): "text", frozenset({"integer"}): "integer", frozenset({"real"}): "real", frozenset({"integer", "real"}): "real",
    frozenset({"true", "false"}): "boolean", frozenset({"true"}): "boolean", frozenset({"false"}): "boolean",
}  # fmt: skip
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of attributes, by attribute; see :mod:`tim.exchange` for our own."""

    names: Mapping[str, str]
    """What the column is called."""
    kinds: Mapping[str, Kind]
    """What it holds; a value that does not fit goes to the rest."""

    def row(self, version: ObjectVersion) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values of our own columns, and those of the attributes' columns, by column; both without missing ones made up."""
        cells, rest = {}, {}
        for attribute, value in version.object.attributes.items():
            kind = self.kinds.get(attribute)
            if kind is not None and _fits(value, kind):
                cells[self.names[attribute]] = float(value) if kind == "real" else value
            else:
                rest[attribute] = value
        return own_values(version, rest), cells

    def values(self, versions: Sequence[ObjectVersion]) -> tuple[list[dict[str, Any]], dict[str, list[Any]]]:
        """Of some versions: our own columns row by row, those of attributes column by column, ``None`` where there is none."""
        rows = [self.row(version) for version in versions]
        return [own for own, _ in rows], {name: [cells.get(name) for _, cells in rows] for name in self.names.values()}

    @property
    def of(self) -> Mapping[str, Kind]:
        """The kind of each column, by column."""
        return {name: self.kinds[attribute] for attribute, name in self.names.items()}


def columns_of(store: ObjectStore, dataset: str) -> Columns:
    """Of all objects of a dataset that are in force now: an attribute has a column where all its values are of one plain type."""
    kinds = {
        name: kind
        for name, found in sorted(store.attribute_kinds(dataset).items())
        if (kind := _KINDS.get(frozenset(found - {"null"}))) is not None
    }
    kinds = dict(list(kinds.items())[:MOST])
    return Columns(column_names(kinds), kinds)


def _fits(value: Any, kind: Kind) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "text":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (
        isinstance(value, float) or abs(value) <= _EXACT
        if kind == "real"
        else isinstance(value, int) and -(2**63) <= value < 2**63
    )
