from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tiling.archive import Archive
from tiling.builder import ContentRef
from tiling.contract import MemorySink, TileSinkContract


class TestPackWriter(TileSinkContract):
    def sink(self, folder: Path) -> tuple[object, Callable[[ContentRef], bytes]]:  # type: ignore[override]
        archive = Archive(folder / "tiles")
        writer = archive.writer("shard")

        def read(ref: ContentRef) -> bytes:
            if not archive.has([ref.hash]):
                archive.add(writer.close())
            return archive.read(ref.hash)

        return writer, read


class TestMemory(TileSinkContract):
    def sink(self, folder: Path) -> tuple[object, Callable[[ContentRef], bytes]]:  # type: ignore[override]
        sink = MemorySink()
        return sink, lambda ref: sink.contents[ref.hash]
