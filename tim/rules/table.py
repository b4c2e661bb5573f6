"""Which attributes of which objects are rules: a table in TOML (``rules.toml``), so that other places' rules are data."""

from __future__ import annotations

import math
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from tim.errors import UsageError

_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*(\S*)\s*")
_ENTRY = {
    "class": str,
    "kind": str,
    "types": list,
    "always": bool,
    "volume": bool,
    "parameters": dict,
    "constants": dict,
}
_NOTHING = object()
_MOST = 1e12
"""No number that a rule states is as large."""


@dataclass(frozen=True, slots=True)
class Named:
    """A kind of rule, or a parameter."""

    id: str
    en: str
    zh: str
    unit: str = ""
    """``m``, ``m2`` or ``ratio`` (1 is all of it) for numbers; empty for codes and text."""
    percent_above: float = math.inf
    """A ratio that is more was written in percent."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What makes objects of a class a rule of a kind."""

    class_id: str
    kind: str
    types: Sequence[str] = ()
    """Values of the attribute ``type``; empty for any."""
    always: bool = False
    volume: bool = False
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Attributes that may state it, by parameter."""
    constants: Mapping[str, Any] = field(default_factory=dict)

    def meets(self, class_id: str, attributes: Mapping[str, Any]) -> bool:
        """Whether an object may be such a rule."""
        below = class_id == self.class_id or class_id.startswith(f"{self.class_id}.")
        return below and (not self.types or attributes.get("type") in self.types)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an object states of one kind."""

    parameters: Mapping[str, Any]
    unread: Mapping[str, Any]
    """By attribute: what states a number, but is none."""
    attributes: Sequence[str]
    """Those that were read."""
    volume: bool


@dataclass(frozen=True, slots=True)
class Table:
    """The kinds, their parameters and the entries that read them."""

    kinds: Mapping[str, Named]
    parameters: Mapping[str, Named]
    entries: Sequence[Entry]
    basis: Mapping[str, Sequence[str]]
    units: Mapping[str, Mapping[str, float]]
    unknown: Sequence[Any]

    def classes(self, kinds: Sequence[str] = ()) -> list[str]:
        """The topmost classes whose objects may be rules of these kinds; of any where there are none. Raises UsageError ``rules.no-kind``."""
        for kind in kinds:
            if kind not in self.kinds:
                raise UsageError("rules.no-kind", kind=kind, known=", ".join(self.kinds))
        names = sorted({entry.class_id for entry in self.entries if not kinds or entry.kind in kinds})
        return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]

    def read(self, class_id: str, attributes: Mapping[str, Any]) -> dict[str, Reading]:
        """What an object states, by kind."""
        out: dict[str, Reading] = {}
        for kind in self.kinds:
            entries = [entry for entry in self.entries if entry.kind == kind and entry.meets(class_id, attributes)]
            parameters, unread, used = dict[str, Any](), dict[str, Any](), list[str]()
            for entry in entries:
                for name, stating in entry.parameters.items():
                    for path, value in self._stated(attributes, stating):
                        read = self._value(self.parameters[name], value)
                        used.append(path)
                        if read is _NOTHING:
                            unread[path] = value
                        else:
                            parameters[name] = read
                        break
            if parameters or unread or any(entry.always for entry in entries):
                for entry in entries:
                    parameters.update(entry.constants)
                out[kind] = Reading(parameters, unread, used, any(entry.volume for entry in entries))
        return out

    def read_basis(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Notice, custodian, law, … as an object states them."""
        return {
            name: value for name, stating in self.basis.items() for _, value in [*self._stated(attributes, stating)][:1]
        }

    def _stated(self, attributes: Mapping[str, Any], paths: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """The attributes that say anything."""
        for path in paths:
            value = _inside(attributes, path.split("."))
            plain = value.get("value") if isinstance(value, Mapping) and "uom" in value else value
            if value is not None and plain not in self.unknown:
                yield path, value

    def _value(self, parameter: Named, value: Any) -> Any:
        """A number in the unit of the parameter, or what is stated where it has none; :data:`_NOTHING` where it should be a number and is none."""
        if not parameter.unit:
            return value
        if isinstance(value, list):
            several = {self._value(parameter, one) for one in value if not isinstance(one, list)}
            return several.pop() if len(several) == 1 else _NOTHING
        uom = ""
        if isinstance(value, Mapping):
            value, uom = value.get("value"), str(value.get("uom") or "")
        if isinstance(value, str) and (match := _NUMBER.fullmatch(unicodedata.normalize("NFKC", value))):
            value, uom = float(match[1]), match[2] or uom
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:
            return _NOTHING
        if uom:
            factor = self.units[parameter.unit].get(re.split(r"[:/#]", uom)[-1])
            return _NOTHING if factor is None else value * factor
        return value / 100 if value > parameter.percent_above else float(value)


def parse(text: str, where: str = "rules.toml", base: Table | None = None) -> Table:
    """A table in TOML, upon another one: what both name is as this one says. Raises UsageError ``rules.bad-table`` naming what of it is not right."""
    try:
        said = tomllib.loads(text)
        base = base or Table({}, {}, [], {}, {}, [])
        kinds = {
            **base.kinds,
            **{name: Named(name, one["en"], one["zh"]) for name, one in said.get("kinds", {}).items()},
        }
        parameters = {
            **base.parameters,
            **{name: Named(name, **one) for name, one in said.get("parameters", {}).items()},
        }
        units = {**base.units, **{unit: dict(factors) for unit, factors in said.get("units", {}).items()}}
        entries = [*base.entries, *(_entry(one, kinds, parameters) for one in said.get("rules", []))]
        basis = {
            name: [*said.get("basis", {}).get(name, []), *base.basis.get(name, [])]
            for name in {**base.basis, **said.get("basis", {})}
        }
        for one in parameters.values():
            if one.unit and one.unit not in units:
                raise ValueError(f"{one.id}: unit {one.unit}")
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError("rules.bad-table", file=where, reason=str(error)) from None
    return Table(kinds, parameters, entries, basis, units, [*base.unknown, *said.get("unknown", [])])


def load(folder: Path) -> Table:
    """The shipped table, with what ``rules.toml`` in a folder (a workspace) says upon it where there is one. Raises UsageError ``rules.bad-table``."""
    path = folder / "rules.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return shipped()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("rules.bad-table", file=path.name, reason=str(error)) from None
    return parse(text, path.name, shipped())


@cache
def shipped() -> Table:
    """The table that comes with the engine."""
    return parse(resources.files("tim.rules").joinpath("rules.toml").read_text(encoding="utf-8"))


def _entry(said: Mapping[str, Any], kinds: Mapping[str, Named], parameters: Mapping[str, Named]) -> Entry:
    for name, value in said.items():
        if not isinstance(value, _ENTRY.get(name, ())):
            raise ValueError(f"{name} = {value!r}")
    known = {*said.get("parameters", {}), *said.get("constants", {})}
    if said["kind"] not in kinds or not known <= parameters.keys():
        raise ValueError(f"{said['kind']}: {', '.join(sorted(known - parameters.keys())) or 'no such kind'}")
    return Entry(
        said["class"], said["kind"], said.get("types", ()), said.get("always", False), said.get("volume", False),
        said.get("parameters", {}), said.get("constants", {}),
    )  # fmt: skip


def _inside(value: Any, path: Sequence[str]) -> Any:
    """What lies at a path; of several, all that say anything."""
    if not path:
        return value
    if isinstance(value, list):
        found = [one for one in (_inside(inner, path) for inner in value) if one is not None]
        return found[0] if len(found) == 1 else found or None
    return _inside(value[path[0]], path[1:]) if isinstance(value, Mapping) and path[0] in value else None
