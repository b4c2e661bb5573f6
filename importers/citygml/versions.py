"""Who is who over time: identifiers, and what versions, transitions and groups say of features they name (CityGML 3.0, 7.14 and 7.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from importers.city import moment
from importers.citygml.names import HREF, Element, gml_id, local

_SAYS = (("validFrom", "creationDate"), ("validTo", "terminationDate"))
"""What says when a feature begins and ends: of the real world, else of the database."""
NOTED = {"identifier", "Version", "VersionTransition", "CityObjectGroup"}
"""What :meth:`Versions.note` looks at."""
HOLDERS = {"Version", "VersionTransition", "Transaction"}
HELD = {"versionMember", "from", "to", "transaction", "oldFeature", "newFeature"}


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another, each ``None`` where it is open or unknown, and whether that is said at all."""

    begin: str | None = None
    end: str | None = None
    says_begin: bool = False
    says_end: bool = False

    def filled(self, other: Span) -> Span:
        """With what another says of the ends of which this one says nothing."""
        return Span(
            self.begin if self.says_begin else other.begin, self.end if self.says_end else other.end,
            self.says_begin or other.says_begin, self.says_end or other.says_end,
        )  # fmt: skip


@dataclass(slots=True)
class Versions:
    """What the first reading finds, by ``gml:id``."""

    keys: dict[str, str] = field(default_factory=dict)
    """Of a feature that has an identifier: its key."""
    said: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Of a feature: the tags of the versions it is a member of, and what the transitions say that made or ended it."""
    replaced: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Of a new feature or version: the old ones, each with why."""
    groups: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Of a feature: the groups it is a member of, each with its role in it."""
    _own: dict[str, Span] = field(default_factory=dict)
    _within: dict[str, list[str]] = field(default_factory=dict)
    """Of a feature: the versions it is a member of."""
    _made: dict[str, list[str]] = field(default_factory=dict)
    """Of a feature: the versions whose transitions made it."""
    _ended: dict[str, list[str]] = field(default_factory=dict)
    _followed: dict[str, list[str]] = field(default_factory=dict)
    """Of a version: those that name all that is in them anew."""

    def note(self, element: Element) -> None:
        """One element of the file, of :data:`NOTED`."""
        match local(element):
            case "identifier" if (parent := element.getparent()) is not None and (own := gml_id(parent)):
                self.keys[own] = key_of(parent)
            case "Version":
                self._version(element)
            case "VersionTransition":
                self._transition(element)
            case "CityObjectGroup":
                for member in element.iter("{*}groupMember"):
                    if (href := member.get(HREF) or "").startswith("#"):
                        role = member.get("role") or member.getparent().findtext("{*}role") or ""
                        self.groups.setdefault(href[1:], []).append((gml_id(element), role.strip()))

    def key(self, name: str) -> str:
        """What the feature with a ``gml:id`` is known by."""
        return self.keys.get(name, name)

    def span(self, name: str) -> Span:
        """When a feature stands, by the versions that have it and the transitions that made or ended it, where those have a date."""
        begins = [self._begin(version) for version in self._made.get(name) or self._within.get(name, [])]
        ends = [self._begin(version) for version in self._ended.get(name, [])]
        ends = ends or [self._end(version) for version in self._within.get(name, [])]
        begin = min(filter(None, begins)) if begins and all(begins) else None
        end = max(filter(None, ends)) if ends and all(ends) else None
        return Span(begin, end, begin is not None, end is not None)

    def _begin(self, version: str) -> str | None:
        return self._own.get(version, Span()).begin

    def _end(self, version: str) -> str | None:
        own = self._own.get(version, Span())
        following = [begin for after in self._followed.get(version, []) if (begin := self._begin(after))]
        return own.end if own.says_end else min(following, default=None)

    def _version(self, element: Element) -> None:
        name, tags = gml_id(element), _tags(element)
        self._own[name] = span_of(element)
        for member in element.iterfind("{*}versionMember"):
            feature = _target(member)
            self._within.setdefault(feature, []).append(name)
            self.said.setdefault(feature, {}).setdefault("version", []).extend(tags or [name])

    def _transition(self, element: Element) -> None:
        """Both the feature that a transaction ends and the one it makes are told why."""
        said = {name: text for name in ("reason", "type") if (text := (element.findtext(f"{{*}}{name}") or "").strip())}
        said |= {name: end for name in ("from", "to") if (end := _target(element.find(f"{{*}}{name}")))}
        why = ": ".join(said[name] for name in ("type", "reason") if name in said)
        before, after = said.get("from", ""), said.get("to", "")
        if before and after:
            self.replaced.setdefault(after, []).append((before, why))
            if (element.findtext("{*}clonePredecessor") or "").strip() not in ("true", "1"):
                self._followed.setdefault(before, []).append(after)
        for transaction in element.iter("{*}Transaction"):
            old, new = (_target(transaction.find(f"{{*}}{name}")) for name in ("oldFeature", "newFeature"))
            if old and new:
                self.replaced.setdefault(new, []).append((old, why))
            if old and after:
                self._ended.setdefault(old, []).append(after)
            if new and after:
                self._made.setdefault(new, []).append(after)
            kind = (transaction.findtext("{*}type") or "").strip()
            for feature in filter(None, (old, new)):
                told = self.said.setdefault(feature, {}).setdefault("versionTransition", [])
                told.append({"transaction": kind, **said} if kind else said)


def identifier(element: Element) -> tuple[str, str]:
    """Code space and value of ``gml:identifier``, which the versions of a feature share; empty where there is none."""
    found = element.find("{*}identifier")
    return ("", "") if found is None else ((found.get("codeSpace") or "").strip(), (found.text or "").strip())


def key_of(element: Element) -> str:
    """What a feature is known by, here and in the next delivery: its identifier with the code space before it, else its ``gml:id``."""
    space, value = identifier(element)
    return " ".join(filter(None, (space, value))) if value else gml_id(element)


def span_of(element: Element) -> Span:
    """What a feature says itself. A date that is there but unknown (year 1) is no reason to take another one for it."""
    begin, end = (
        next((text for name in names if (text := element.findtext(f"{{*}}{name}")) is not None), None)
        for names in _SAYS
    )
    return Span(moment(begin), moment(end), begin is not None, end is not None)


def members_of(element: Element) -> list[str]:
    """The ``gml:id`` of each member of a version."""
    return [name for member in element.iterfind("{*}versionMember") if (name := _target(member))]


def _tags(element: Element) -> list[str]:
    return [text for tag in element.iterfind("{*}tag") if (text := (tag.text or "").strip())]


def _target(prop: Element | None) -> str:
    """The id that a property leads to, by a link or because it holds the feature; empty for none."""
    if prop is None:
        return ""
    href = prop.get(HREF) or ""
    return href[1:] if href.startswith("#") else next(map(gml_id, prop.iterchildren("*")), "")
