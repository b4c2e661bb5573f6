"""The plan of an import: an inventory one can read, edit and run.

``make_plan`` walks the sources and writes down, per delivery, what it is, where it seems to lie, what is wrong with it, what it will
cost, and what will be done with it; ``to_yaml`` and ``from_yaml`` are for people; :func:`importers.run.run_import` does it. What binds
in a written plan is ``uri``, ``format``, ``kind``, ``key``, ``dataset``, ``title``, ``import`` and the four place options; all else is looked at again.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import yaml

from importers import FORMATS, Probe, listed_only, settled
from importers.document import Node, read_document
from importers.standing import placed
from importers.walk import Inventory, probe
from tim.errors import PlaceError, UsageError
from tim.model import Rejected
from tim.place import Place
from tim.place.resolve import FoundCrs, PlaceOptions, resolve
from tim.sources import Kind
from tim.workspace import Workspace

VERSION = 1
_DUMPER = type("_Dumper", (getattr(yaml, "CSafeDumper", yaml.SafeDumper),), {"ignore_aliases": lambda *_: True})
"""Writes the same thing again where it comes again: people do not read anchors."""
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PER_POINT = (9e-7, 32.0)
"""Seconds on one processor, and bytes of disk (tiles and scratch at their largest). Measured on terrain_3M.laz: 0.8 µs and 31 bytes."""
_PER_BYTE: Mapping[str, tuple[float, float]] = {"osgb": (1.7e-8, 1.0), "tiles3d": (0.0, 0.0), "dem": (0.0, 0.0)}
"""The same for formats that are not counted in points. Measured on the OSGB set: 60 MB/s, 0.86 bytes per byte, textures passed through.
Tilesets are mounted and height rasters listed: nothing is made."""
_LAZ_POINT = 5.0
"""Bytes, where a point cloud does not say how many it has."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What tiling will take, roughly."""

    seconds: float
    """On one processor."""
    disk: int
    """Bytes, at the largest."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says about all sources of one import."""

    dataset: str | None = None
    """Slug; from the source's name where ``None``."""
    title: str | None = None
    kind: Kind | None = None
    """Take only deliveries of this kind."""
    place: PlaceOptions = field(default_factory=PlaceOptions)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How to read what can be read in several ways (:attr:`importers.ImportContext.settings`)."""
    defaults: PlaceOptions = field(default_factory=PlaceOptions)
    """The workspace's (:func:`defaults_of`), tried where the file and ``place`` leave a place open."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line of the inventory and what to do with it."""

    probe: Probe
    dataset: str
    title: str
    place: PlaceOptions
    estimate: Estimate
    settings: Mapping[str, Any] = field(default_factory=dict)
    take: bool = True
    """Whether to import it; otherwise it is only listed, and the run says so."""
    fresh: bool = field(default=True, compare=False)
    """Whether ``probe`` was made in this run; otherwise it is made again before importing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to import, and what was seen and left out."""

    deliveries: tuple[Delivery, ...]
    left_out: tuple[Rejected, ...] = ()
    defaults: PlaceOptions = field(default_factory=PlaceOptions, compare=False)
    """What fills gaps instead of the workspace's own; never written."""

    def record(self) -> dict[str, Any]:
        """JSON-able record, the form of the YAML document."""
        return {
            "version": VERSION,
            "deliveries": [_delivery_record(delivery) for delivery in self.deliveries],
            "left_out": [_rejected_record(rejected) for rejected in self.left_out],
        }

    def to_yaml(self) -> str:
        """The document: UTF-8, Chinese as it is."""
        text: str = yaml.dump(self.record(), Dumper=_DUMPER, allow_unicode=True, sort_keys=False, width=120)
        return text

    @classmethod
    def from_yaml(cls, text: str, file: str = "plan.yaml", defaults: PlaceOptions = PlaceOptions()) -> Plan:  # noqa: B008
        """Read a document. Raises UsageError naming ``file``, line and field."""
        top = read_document(text, file)
        top.only({"version", "deliveries", "left_out"})
        version = top.get("version", int)
        if version != VERSION:
            raise UsageError("import.plan-version", file=file, found=version, known=VERSION)
        deliveries = [(node, _read_delivery(node)) for node in top.items("deliveries")]
        _check([delivery for _, delivery in deliveries], [f"{file}:{node.line}" for node, _ in deliveries])
        left_out = tuple(_read_rejected(node) for node in top.items("left_out", default=[]))
        return cls(tuple(delivery for _, delivery in deliveries), left_out, defaults)


def make_plan(sources: Sequence[Path], options: Options = Options()) -> Plan:
    """Walk the sources and plan their import; nothing is changed anywhere.

    Several sources have their common folder as root: keys are relative to it, and the dataset is named after it. Deliveries of several
    kinds go to one dataset per kind, ``{name}-points``. Raises SourceError where nothing at all is found, UsageError for a bad name.
    """
    paths = [Path(os.path.abspath(source)) for source in sources]  # noqa: PTH100
    root = paths[0] if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))
    inventory = _walk(paths, root)
    probes = [settled(p, options.settings) for p in inventory.probes if options.kind in (None, p.kind)]
    other = [p for p in inventory.probes if options.kind not in (None, p.kind)]
    left_out = [
        *inventory.rejected,
        *(
            Rejected(p.key, "import.other-kind", {"where": p.key or p.uri, "kind": p.kind, "wanted": options.kind})
            for p in other
        ),
    ]
    title = options.title or options.dataset or (root.stem if root.is_file() else root.name)
    if not title:
        raise UsageError("import.name-needed", root=str(root))
    name = slug_of(title) if options.dataset is None else _checked(options.dataset)
    kinds = sorted({p.kind for p in probes})
    deliveries = []
    for found in probes:
        slug = name if len(kinds) < 2 else f"{name[: 62 - len(found.kind)]}-{found.kind}"
        problems = list(found.problems)
        listed = None if found.fatal else listed_only(found.format)
        if listed is not None:
            problems.insert(0, Rejected(found.key, listed[0], {"file": found.key or found.uri}))
        try:
            if not (found.fatal or listed):
                place_of(found, options.place, options.defaults, options.settings)
        except PlaceError as error:
            problems.append(Rejected(found.key or found.uri, error.code, error.fields))
        deliveries.append(Delivery(
            replace(found, problems=tuple(problems)), slug, title if len(kinds) < 2 else f"{title} ({found.kind})", options.place,
            estimate(found.format, found.size, found.count), options.settings, listed is None,
        ))  # fmt: skip
    _check(deliveries, [delivery.probe.uri for delivery in deliveries])
    return Plan(tuple(deliveries), tuple(left_out), options.defaults)


def place_of(found: Probe, options: PlaceOptions, defaults: PlaceOptions, settings: Mapping[str, Any] = MappingProxyType({})) -> Place:  # fmt: skip
    """Where a delivery lies. Raises PlaceError.

    ``settings["at"]`` (longitude, latitude, ellipsoidal height) places what has no CRS of its own, in metres east, north and up of there.
    ``defaults`` fill what is left open, but only where the source cannot be placed without.
    """
    if found.found.horizontal is None:
        options = placed(options, settings)
    if found.low is None or found.high is None:
        raise PlaceError("import.no-extent", where=found.key or found.uri)
    low, high = np.array(found.low), np.array(found.high)
    try:
        return resolve(found.found, options, low, high)
    except PlaceError:
        filled = PlaceOptions(
            options.crs or (defaults.crs if found.found.horizontal is None else None), options.vertical or defaults.vertical,
            options.datum or defaults.datum, options.override_vertical or defaults.override_vertical,
        )  # fmt: skip
        if filled == options:
            raise
        return resolve(found.found, filled, low, high)


def defaults_of(workspace: Workspace) -> PlaceOptions:
    """The workspace's own place options."""
    known = {f.name for f in fields(PlaceOptions)}
    return PlaceOptions(**{name: value for name, value in workspace.defaults.items() if name in known})


def estimate(format_name: str, size: int, count: int | None = None) -> Estimate:
    """Seconds and disk for ``size`` bytes of a format, or for ``count`` points."""
    if format_name == "las":
        amount, (seconds, disk) = count or size / _LAZ_POINT, _PER_POINT
    else:
        amount, (seconds, disk) = size, _PER_BYTE.get(format_name, (1e-7, 3.0))
    return Estimate(round(amount * seconds, 1), round(amount * disk))


def slug_of(title: str) -> str:
    """An ASCII slug for a name. Where letters are lost on the way, a hash of the whole name keeps different names apart."""
    plain = unicodedata.normalize("NFKD", title)
    kept = "".join(c for c in plain if c.isascii())
    slug = re.sub(r"[^a-z0-9]+", "-", kept.lower()).strip("-")[:50].strip("-")
    lost = any(not c.isascii() and c.isalnum() for c in plain)
    if slug and not lost:
        return slug
    return f"{slug or 'dataset'}-{blake2b(unicodedata.normalize('NFC', title).encode(), digest_size=4).hexdigest()}"


def _walk(paths: Sequence[Path], root: Path) -> Inventory:
    if len(paths) == 1:
        return probe(paths[0])
    found = []
    for path in paths:
        relative = path.relative_to(root)
        prefix = relative.parent if path.is_file() else relative
        found.append(probe(path, "" if prefix == Path() else prefix.as_posix()))
    return Inventory(tuple(p for i in found for p in i.probes), tuple(r for i in found for r in i.rejected))


def _check(deliveries: Sequence[Delivery], where: Sequence[str]) -> None:
    """One kind per dataset, every key once."""
    kinds: dict[str, str] = {}
    keys: dict[tuple[str, str], str] = {}
    for delivery, place in zip(deliveries, where, strict=True):
        slug, found = delivery.dataset, delivery.probe
        if kinds.setdefault(slug, found.kind) != found.kind:
            raise UsageError("import.two-kinds", dataset=slug, kinds=f"{kinds[slug]}, {found.kind}", where=place)
        if (first := keys.setdefault((slug, found.key), place)) is not place:
            raise UsageError("import.key-twice", dataset=slug, key=found.key, first=first, second=place)


def _checked(slug: str) -> str:
    if not SLUG.fullmatch(slug):
        raise UsageError("import.bad-slug", slug=slug, suggestion=slug_of(slug))
    return slug


def _delivery_record(delivery: Delivery) -> dict[str, Any]:
    found, place = delivery.probe, delivery.place
    return {
        "uri": found.uri, "format": found.format, "kind": found.kind, "key": found.key, "dataset": delivery.dataset,
        "title": delivery.title, "import": delivery.take, **asdict(place), "settings": dict(delivery.settings), "files": found.files, "size": found.size, "count": found.count,
        "low": found.low and [*map(float, found.low)], "high": found.high and [*map(float, found.high)],
        "found": {**asdict(found.found), "origin": list(found.found.origin)}, "fatal": found.fatal,
        "problems": [_rejected_record(rejected) for rejected in found.problems], "options": dict(found.options),
        "estimate": asdict(delivery.estimate),
    }  # fmt: skip


def _rejected_record(rejected: Rejected) -> dict[str, Any]:
    plain = {
        k: v if v is None or isinstance(v, bool | int | float | str) else str(v) for k, v in rejected.fields.items()
    }
    return {"where": rejected.where, "code": rejected.code, "fields": plain}


def _read_delivery(node: Node) -> Delivery:
    node.only({
        "uri", "format", "kind", "key", "dataset", "title", "import", *(f.name for f in fields(PlaceOptions)), "files", "size", "count", "low", "high",
        "found", "fatal", "problems", "options", "estimate", "settings",
    })  # fmt: skip
    dataset = node.get("dataset", str)
    if not SLUG.fullmatch(dataset):
        raise node.error("dataset", "import.plan-bad-slug", value=dataset, suggestion=slug_of(dataset))
    format_name = node.get("format", str, among=FORMATS)
    size = node.get("size", int, default=0)
    crs = node.child("found")
    found = FoundCrs() if crs is None else FoundCrs(
        crs.get("horizontal", str, default=None), crs.get("vertical", str, default=None),
        crs.triple("origin") or (0.0, 0.0, 0.0), crs.get("where", str, default=""),
    )  # fmt: skip
    cost = node.child("estimate")
    return Delivery(
        Probe(
            uri=node.get("uri", str), format=format_name, kind=node.get("kind", str, among=get_args(Kind)),
            key=node.get("key", str, default=""), files=node.get("files", int, default=0), size=size,
            count=node.get("count", int, default=None), low=node.triple("low"), high=node.triple("high"), found=found,
            problems=tuple(_read_rejected(one) for one in node.items("problems", default=[])), fatal=node.get("fatal", bool, default=False),
            options=node.plain("options", {}),
        ),
        dataset, node.get("title", str, default=dataset),
        PlaceOptions(
            node.get("crs", str, default=None), node.get("vertical", str, default=None), node.get("datum", str, default=None),
            node.get("override_vertical", bool, default=False),
        ),
        estimate(format_name, size, node.get("count", int, default=None)) if cost is None else Estimate(cost.get("seconds", float), cost.get("disk", int)),
        settings=node.plain("settings", {}), take=node.get("import", bool, default=True), fresh=False,
    )  # fmt: skip


def _read_rejected(node: Node) -> Rejected:
    node.only({"where", "code", "fields"})
    return Rejected(node.get("where", str), node.get("code", str), node.plain("fields", {}))
