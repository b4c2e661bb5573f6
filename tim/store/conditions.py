"""Conditions (:mod:`tim.query.tree`) as SQL about ``version v`` and ``object o``, with every name and value bound, whatever the store.

Values are taken by type, NULL where they are of another one, so that SQL's three values are those of the conditions. What a store cannot say in
its SQL is said too widely and marked as not exact: :mod:`tim.query.plan` then looks again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from uuid import UUID

from tim.place import Box3
from tim.query import moments, tree
from tim.query.check import Kind, comparable, kinds
from tim.query.functions import accenti, casei
from tim.query.plan import envelope, written_id
from tim.query.tree import (
    And,
    Arithmetic,
    Array,
    Arrays,
    Between,
    Call,
    Compare,
    Expression,
    In,
    Instant,
    Interval,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Property,
    Spatial,
    Temporal,
)  # fmt: skip
from tim.store.canonical import EVER, NEVER
from tim.store.sql import OF_CLASS, class_and_below

_PATTERN = 10_000
"""Characters of a pattern; SQLite takes 50,000 bytes."""
_TIMES = {"validFrom": f"nullif(v.valid_from, '{EVER}')", "validTo": f"nullif(v.valid_to, '{NEVER}')"}


@dataclass(frozen=True, slots=True)
class Sql:
    """An SQL expression."""

    text: str
    parameters: tuple[Any, ...] = ()
    exact: bool = True
    """Whether it is true of those rows only of which the condition is; otherwise it is of more."""


ANYTHING = Sql("TRUE", (), exact=False)
_NULL = Sql("NULL")


class Compiler(ABC):
    """Conditions in the SQL of a store, which says how values are taken."""

    NESTED: ClassVar[int]
    """Parentheses within each other that the store's parser takes."""
    COLUMNS: ClassVar[Mapping[str, str]] = {
        "name": "v.name", "layer": "o.layer", "sourceKey": "o.source_key", "stage": "v.stage",
        "class": "(SELECT path FROM class WHERE id = v.class)",
    }  # fmt: skip
    """Properties that are text."""

    def __init__(self, valid: str | None) -> None:
        """``valid``: the sort key of the moment relations are seen at, ``None`` for any."""
        self.valid = valid

    @abstractmethod
    def attribute(self, name: str, kind: Kind) -> Sql:
        """What an attribute is where it is of a type (text, number, truth, or text read as a moment), otherwise NULL."""

    @abstractmethod
    def absent(self, name: str) -> Sql:
        """Whether an attribute is absent or null; never NULL."""

    @abstractmethod
    def constant(self, value: str | float | bool, kind: Kind) -> Sql:
        """A value of a type; of a moment its sort key."""

    @abstractmethod
    def moment(self, text: Sql) -> Sql:
        """The sort key of a text that reads as a moment, otherwise NULL."""

    @abstractmethod
    def folded(self, name: str, text: Sql) -> Sql:
        """``casei`` or ``accenti`` of a text."""

    @abstractmethod
    def arithmetic(self, operator: str, left: Sql, right: Sql) -> Sql:
        """What two numbers make; NULL where that is not finite."""

    @abstractmethod
    def like(self, text: Sql, pattern: str) -> Sql:
        """Whether a text is like a pattern of LIKE."""

    @abstractmethod
    def among(self, ids: Sequence[UUID]) -> Sql:
        """Whether the object is one of some, at least one."""

    @abstractmethod
    def arrays(self, operator: str, left: Expression, right: Expression) -> Sql:
        """A predicate of arrays."""

    @abstractmethod
    def raw(self, tim_id: UUID) -> Any:
        """An id as rows have it."""

    @abstractmethod
    def meets(self, box: Box3) -> Sql:
        """Whether the box of the version meets one, as an index finds it."""

    def condition(self, expression: Expression) -> Sql:
        """A truth value, NULL where unknown; too wide where it would nest too deeply for SQLite."""
        found = self._condition(expression)
        return found if _depth(found.text) <= self.NESTED else ANYTHING

    def _condition(self, expression: Expression) -> Sql:
        match expression:
            case And(conditions):
                parts = [self.condition(c) for c in conditions]
                return _joined("AND", sorted(parts, key=lambda part: "tim_" in part.text))  # Python's functions last
            case Or(conditions):
                either = [self.condition(c) for c in conditions]
                return ANYTHING if any(part == ANYTHING for part in either) else _joined("OR", either)
            case Not(condition):
                inner = self.condition(condition)
                return Sql(f"(NOT {inner.text})", inner.parameters) if inner.exact else ANYTHING
            case Compare(operator, left, right):
                return self._compare(operator, left, right)
            case In(value, items):
                return self._in(value, items)
            case Between(value, low, high):
                return self.condition(And((Compare(">=", value, low), Compare("<=", value, high))))
            case Like(value, pattern):
                return self._like(value, pattern)
            case IsNull(value):
                return self._is_null(value)
            case Spatial():
                return self._spatial(expression)
            case Temporal(operator, left, right):
                return self._temporal(operator, left, right)
            case Arrays(operator, left, right):
                return self._arrays(operator, left, right)
            case Call(name, arguments):
                return self._call(name, [str(getattr(argument, "value", "")) for argument in arguments])
        return self.typed(expression, "truth")

    def typed(self, expression: Expression, kind: Kind) -> Sql:
        """The value of an expression where it is of a type, otherwise NULL."""
        match expression:
            case Literal(value):
                return self._literal(value, kind)
            case Property(name) if (attribute := tree.attribute_name(name)) is not None:
                return self.attribute(attribute, kind)
            case Property(name):
                return self._column(name, kind)
            case Instant(text) if kind == "moment":
                return self.constant(moments.key(text) or "", "moment")
            case Arithmetic(operator, left, right) if kind == "number":
                return self.arithmetic(operator, self.typed(left, "number"), self.typed(right, "number"))
            case Call("casei" | "accenti" as name, (argument,)) if kind in ("text", "moment"):
                folded = self.folded(name, self.typed(argument, "text"))
                return folded if kind == "text" else self.moment(folded)
            case _ if kind == "truth" and "truth" in kinds(expression):
                return self.condition(expression)
        return _NULL

    def _literal(self, value: str | float | bool, kind: Kind) -> Sql:
        match value:
            case bool():
                return self.constant(value, kind) if kind == "truth" else _NULL
            case str() if kind in ("text", "moment"):
                found = value if kind == "text" else moments.key(value)
                return _NULL if found is None else self.constant(found, kind)
            case int() | float() if kind == "number":
                return self.constant(float(value), kind)
        return _NULL

    def _column(self, name: str, kind: Kind) -> Sql:
        if name in _TIMES and kind == "moment":
            return Sql(_TIMES[name])
        if name == "changed" and kind == "moment":
            return self.moment(Sql("(SELECT time FROM changeset WHERE seq = v.seq_from)"))
        if name in self.COLUMNS and kind in ("text", "moment"):
            return Sql(self.COLUMNS[name]) if kind == "text" else self.moment(Sql(self.COLUMNS[name]))
        return Sql("CAST(v.n AS DOUBLE PRECISION)") if name == "version" and kind == "number" else _NULL

    def _compare(self, operator: str, left: Expression, right: Expression) -> Sql:
        for one, other in ((left, right), (right, left)):
            if operator == "=" and isinstance(one, Property) and isinstance(other, Literal):
                if one.name == "id":
                    return self._in(one, (other,))
                if one.name == "class":
                    return Sql("v.class IN (SELECT id FROM class WHERE path = ?)", (other.value,))
        common = sorted(comparable(left, right) - (set() if operator in ("=", "<>") else {"truth"}))
        pairs = [(self.typed(left, kind), self.typed(right, kind)) for kind in common]
        if not all(side.exact for pair in pairs for side in pair):
            return ANYTHING
        tests = [Sql(f"({a.text} {operator} {b.text})", (*a.parameters, *b.parameters)) for a, b in pairs]
        if len(tests) < 2:
            return tests[0] if tests else _NULL
        return Sql(f"coalesce({', '.join(t.text for t in tests)})", tuple(p for t in tests for p in t.parameters))

    def _in(self, value: Expression, items: Sequence[Expression]) -> Sql:
        literals = [item.value for item in items if isinstance(item, Literal)]
        others = [item for item in items if not isinstance(item, Literal)]
        parts = [self._compare("=", value, item) for item in others]
        if value == Property("id"):
            return _joined("OR", [*parts, self._ids([found for text in literals if (found := written_id(text))])])
        if "moment" in kinds(value):
            parts += [self._compare("=", value, Literal(item)) for item in literals]
            literals = []
        for kind in ("text", "number", "truth"):
            chosen = [self._literal(item, kind) for item in literals if kind in kinds(Literal(item))]
            if chosen:
                sought = self.typed(value, kind)
                if not sought.exact:
                    return ANYTHING
                parameters = (*sought.parameters, *(p for item in chosen for p in item.parameters))
                parts.append(Sql(f"({sought.text} IN ({', '.join(item.text for item in chosen)}))", parameters))
        return _joined("OR", parts)

    def _like(self, value: Expression, pattern: Expression) -> Sql:
        folds: list[Callable[[str], str]] = []
        while isinstance(pattern, Call):
            folds.append(casei if pattern.name == "casei" else accenti)
            pattern = pattern.arguments[0]
        wanted = str(getattr(pattern, "value", ""))
        for fold in reversed(folds):
            wanted = fold(wanted)
        if len(wanted) > _PATTERN:
            return ANYTHING
        text = self.typed(value, "text")
        return self.like(text, wanted) if text.exact else ANYTHING

    def _is_null(self, value: Expression) -> Sql:
        if isinstance(value, Property):
            if (attribute := tree.attribute_name(value.name)) is not None:
                return self.absent(attribute)
            if value.name == "geometry":
                return Sql("(v.west IS NULL)")
        found = kinds(value)
        if found & {"array", "geometry", "interval"}:
            return ANYTHING if "interval" in found else Sql("FALSE")
        inner = self.typed(value, next(iter(found)))
        return Sql(f"({inner.text} IS NULL)", inner.parameters) if inner.exact else ANYTHING

    def _spatial(self, expression: Spatial) -> Sql:
        box = envelope(expression)
        if box is None:
            return ANYTHING
        return replace(self.meets(box), exact=False)

    def _temporal(self, operator: str, left: Expression, right: Expression) -> Sql:
        (a, b), (c, d) = self._span(left), self._span(right)
        if not all(end.exact for end in (a, b, c, d)):
            return ANYTHING
        order = _TEMPORAL[operator]
        ends = {"a": a, "b": b, "c": c, "d": d}
        parts = [
            Sql(f"({ends[one].text} {sign} {ends[other].text})", (*ends[one].parameters, *ends[other].parameters))
            for one, sign, other in (test.split() for test in order)
        ]
        joined = _joined("OR" if operator == "t_disjoint" else "AND", parts)
        guards = [
            Sql(f"({start.text} <= {end.text})", (*start.parameters, *end.parameters))
            for side, start, end in ((left, a, b), (right, c, d))
            if isinstance(side, Interval)
        ]
        if not guards:
            return joined
        guard = _joined("AND", guards)
        return Sql(f"CASE WHEN {guard.text} THEN {joined.text} END", (*guard.parameters, *joined.parameters))

    def _span(self, expression: Expression) -> tuple[Sql, Sql]:
        if isinstance(expression, Interval):
            return self._bound(expression.start, EVER), self._bound(expression.end, NEVER)
        found = self.typed(expression, "moment")
        return found, found

    def _bound(self, end: Expression | None, opened: str) -> Sql:
        if end is None:
            return self.constant(opened, "moment")
        found = self.typed(end, "moment")
        if isinstance(end, Property) and (attribute := tree.attribute_name(end.name)) is not None:
            absent = self.absent(attribute)
            return Sql(
                f"CASE WHEN {absent.text} THEN ? ELSE {found.text} END",
                (*absent.parameters, opened, *found.parameters),
                found.exact,
            )
        if isinstance(end, Property):
            return Sql(f"coalesce({found.text}, ?)", (*found.parameters, opened), found.exact)
        return found

    def _arrays(self, operator: str, left: Expression, right: Expression) -> Sql:
        if operator == "a_contains" and left == Property("codes") and isinstance(right, Array):
            values = [item.value for item in right.items if isinstance(item, Literal)]
            if len(values) == len(right.items) and all(isinstance(value, str) for value in values):
                each = Sql("(v.id IN (SELECT version FROM code WHERE value = ?))")
                return _joined("AND", [Sql(each.text, (value,)) for value in values]) if values else Sql("TRUE")
        return self.arrays(operator, left, right)

    def _call(self, name: str, arguments: Sequence[str]) -> Sql:
        match name, arguments:
            case "inClass", [path]:
                return Sql(f"({OF_CLASS})", class_and_below(path))
            case "hasCode", [scheme, value]:
                return Sql("(v.id IN (SELECT version FROM code WHERE value = ? AND scheme = ?))", (value, scheme))
            case "relatedTo", [kind, target]:
                text, parameters = "target = ?", [self.raw(UUID(target)), *([kind] if kind else [])]
                text += " AND kind = ?" if kind else ""
                if self.valid is not None:
                    text += " AND (valid_from IS NULL OR rtrim(valid_from, 'Z') <= ?) AND (valid_to IS NULL OR rtrim(valid_to, 'Z') > ?)"
                    parameters += [self.valid, self.valid]
                return Sql(f"(v.id IN (SELECT version FROM relation WHERE {text}))", tuple(parameters))
        return ANYTHING

    def _ids(self, found: Sequence[UUID]) -> Sql:
        return self.among(found) if found else Sql("FALSE")


_TEMPORAL: dict[str, tuple[str, ...]] = {
    "t_after": ("a > d",), "t_before": ("b < c",), "t_contains": ("a < c", "b > d"), "t_disjoint": ("b < c", "a > d"),
    "t_during": ("a > c", "b < d"), "t_equals": ("a = c", "b = d"), "t_finishedBy": ("a < c", "b = d"), "t_finishes": ("a > c", "b = d"),
    "t_intersects": ("a <= d", "b >= c"), "t_meets": ("b = c",), "t_metBy": ("a = d",), "t_overlappedBy": ("c < a", "a < d", "d < b"),
    "t_overlaps": ("a < c", "c < b", "b < d"), "t_startedBy": ("a = c", "b > d"), "t_starts": ("a = c", "b < d"),
}  # fmt: skip
"""What holds between an interval from a to b and one from c to d; all of it, but of ``t_disjoint`` any."""


def _joined(word: str, parts: Sequence[Sql]) -> Sql:
    """Joined two by two, so that many do not nest deeply."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    one, other = _joined(word, parts[:middle]), _joined(word, parts[middle:])
    return Sql(f"({one.text} {word} {other.text})", (*one.parameters, *other.parameters), one.exact and other.exact)


def _depth(text: str) -> int:
    """How deep parentheses nest; there are none in names or values, which are bound."""
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest
