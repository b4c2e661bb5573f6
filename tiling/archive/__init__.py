"""The tile archive: contents by hash in append-only packs, an index with intervals, snapshots, rollback, garbage collection, export.

How a dataset is laid out under its URL ``/tiles/{dataset}/`` (all links are relative):

====================================  =====================================================================  ==========================
path                                  what                                                                   cache
====================================  =====================================================================  ==========================
``c/{hash}.glb``                      a tile content: ``Reader.content(hash)``                               immutable
``p/{hash}.json``                     an external tileset, named by its own hash, shared by snapshots        immutable
``tileset.json``                      live root page: ``page(dataset, None, "tileset.json")``                ETag = ``Blob.hash``
``@{seq}/tileset.json``               frozen root page: ``page(dataset, seq, "tileset.json")``               immutable
``@{seq}/s/{L}/{x}/{y}/{z}.subtree``  implicit: availability, ``page(dataset, seq, "s/…")``                  immutable
``@{seq}/t/{L}/{x}/{y}/{z}.glb``      implicit: a content by key, ``tile(dataset, seq, "oct/L/x/y/z")``      immutable
====================================  =====================================================================  ==========================

Explicit: the live root page links ``c/…`` and ``p/…``, the frozen one ``../c/…`` and ``../p/…``, an external tileset ``../c/…`` and
``{hash}.json``. So every page and content has one URL for all snapshots and both views, and only the root page is written twice; neither
form contains the sequence. Implicit: the live root page links ``@{seq}/t/…`` and ``@{seq}/s/…`` (the one page that contains its sequence),
the frozen one ``t/…`` and ``s/…``. A URL, once answered, never answers with other bytes, except the live root page.
"""

from tiling.archive.archive import Archive
from tiling.archive.pack import PackWriter
from tiling.archive.reader import Reader
from tiling.archive.types import Blob, Collected, ContentRow, ExportReport, Link, Scheme, Snapshot, TilesetInfo

__all__ = [
    "Archive", "Blob", "Collected", "ContentRow", "ExportReport", "Link", "PackWriter", "Reader", "Scheme", "Snapshot", "TilesetInfo",
]  # fmt: skip
