"""Datasets of kind ``tiles``: a root page of ours around tilesets that lie where they lie.

A dataset either mounts its sources (``f/{id}/…`` below its URL) or is composed of other datasets (setting ``compose``: slugs). What is
published is one small page; the contents stay where they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from importers.plan import SLUG, slug_of
from importers.tiles3d import Files
from importers.tiles3d import open as open_tileset
from importers.tiles3d.tree import ROOT, matrix, read_page
from importers.tiles3d.volume import lifted, moved, samples
from tiling.archive import Archive, Link, Reader, Snapshot, TilesetInfo
from tiling.archive.export import contents_of
from tiling.spec.tileset import diagonal
from tim.errors import CorruptSource, SourceError, TilingError, UsageError
from tim.geometry import F64
from tim.model import Dataset, dataset_uid
from tim.sources import SourceRef
from tim.store import ObjectStore
from tim.workspace import Workspace

COMPOSE = "compose"
"""Setting of a composed dataset: the slugs it shows."""
_AS_IT_IS = tuple(np.eye(4).ravel().tolist())
_MARGIN = 0.01
"""Of the root box, because regions bulge between their corners."""


def mount_id(key: str) -> str:
    """The name of a mounted source in URLs: from its key, so that it stays when the files move."""
    return blake2b(key.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted source, opened."""

    key: str
    files: Files
    lift: float
    """Metres that the regions on its pages are lifted by when they are read; contents follow the root transform."""

    @classmethod
    def of(cls, source: SourceRef) -> Mount:
        """Raises SourceError where the tileset is gone, CorruptSource where it is broken."""
        return cls(source.key, open_tileset(source), float(source.options.get("height_offset", 0.0)))

    def page(self, data: bytes) -> bytes:
        """A JSON file as it is to be shown: as it is, unless it is a page with regions that must be lifted."""
        if not self.lift or b'"region"' not in data:
            return data
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return data
        stack = [document.get("root")] if isinstance(document, dict) else []
        while stack:
            tile = stack.pop()
            if not isinstance(tile, dict):
                continue
            for holder in (tile, tile.get("content"), *_list(tile.get("contents"))):
                if isinstance(holder, dict) and isinstance(holder.get("boundingVolume"), dict):
                    holder["boundingVolume"] = lifted(holder["boundingVolume"], self.lift)
            stack += _list(tile.get("children"))
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """All files, inflated, as an export copies them."""
        for path in self.files.paths():
            stored = self.files.find(path)
            if stored is not None:
                data = stored.plain()
                yield path, self.page(data) if path.lower().endswith(".json") else data


def publish(archive: Archive, dataset: Dataset, store: ObjectStore) -> Snapshot:
    """Publish the root page of a dataset of kind ``tiles``.

    Raises UsageError ``tile.no-sources``, SourceError where a tileset is gone, TilingError where contents of different up axes meet.
    """
    seq, sources = store.seq, store.sources(dataset.slug)
    slugs = dataset.settings.get(COMPOSE, ())
    if slugs:
        links, axes = _composed(archive, dataset.slug, slugs)
    else:
        links, axes = [_mounted(source) for source in sources], {str(s.options.get("up_axis", "Y")) for s in sources}
    if not links:
        raise UsageError("tile.no-sources", dataset=dataset.slug)
    if len(axes) > 1:
        raise TilingError("tiles3d.mixed-axes", dataset=dataset.slug)
    box = _box(dataset, links)
    error = max([diagonal(box), *(link.geometric_error for link in links)])
    info = TilesetInfo(
        dataset.frame, seq, refine="ADD", root_box=box, root_error=error, counts={"tilesets": len(links)}, links=tuple(links), up_axis=axes.pop(),
    )  # fmt: skip
    return archive.publish(dataset.slug, (), info)


def compose(workspace: Workspace, slug: str, slugs: Sequence[str], title: str | None = None) -> Snapshot:
    """Make ``slug`` the dataset that shows ``slugs`` (or change what it shows), and publish it.

    Raises UsageError for a bad name, a dataset that is not there or not tiled, one that shows ``slug`` itself, or a ``slug`` that has data of
    its own; TilingError where up axes differ.
    """
    if not SLUG.fullmatch(slug):
        raise UsageError("import.bad-slug", slug=slug, suggestion=slug_of(slug))
    with workspace.lock(f"tile-{slug}"), workspace.store() as store, Archive(workspace.archive_root) as archive:
        shown = [store.dataset(other) for other in dict.fromkeys(slugs)]
        old = next((dataset for dataset in store.datasets() if dataset.slug == slug), None)
        if old is not None and not old.settings.get(COMPOSE):
            raise UsageError("tile.compose-taken", dataset=slug)
        frame = old.frame if old is not None else shown[0].frame
        uid = dataset_uid(slug, workspace.namespace)
        settings = {COMPOSE: [dataset.slug for dataset in shown]}
        made = Dataset(
            slug, title or (old.title if old else slug), "tiles", uid, frame, old.private if old else False, settings
        )
        _composed(archive, slug, settings[COMPOSE])  # refuses before anything is written
        store.put_dataset(made)
        return publish(archive, made, store)


def linked(archive: Archive, store: ObjectStore, dataset: str, link: Link) -> Iterator[tuple[str, bytes]]:
    """The files behind a link, relative to the linked tileset's folder: what an export of the whole copies."""
    first, name, _ = link.uri.split("/", 2)
    if first == "..":
        yield from contents_of(archive, name, None, lambda below: linked(archive, store, name, below))
        return
    source = next((s for s in store.sources(dataset) if mount_id(s.key) == name), None)
    if source is None:
        raise SourceError("tiles3d.gone", path=link.uri)
    yield from Mount.of(source).contents()


def _mounted(source: SourceRef) -> Link:
    page = read_page(open_tileset(source), ROOT)
    root = page["root"]
    own = matrix(root["transform"], ROOT) if "transform" in root else np.eye(4)
    volume = lifted(_moved_volume(root["boundingVolume"], own), float(source.options.get("height_offset", 0.0)))
    return Link(
        f"f/{mount_id(source.key)}/{ROOT}",
        volume,
        _error(page),
        tuple(source.options["transform"]),
        source.fingerprint.sample,
    )


def _composed(archive: Archive, slug: str, slugs: Sequence[str]) -> tuple[list[Link], set[str]]:
    links, axes = [], set()
    reader = Reader(archive.root)
    try:
        for other in slugs:
            shown = archive.snapshot(other)
            info = archive.info(other)
            if other == slug or f"../{slug}/{ROOT}" in _reach(archive, info):
                raise UsageError("tile.compose-circle", dataset=slug, other=other)
            found = reader.page(other, None, ROOT)
            if found is None:
                raise UsageError("archive.no-snapshot", dataset=other, seq="", there="-")
            page = json.loads(archive.read(found.hash))
            root, axis = page["root"], info.up_axis
            axes.add(axis)
            # Its root places itself on Earth, and what is around it would place it once more.
            volume = _moved_volume(root["boundingVolume"], matrix(root["transform"], ROOT))
            links.append(Link(f"../{other}/{ROOT}", volume, _error(page), _AS_IT_IS, shown.hash))
    finally:
        reader.close()
    return links, axes


def _reach(archive: Archive, info: TilesetInfo) -> set[str]:
    """Links to other datasets, at any depth."""
    found: set[str] = set()
    stack = list(info.links)
    while stack:
        link = stack.pop()
        if link.uri.startswith("../") and link.uri not in found:
            found.add(link.uri)
            if archive.latest(slug := link.uri.split("/")[1]) is not None:
                stack += archive.info(slug).links
    return found


def _moved_volume(volume: Mapping[str, Any], transform: F64) -> Mapping[str, Any]:
    """A bounding volume of a transformed tile as the tile around it has it."""
    if "box" in volume:
        box = np.array(volume["box"], float).reshape(4, 3)
        return {"box": [*moved(box[:1], transform)[0].tolist(), *(box[1:] @ transform[:3, :3].T).ravel().tolist()]}
    if "sphere" in volume:
        *centre, radius = volume["sphere"]
        scale = float(np.linalg.norm(transform[:3, :3], axis=0).max())
        return {"sphere": [*moved(np.array([centre], float), transform)[0].tolist(), radius * scale]}
    return {"region": volume["region"]}


def _box(dataset: Dataset, links: Sequence[Link]) -> tuple[float, ...]:
    """A box in the dataset's frame around all links."""
    points = np.vstack([samples(link.volume, np.array(link.transform).reshape(4, 4).T, link.uri) for link in links])
    local = dataset.frame.from_ecef(points)
    low, high = local.min(axis=0), local.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2 * (1 + _MARGIN) + 1.0
    return (*middle.tolist(), *np.diag(half).ravel().tolist())


def _error(page: Mapping[str, Any]) -> float:
    """A tileset's geometric error, never below its root's."""
    errors = [page.get("geometricError"), page["root"].get("geometricError")]
    known = [float(e) for e in errors if isinstance(e, int | float) and np.isfinite(e) and e >= 0]
    if not known:
        raise CorruptSource("tiles3d.bad-number", path=ROOT, what="geometricError")
    return max(known)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
