"""``convert``: files in, a folder of 3D Tiles (or a .3tz) out, through a workspace that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from importers.plan import Options, make_plan
from importers.run import ImportReport, run_import
from tiling.archive import Archive, ExportReport
from tiling.engine.executor import Executor
from tiling.engine.progress import Listener
from tiling.engine.run import TileReport, tile
from tim.errors import UsageError
from tim.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ConvertReport:
    """What was found, built and written."""

    imported: ImportReport
    tiled: Sequence[TileReport]
    exported: Mapping[str, ExportReport]
    """By where it was written, absolute."""

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "import": self.imported.record(),
            "tile": [report.record() for report in self.tiled],
            "out": {out: {"files": report.files, "bytes": report.bytes} for out, report in self.exported.items()},
        }


def convert(
    sources: Sequence[Path],
    out: Path,
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Listener | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ConvertReport:
    """Convert sources to ``out``: a folder with ``tileset.json``, or a file ending in ``.3tz``.

    Several kinds of data give one folder (or file) each, below ``out`` or beside it: ``out/points``, ``out.points.3tz``. The temporary
    workspace lies next to ``out``, where there must be room for the result anyway. Raises what importing, tiling and exporting raise;
    UsageError ``tile.out-exists`` before any work where ``out`` is there and ``overwrite`` is not given.
    """
    out = Path(out).absolute()
    if out.exists() and not overwrite and (out.is_file() or any(out.iterdir())):
        raise UsageError("tile.out-exists", path=str(out))
    plan = make_plan(sources, options)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent, ignore_cleanup_errors=True) as folder:
        workspace = Workspace.create(Path(folder) / "workspace")
        imported = run_import(workspace, plan)
        tiled = [
            tile(workspace, d.dataset, workers=workers, executor=executor, progress=progress, settings=settings)
            for d in imported.datasets
        ]
        exported: dict[str, ExportReport] = {}
        with Archive(workspace.archive_root) as archive:
            for dataset in imported.datasets:
                target = out if len(imported.datasets) == 1 else _beside(out, dataset.kind)
                exported[str(target)] = archive.export(dataset.dataset, target, overwrite=overwrite)
    return ConvertReport(imported, tiled, exported)


def _beside(out: Path, kind: str) -> Path:
    return out.with_name(f"{out.stem}.{kind}.3tz") if out.suffix.lower() == ".3tz" else out / kind
