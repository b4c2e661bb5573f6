"""CQL2 text (OGC 21-065r2, Annex B) into trees and out of them.

Keywords and functions are read in any case. Names are letters of any script, or anything in double quotes. Geometries are WKT, with or without
``Z``; arrays stand in parentheses or brackets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from tim.errors import UsageError
from tim.query import cql2_tokens, moments, tree
from tim.query.check import DEPTH, DIMENSIONS, Change, checked, joined
from tim.query.cql2_tokens import LEVELS, PRODUCT, RESERVED, SUM, Token
from tim.query.cql2_writer import write
from tim.query.tree import (
    And,
    Arithmetic,
    Array,
    Arrays,
    Between,
    Box,
    Call,
    Compare,
    Expression,
    Geometry,
    In,
    Instant,
    Interval,
    IsNull,
    Like,
    Not,
    Or,
    Property,
    Spatial,
    Temporal,
)

__all__ = ["read", "write"]

_GEOMETRIES = {kind.upper(): kind for kind in (*DIMENSIONS, "GeometryCollection")}
_PREDICATES: dict[str, tuple[type[Spatial] | type[Temporal] | type[Arrays], str]] = {
    operator.lower(): (kind, operator)
    for kind, operators in ((Spatial, tree.SPATIAL), (Temporal, tree.TEMPORAL), (Arrays, tree.ARRAYS))
    for operator in operators
}
_FUNCTIONS = {known.lower(): known for known in tree.FUNCTIONS}
_COMPARATORS = get_args(tree.Comparator)


def read(text: str, change: Change | None = None) -> Expression:
    """The condition a text states. Raises UsageError ``query.*`` saying what is wrong, where, and what was expected.
    ``change``: as for :func:`checked`."""
    reader = _Reader(text)
    try:
        found = reader.disjunction()
    except RecursionError:
        raise UsageError("query.too-deep", limit=DEPTH) from None
    if reader.token.kind != "end":
        raise reader.refused("AND, OR")
    return checked(found, change)


class _Reader:
    """Recursive descent, one method for each level of binding."""

    def __init__(self, text: str) -> None:
        self._tokens = cql2_tokens.tokens(text)
        self._at = 0
        self._depth = 0
        self._closing: dict[int, int] = {}
        """Where each opening parenthesis is closed."""
        opened: list[int] = []
        for i, token in enumerate(self._tokens):
            if token.kind == "sign" and token.value == "(":
                opened.append(i)
            elif token.kind == "sign" and token.value == ")" and opened:
                self._closing[opened.pop()] = i

    @property
    def token(self) -> Token:
        return self._tokens[self._at]

    def refused(self, expected: str) -> UsageError:
        return cql2_tokens.syntax(self.token.value, self.token.position, expected)

    def disjunction(self) -> Expression:
        self._deeper()
        conditions = [self._conjunction()]
        while self._word("or"):
            conditions.append(self._conjunction())
        self._depth -= 1
        return conditions[0] if len(conditions) == 1 else joined(Or, conditions)

    def _conjunction(self) -> Expression:
        conditions = [self._negation()]
        while self._word("and"):
            conditions.append(self._negation())
        return conditions[0] if len(conditions) == 1 else joined(And, conditions)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH:
            raise UsageError("query.too-deep", limit=DEPTH)

    def _negation(self) -> Expression:
        count = 0
        while self._word("not"):
            count += 1
        if count > DEPTH:
            raise UsageError("query.too-deep", limit=DEPTH)
        found = self._predicate()
        for _ in range(count):
            found = Not(found)
        return found

    def _predicate(self) -> Expression:
        left = self._sum()
        for operator in _COMPARATORS:
            if self._sign(operator):
                return Compare(operator, left, self._sum())
        if self._word("is"):
            negative = self._word("not")
            self._need_word("null")
            return Not(IsNull(left)) if negative else IsNull(left)
        negative = self._word("not")
        found: Expression
        if self._word("like"):
            found = Like(left, self._sum())
        elif self._word("between"):
            low = self._sum()
            self._need_word("and")
            found = Between(left, low, self._sum())
        elif self._word("in"):
            self._need("(")
            found = In(left, tuple(self._list(")", self.disjunction)))
        elif negative:
            raise self.refused("LIKE, BETWEEN, IN")
        else:
            return left
        return Not(found) if negative else found

    def _sum(self, level: int = SUM) -> Expression:
        left = self._sum(PRODUCT) if level == SUM else self._power()
        while operator := self._operator(level):
            left = Arithmetic(operator, left, self._sum(PRODUCT) if level == SUM else self._power())
        return left

    def _power(self) -> Expression:
        powers = [self._value()]
        while self._sign("^"):
            powers.append(self._value())
        found = powers.pop()
        while powers:
            found = Arithmetic("^", powers.pop(), found)
        return found

    def _operator(self, level: int) -> tree.Operator | None:
        for operator in get_args(tree.Operator):
            if LEVELS[operator] == level and (self._word(operator) if operator == "div" else self._sign(operator)):
                return operator  # type: ignore[no-any-return]
        return None

    def _value(self) -> Expression:
        negative = False
        while self._sign("-") or self._sign("+"):
            negative ^= self._tokens[self._at - 1].value == "-"
        token = self.token
        if token.kind == "number":
            self._at += 1
            return tree.Literal(_number(token.value, negative=negative))
        found = self._operand(token)
        return Arithmetic("*", tree.Literal(-1), found) if negative else found

    def _operand(self, token: Token) -> Expression:
        if self._sign("("):
            found = self.disjunction()
            self._need(")")
            return found
        lower = token.value.lower()
        if token.kind in ("end", "sign") or (
            token.kind == "name" and lower in RESERVED and lower not in ("true", "false")
        ):
            raise self.refused("a value")
        self._at += 1
        if token.kind == "text":
            return tree.Literal(token.value)
        if token.kind == "quoted":
            return Property(token.value)
        if lower in ("true", "false"):
            return tree.Literal(lower == "true")
        upper = token.value.upper().removesuffix("Z")
        if upper in _GEOMETRIES and (self._next("(") or self._word("z") or self._word("empty")):
            return self._geometry(upper)
        return self._called(token, lower) if self._sign("(") else Property(token.value)

    def _called(self, token: Token, lower: str) -> Expression:
        if lower in _PREDICATES:
            kind, operator = _PREDICATES[lower]
            arguments = self._list(")", self._element if kind is Arrays else self.disjunction)
            if len(arguments) != 2:
                raise UsageError("query.arguments", function=operator, wanted=2, given=len(arguments))
            return kind(operator, *arguments)
        match lower:
            case "date" | "timestamp":
                moment = self._instant(date=lower == "date")
                self._need(")")
                return moment
            case "interval":
                start = self._end()
                self._need(",")
                found = Interval(start, self._end())
                self._need(")")
                return found
            case "bbox":
                return Box(tuple(self._list(")", self._coordinate)))
        return Call(_FUNCTIONS.get(lower, token.value), tuple(self._list(")", self.disjunction)))

    def _element(self) -> Expression:
        """An argument of an array predicate, or an item of an array. Parentheses are arrays there, unless an expression goes on after them."""
        if self._next("[") or (self._next("(") and self._ends(self._closing.get(self._at, -1) + 1)):
            self._deeper()
            closing = "]" if self._sign("[") else ")"
            if closing == ")":
                self._need("(")
            found = Array(tuple(self._list(closing, self._element)))
            self._depth -= 1
            return found
        return self.disjunction()

    def _ends(self, at: int) -> bool:
        """Whether a word ends an item."""
        return self._tokens[at].kind == "end" or self._tokens[at].value in (",", ")", "]")

    def _list(self, closing: str, item: Callable[[], Any]) -> list[Any]:
        """Items up to a closing sign."""
        items: list[Any] = []
        if self._sign(closing):
            return items
        items.append(item())
        while self._sign(","):
            items.append(item())
        self._need(closing)
        return items

    def _instant(self, *, date: bool) -> Instant:
        token = self.token
        if token.kind != "text":
            raise self.refused("'2026-11-21'" if date else "'2026-11-21T08:00:00Z'")
        found = moments.read(token.value)
        if found is None or ("T" not in token.value) != date:
            raise UsageError("query.moment", text=token.value[:50])
        self._at += 1
        return found

    def _end(self) -> Expression | None:
        """One end of an interval."""
        token = self.token
        if token.kind != "text":
            return self._sum()
        if token.value == "..":
            self._at += 1
            return None
        return self._instant(date="T" not in token.value)

    def _geometry(self, upper: str) -> Geometry:
        kind = _GEOMETRIES[upper]
        self._need("(")
        if kind == "GeometryCollection":
            return Geometry(kind, tuple(self._list(")", self._member)))
        if kind == "Point":
            found = self._position()
            self._need(")")
            return Geometry(kind, found)
        return Geometry(kind, self._nested(DIMENSIONS[kind], kind))

    def _member(self) -> Geometry:
        token = self.token
        upper = token.value.upper().removesuffix("Z")
        if token.kind != "name" or upper not in _GEOMETRIES or upper == "GEOMETRYCOLLECTION":
            raise self.refused("POINT, LINESTRING, POLYGON, MULTIPOINT, MULTILINESTRING, MULTIPOLYGON")
        self._at += 1
        self._word("z")
        return self._geometry(upper)

    def _nested(self, dimensions: int, kind: str) -> tuple[Any, ...]:
        """Coordinates after their opening parenthesis."""

        def inner() -> tuple[Any, ...]:
            self._need("(")
            return self._nested(dimensions - 1, kind)

        def point() -> tuple[float, ...]:
            bracketed = kind == "MultiPoint" and self._sign("(")
            found = self._position()
            if bracketed:
                self._need(")")
            return found

        return tuple(self._list(")", point if dimensions == 1 else inner))

    def _position(self) -> tuple[float, ...]:
        found = [self._coordinate(), self._coordinate()]
        if self.token.kind == "number" or self._next("-") or self._next("+"):
            found.append(self._coordinate())
        return tuple(found)

    def _coordinate(self) -> float:
        negative = self._sign("-")
        if not negative:
            self._sign("+")
        token = self.token
        if token.kind != "number":
            raise self.refused("a number")
        self._at += 1
        return float(_number(token.value, negative=negative))

    def _word(self, word: str) -> bool:
        """Go past a keyword, if it is there."""
        found = self.token.kind == "name" and self.token.value.lower() == word
        self._at += found
        return found

    def _next(self, sign: str) -> bool:
        return self.token.kind == "sign" and self.token.value == sign

    def _sign(self, sign: str) -> bool:
        """Go past a sign, if it is there."""
        found = self._next(sign)
        self._at += found
        return found

    def _need(self, sign: str) -> None:
        if not self._sign(sign):
            raise self.refused(f"'{sign}'")

    def _need_word(self, word: str) -> None:
        if not self._word(word):
            raise self.refused(word.upper())


def _number(text: str, *, negative: bool) -> float:
    try:
        value: float = int(text) if text.isdecimal() else float(text)
        float(value)
    except (OverflowError, ValueError):
        raise UsageError("query.number", number=text[:50]) from None
    return -value if negative else value
