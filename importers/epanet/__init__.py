"""EPANET networks (``.inp``): pipes, pumps, valves, junctions, tanks and reservoirs as objects that are connected.

A file has no CRS: the user names it. Lengths are in the units that [OPTIONS] UNITS implies and become metres; heights refer to whatever
``--vertical`` says. Solids are made in geocentric metres, so that a diameter is true in any map projection. Settings: ``depth`` (metres that
pipes lie below the elevations of the file), ``encoding``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from importers import ImportContext, Probe
from importers.epanet.network import Link, Network, Node, is_network, parse
from importers.solids import GEOCENTRIC, drum, tube, up_at
from tim.errors import SourceError, UsageError
from tim.geometry import F64
from tim.model import Blob, ObjectRecord, Rejected, Relation, Representation
from tim.place import Box3
from tim.place.resolve import FoundCrs
from tim.shape import FORMAT, Material, Triangles, build
from tim.sources import GridSource, MeshTree, PointSource, SourceRef, VolumeSource, fingerprint

__all__ = ["open", "probe", "read"]

SUFFIXES = (".inp",)
FOLDERS = False


LARGEST = 256 << 20
"""Bytes: a network is text of some megabytes; what is larger is none."""
CLASSES = {
    "junction": "pipeline.junction", "reservoir": "pipeline.reservoir", "tank": "pipeline.tank", "pipe": "pipeline.pipe.water",
    "pump": "pipeline.pump", "valve": "pipeline.valve",
}  # fmt: skip
_COLORS = {
    "junction": (0.55, 0.6, 0.65), "reservoir": (0.2, 0.45, 0.8), "tank": (0.45, 0.6, 0.75), "pipe": (0.25, 0.5, 0.85),
    "pump": (0.85, 0.45, 0.2), "valve": (0.8, 0.2, 0.2),
}  # fmt: skip
_THINNEST, _RESERVOIR, _PUMP = 0.025, 5.0, 0.5
"""Metres: radii of what the file gives no size."""
_BATCH = 4096
_HEAD = 1 << 20


def probe(path: Path, key: str = "") -> list[Probe]:
    """One network; empty for anything else that ends in ``.inp``."""
    path = Path(path)
    if path.suffix.lower() != ".inp" or not path.is_file():
        return []
    key = key or path.name
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            data = stream.read(_HEAD)
            if not is_network(data):
                return []
            data += stream.read(LARGEST)
    except OSError as error:
        return [_refused(path, key, size, "epanet.unreadable", reason=error.strerror or str(error))]
    if size > LARGEST:
        return [_refused(path, key, size, "epanet.too-large", bytes=size, largest=LARGEST)]
    network = parse(data)
    points = np.array([(*node.xy, node.elevation) for node in network.nodes.values() if node.xy is not None])
    if not len(points):
        return [_refused(path, key, size, "epanet.no-coordinates")]
    (x, y, z), (u, v, w) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return [Probe(
        uri=str(path), format="epanet", kind="objects", key=key, files=1, size=size, count=len(network.nodes) + len(network.links),
        low=(x, y, z), high=(u, v, w), found=FoundCrs(where=key), problems=tuple(_problems(network, key)),
        options={"flow_unit": network.flow_unit},
    )]  # fmt: skip


def read(probe: Probe, context: ImportContext) -> Iterator[ObjectRecord | Blob | SourceRef | Rejected]:
    """Nodes, then links, in the order of the file, and one reference."""
    if probe.fatal:
        yield from probe.problems
        return
    path = Path(probe.uri)
    try:
        data = path.read_bytes()
    except OSError as error:
        yield Rejected(probe.key, "epanet.unreadable", {"file": probe.key, "reason": error.strerror or str(error)})
        return
    encoding, depth = context.settings.get("encoding"), context.settings.get("depth", 0.0)
    try:
        network = parse(data, None if encoding is None else str(encoding))
        below = float(depth)
    except (LookupError, TypeError, ValueError):
        raise UsageError("epanet.bad-setting", settings=f"encoding={encoding}, depth={depth}") from None
    yield from _problems(network, probe.key)
    drawn = _Drawn(network, context, below)
    given: set[str] = set()
    west = south = bottom = np.inf
    east = north = top = -np.inf
    for batch in _batches([*network.nodes.values(), *network.links.values()]):
        for record, blob, lost in drawn.records(batch, probe.key):
            if blob is not None and blob.content not in given:
                given.add(blob.content)
                yield blob
            yield from lost
            yield record
            if record.box is not None:
                west, south, bottom = (min(a, b) for a, b in zip((west, south, bottom), record.box[:3], strict=True))
                east, north, top = (max(a, b) for a, b in zip((east, north, top), record.box[3:], strict=True))
    assert probe.low is not None
    assert probe.high is not None
    box: Box3 = (west, south, bottom, east, north, top)
    count = len(network.nodes) + len(network.links)
    yield context.source(probe, fingerprint(path), box, count, encoding=network.encoding)


def open(ref: SourceRef) -> PointSource | MeshTree | GridSource | VolumeSource:  # noqa: A001
    """Refused: a network is objects only. Raises SourceError."""
    raise SourceError("epanet.no-bulk", file=ref.key)


class _Drawn:
    """Objects with their solids."""

    def __init__(self, network: Network, context: ImportContext, below: float) -> None:
        self._network, self._context = network, context
        placed = [node for node in network.nodes.values() if node.xy is not None]
        # The file says the unit of its elevations; the place multiplies by the unit it believes in.
        unit = context.place.height.unit
        xy = [node.xy for node in placed if node.xy is not None]
        z = [(node.elevation - below * (node.kind == "junction")) / unit for node in placed]
        xyz = context.place.to_ecef(np.column_stack([np.array(xy), z]))
        ups = up_at(xyz)
        self._at = {node.id: (xyz[i], ups[i], z[i]) for i, node in enumerate(placed)}
        self._widest: dict[str, float] = {}
        for link in network.links.values():
            for end in (link.start, link.end):
                self._widest[end] = max(self._widest.get(end, 0.0), link.diameter)

    def records(self, items: list[Node | Link], key: str) -> Iterator[tuple[ObjectRecord, Blob | None, list[Rejected]]]:
        patches = [self._node(item) if isinstance(item, Node) else self._link(item) for item in items]
        for item, built in zip(items, build(patches, GEOCENTRIC), strict=True):
            lost = [
                Rejected(f"{key}:{item.line}", code, {"object": item.id, **fields}) for code, fields in built.problems
            ]
            if not built.blob and not lost:
                lost = [
                    Rejected(
                        f"{key}:{item.line}", "epanet.not-drawn", {"file": key, "line": item.line, "object": item.id}
                    )
                ]
            blob = Blob(built.blob) if built.blob else None
            shapes = (Representation("body", "", FORMAT, blob.content),) if blob else ()
            yield ObjectRecord(
                source_key=_key(item), class_id=CLASSES[item.kind], name=item.id, layer=self._context.layer, attributes=item.attributes,
                box=built.box, relations=self._relations(item), representations=shapes,
            ), blob, lost  # fmt: skip

    def _relations(self, item: Node | Link) -> tuple[Relation, ...]:
        if isinstance(item, Node):
            return ()
        ends = dict.fromkeys((item.start, item.end))
        return tuple(Relation("connectsTo", self._context.id_of(_key(self._network.nodes[end]))) for end in ends)

    def _node(self, node: Node) -> list[Triangles]:
        if node.id not in self._at:
            return []
        at, up, _ = self._at[node.id]
        look = _look(node.kind)
        radius = max(self._widest.get(node.id, 0.0) * 0.75, 2 * _THINNEST)
        match node.kind:
            case "tank":
                solid = drum(at, up, node.diameter / 2, node.height or 1.0, 32, look)
            case "reservoir":
                solid = drum(at - up * _RESERVOIR, up, _RESERVOIR, _RESERVOIR, 32, look)
            case "junction":
                solid = drum(at - up * radius, up, radius, 2 * radius, 8, look)
        return [] if solid is None else [solid]

    def _link(self, link: Link) -> list[Triangles]:
        ends = self._at.get(link.start), self._at.get(link.end)
        if ends[0] is None or ends[1] is None:
            return []
        path = self._path(link, ends[0], ends[1])
        width = max(self._widest.get(link.start, 0.0), self._widest.get(link.end, 0.0))
        solids = [tube(path, max((link.diameter or width) / 2, _THINNEST), 8, _look(link.kind))]
        if link.kind != "pipe":  # the machine itself, in the middle of its link
            lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
            middle = path[0] if not lengths.any() else _halfway(path, lengths)
            size = max(link.diameter, _PUMP)
            up = up_at(middle[None])[0]
            solids.append(drum(middle - up * size / 2, up, size / 2, size, 12, _look(link.kind)))
        return [solid for solid in solids if solid is not None]

    def _path(self, link: Link, start: tuple[F64, F64, float], end: tuple[F64, F64, float]) -> F64:
        """The polyline of a link, geocentric; heights between its ends follow the length on the map."""
        if not link.vertices:
            return np.array([start[0], end[0]])
        nodes = self._network.nodes
        flat = np.array([nodes[link.start].xy, *link.vertices, nodes[link.end].xy])
        run = np.concatenate([[0.0], np.linalg.norm(np.diff(flat, axis=0), axis=1).cumsum()])
        share = run / run[-1] if run[-1] else run
        z = start[2] + share * (end[2] - start[2])
        return self._context.place.to_ecef(np.column_stack([flat, z]))


def _halfway(path: F64, lengths: F64) -> F64:
    run = np.concatenate([[0.0], lengths.cumsum()])
    return np.array([np.interp(run[-1] / 2, run, path[:, axis]) for axis in range(3)])


def _key(item: Node | Link) -> str:
    """Ids are unique among nodes and among links, not among both."""
    return f"{'node' if isinstance(item, Node) else 'link'}/{item.id}"


def _look(kind: str) -> Material:
    return Material((*_COLORS[kind], 1.0))


def _batches(items: Iterable[Node | Link]) -> Iterator[list[Node | Link]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _problems(network: Network, key: str) -> Iterator[Rejected]:
    if network.encoding not in ("utf-8", "utf8"):
        yield Rejected(key, "epanet.encoding-guessed", {"file": key, "encoding": network.encoding})
    for line, code, fields in network.problems:
        yield Rejected(f"{key}:{line}", code, {"file": key, "line": line, **fields})


def _refused(path: Path, key: str, size: int, code: str, **fields: Any) -> Probe:
    return Probe(
        uri=str(path), format="epanet", kind="objects", key=key, files=1, size=size, count=None, low=None, high=None,
        found=FoundCrs(where=key), problems=(Rejected(key, code, {"file": key, **fields}),), fatal=True,
    )  # fmt: skip
