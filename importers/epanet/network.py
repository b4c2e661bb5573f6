"""EPANET input files (``.inp``) as text: sections, lines, units, what is wrong with them (EPANET 2.2 user manual, appendix C)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

FOOT, INCH = 0.3048, 0.0254
US_FLOWS = ("CFS", "GPM", "MGD", "IMGD", "AFD")
"""Flow units that make lengths feet and diameters inches; all others are metres and millimetres."""
SI_FLOWS = ("LPS", "LPM", "MLD", "CMH", "CMD", "CMS")
_SECTIONS = (
    "TITLE", "JUNCTIONS", "RESERVOIRS", "TANKS", "PIPES", "PUMPS", "VALVES", "TAGS", "DEMANDS", "STATUS", "PATTERNS", "CURVES", "CONTROLS",
    "RULES", "ENERGY", "EMITTERS", "LEAKAGE", "QUALITY", "SOURCES", "REACTIONS", "MIXING", "TIMES", "REPORT", "OPTIONS", "COORDINATES", "VERTICES",
    "LABELS", "BACKDROP", "END", "ROUGHNESS",
)  # fmt: skip
_HEAD = re.compile(r"\[\s*(\w+)")

NodeKind = Literal["junction", "reservoir", "tank"]
LinkKind = Literal["pipe", "pump", "valve"]
Problem = tuple[int, str, Mapping[str, Any]]
"""Line number (from 1), message code, fields."""


@dataclass(slots=True)
class Node:
    """A point of the network."""

    id: str
    kind: NodeKind
    line: int
    elevation: float
    """Metres: the elevation of a junction, the bottom of a tank, the head of a reservoir."""
    attributes: dict[str, Any]
    xy: tuple[float, float] | None = None
    """As in the file; ``None`` where the file has none."""
    diameter: float = 0.0
    height: float = 0.0
    """Metres, of a tank."""


@dataclass(slots=True)
class Link:
    """A line between two nodes."""

    id: str
    kind: LinkKind
    line: int
    start: str
    end: str
    diameter: float
    """Metres; 0 of a pump."""
    attributes: dict[str, Any]
    vertices: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Network:
    """What a file says."""

    nodes: dict[str, Node]
    links: dict[str, Link]
    title: str
    flow_unit: str
    encoding: str
    """How its bytes were read: ``utf-8``, ``gb18030`` or ``latin-1``."""
    problems: list[Problem]


def is_network(head: bytes) -> bool:
    """Whether a text begins like a water network: pipes, and nodes to join them; drainage models (SWMM) have conduits instead."""
    names = {match[1].upper()[:4] for match in re.finditer(rb"^[ \t]*\[[ \t]*(\w+)", head, re.MULTILINE)}
    return b"PIPE" in names and bool(names & {b"JUNC", b"RESE", b"TANK"})


def parse(data: bytes, encoding: str | None = None) -> Network:
    """Read a file. Lines that cannot be used are in :attr:`Network.problems`; nothing is raised but LookupError for an unknown encoding."""
    text, used = _decode(data, encoding)
    problems: list[Problem] = []
    rows, title = _rows(text, problems)
    reader = _Reader(rows, problems)
    network = Network({}, {}, title, reader.flow, used, problems)
    reader.nodes(network.nodes)
    reader.links(network)
    reader.positions(network)
    problems.sort(key=lambda problem: problem[0])
    return network


def _decode(data: bytes, encoding: str | None) -> tuple[str, str]:
    if encoding is not None:
        return data.decode(encoding, "replace"), encoding
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    # Latin-1 has its foreign letters one by one among ASCII; Chinese characters come in pairs of high bytes, with few exceptions.
    runs = re.findall(rb"[\x80-\xff]+", data)
    if text and 2 * sum(len(run) % 2 == 0 for run in runs) > len(runs):
        return text, "gb18030"
    return data.decode("latin-1"), "latin-1"


_Row = tuple[int, list[str]]
_T = TypeVar("_T")


def _rows(text: str, problems: list[Problem]) -> tuple[dict[str, list[_Row]], str]:
    """Words of every line by section, comments taken off."""
    rows: dict[str, list[_Row]] = {name: [] for name in _SECTIONS}
    title: list[str] = []
    current: list[_Row] | None = None
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        content = line.split(";", 1)[0].strip()
        if match := _HEAD.match(content):
            name = next((s for s in _SECTIONS if match[1].upper()[:4] == s[:4]), None)
            if name == "END":
                break
            current = None if name is None else rows[name]
            if name is None:
                problems.append((number, "epanet.unknown-section", {"section": content[:80]}))
        elif content and current is rows["TITLE"]:
            title.append(content)
        elif content and current is not None:
            current.append((number, content.split()))
        elif content and current is None:
            problems.append((number, "epanet.stray-line", {"text": content[:80]}))
    return rows, " ".join(title)


class _Reader:
    """Rows to nodes and links."""

    def __init__(self, rows: Mapping[str, Sequence[_Row]], problems: list[Problem]) -> None:
        self._rows, self._problems = rows, problems
        self.flow = "GPM"
        for line, words in rows["OPTIONS"]:
            if words[0].upper() == "UNITS" and len(words) > 1:
                if words[1].upper() in US_FLOWS + SI_FLOWS:
                    self.flow = words[1].upper()
                else:
                    problems.append(
                        (line, "epanet.bad-line", {"section": "OPTIONS", "reason": f"UNITS {words[1][:40]}"})
                    )
        american = self.flow in US_FLOWS
        self._metre, self._bore = (FOOT, INCH) if american else (1.0, 0.001)

    def nodes(self, into: dict[str, Node]) -> None:
        def junction(line: int, words: list[str]) -> None:
            more = {"base_demand": _number(words[2]), "demand_unit": self.flow} if len(words) > 2 else {}
            elevation = _number(words[1]) * self._metre if len(words) > 1 else 0.0
            _add(into, Node(words[0], "junction", line, elevation, {"elevation_m": _round(elevation), **more}))

        def reservoir(line: int, words: list[str]) -> None:
            head = _number(words[1]) * self._metre
            _add(into, Node(words[0], "reservoir", line, head, {"head_m": _round(head)}))

        def tank(line: int, words: list[str]) -> None:
            bottom, initial, least, most, diameter = (_number(word) * self._metre for word in words[1:6])
            attributes = {
                "elevation_m": bottom, "initial_level_m": initial, "minimum_level_m": least, "maximum_level_m": most, "diameter_m": diameter,
            }  # fmt: skip
            rounded = {name: _round(value) for name, value in attributes.items()}
            _add(
                into, Node(words[0], "tank", line, bottom, rounded, diameter=_positive(diameter), height=max(most, 0.0))
            )

        self._each("JUNCTIONS", 1, junction)
        self._each("RESERVOIRS", 2, reservoir)
        self._each("TANKS", 6, tank)

    def links(self, network: Network) -> None:
        into = network.links

        def link(kind: LinkKind, line: int, words: list[str], diameter: float, attributes: dict[str, Any]) -> None:
            for end in words[1:3]:
                if end not in network.nodes:
                    raise _BadLineError("epanet.unknown-node", node=end[:80])
            _add(into, Link(words[0], kind, line, words[1], words[2], diameter, attributes))

        def pipe(line: int, words: list[str]) -> None:
            diameter = _positive(_number(words[4]) * self._bore)
            attributes: dict[str, Any] = {
                "length_m": _round(_number(words[3]) * self._metre), "diameter_mm": _round(diameter * 1000), "roughness": _number(words[5]),
            }  # fmt: skip
            attributes["status"] = next(
                (w.upper() for w in words[6:8] if w.upper() in ("OPEN", "CLOSED", "CV")), "OPEN"
            )
            link("pipe", line, words, diameter, attributes)

        def pump(line: int, words: list[str]) -> None:
            pairs = dict(zip((w.lower() for w in words[3::2]), words[4::2], strict=False))
            link("pump", line, words, 0.0, {"parameters": pairs})

        def valve(line: int, words: list[str]) -> None:
            diameter = _positive(_number(words[3]) * self._bore)
            attributes: dict[str, Any] = {"diameter_mm": _round(diameter * 1000), "type": words[4].upper()}
            if len(words) > 5:
                attributes["setting"] = words[5]
            link("valve", line, words, diameter, attributes)

        self._each("PIPES", 6, pipe)
        self._each("PUMPS", 3, pump)
        self._each("VALVES", 5, valve)

    def positions(self, network: Network) -> None:
        """Coordinates, vertices, and what is said about nodes and links apart."""

        def coordinates(line: int, words: list[str]) -> None:  # noqa: ARG001
            _known(network.nodes, words[0], "epanet.unknown-node").xy = (_number(words[1]), _number(words[2]))

        def vertex(line: int, words: list[str]) -> None:  # noqa: ARG001
            _known(network.links, words[0], "epanet.unknown-link").vertices.append(
                (_number(words[1]), _number(words[2]))
            )

        def tag(line: int, words: list[str]) -> None:  # noqa: ARG001
            if words[0].upper() == "NODE":
                _known(network.nodes, words[1], "epanet.unknown-node").attributes["tag"] = " ".join(words[2:])
            else:
                _known(network.links, words[1], "epanet.unknown-link").attributes["tag"] = " ".join(words[2:])

        def status(line: int, words: list[str]) -> None:  # noqa: ARG001
            _known(network.links, words[0], "epanet.unknown-link").attributes["status"] = words[1].upper()

        self._each("COORDINATES", 3, coordinates)
        self._each("VERTICES", 3, vertex)
        self._each("TAGS", 3, tag)
        self._each("STATUS", 2, status)

    def _each(self, section: str, least: int, take: Callable[[int, list[str]], None]) -> None:
        for line, words in self._rows[section]:
            try:
                if len(words) < least:
                    raise _BadLineError(
                        "epanet.bad-line", section=section, reason=f"{len(words)} < {least}: {' '.join(words)[:80]}"
                    )
                take(line, words)
            except _BadLineError as error:
                self._problems.append((line, error.code, {"section": section, **error.fields}))


class _BadLineError(Exception):
    def __init__(self, code: str, **fields: Any) -> None:
        super().__init__(code)
        self.code, self.fields = code, fields


def _known(items: Mapping[str, _T], name: str, code: str) -> _T:
    if name not in items:
        raise _BadLineError(code, **{"node" if code == "epanet.unknown-node" else "link": name[:80]})
    return items[name]


def _add(into: dict[str, Any], item: Node | Link) -> None:
    if item.id in into:
        raise _BadLineError("epanet.id-twice", id=item.id[:80], first=into[item.id].line)
    into[item.id] = item


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _BadLineError("epanet.bad-line", reason=f"not a number: {word[:80]}")
    return value


def _positive(value: float) -> float:
    if value <= 0:
        raise _BadLineError("epanet.bad-line", reason=f"not above zero: {value:g}")
    return value


def _round(value: float) -> float:
    """Feet and inches as metric decimals without the tail of a binary product."""
    return round(value, 6)
