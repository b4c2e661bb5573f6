"""``convert``: data in, a folder of 3D Tiles (or a .3tz) out, through a workspace that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from importers.plan import Options, make_plan
from importers.run import ImportReport, run_import
from tiling.archive import Archive
from tiling.engine.executor import Executor
from tiling.engine.progress import Listener
from tiling.engine.run import TileReport, tile
from tim.errors import UsageError
from tim.model import Rejected
from tim.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    paths: Sequence[str]
    """Absolute: one per kind of data."""
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ConvertReport:
    """What was found, built and written."""

    imported: ImportReport
    tiled: Sequence[TileReport]
    exported: Exported

    @property
    def problems(self) -> list[Rejected]:
        """What was quarantined on the way."""
        return [*self.imported.rejected, *(problem for report in self.tiled for problem in report.problems)]

    def record(self) -> dict[str, Any]:
        """JSON-able record."""
        return {
            "import": self.imported.record(),
            "tile": [report.record() for report in self.tiled],
            "out": asdict(self.exported),
        }


def convert(
    source: Path,
    out: Path,
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Listener | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ConvertReport:
    """Convert a file or folder to ``out``: a folder with ``tileset.json``, or a file ending in ``.3tz``.

    Several kinds of data give one folder (or file) each, below ``out`` or beside it: ``out/points``, ``out.points.3tz``. The temporary
    workspace lies next to ``out``, where there must be room for the result anyway. Raises what importing, tiling and exporting raise;
    UsageError ``tile.out-exists`` before any work where ``out`` is there and ``overwrite`` is not given.
    """
    out = Path(out).absolute()
    if out.exists() and not overwrite and (out.is_file() or any(out.iterdir())):
        raise UsageError("tile.out-exists", path=str(out))
    plan = make_plan([source], options)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent, ignore_cleanup_errors=True) as folder:
        workspace = Workspace.create(Path(folder) / "workspace")
        imported = run_import(workspace, plan)
        tiled = [
            tile(workspace, d.dataset, workers=workers, executor=executor, progress=progress, settings=settings)
            for d in imported.datasets
        ]
        with Archive(workspace.archive_root) as archive:
            written = [
                archive.export(
                    d.dataset, out if len(imported.datasets) == 1 else _beside(out, d.kind), overwrite=overwrite
                )
                for d in imported.datasets
            ]
    exported = Exported(
        [report.path for report in written], sum(r.files for r in written), sum(r.bytes for r in written)
    )
    return ConvertReport(imported, tiled, exported)


def _beside(out: Path, kind: str) -> Path:
    return out.with_name(f"{out.stem}.{kind}.3tz") if out.suffix.lower() == ".3tz" else out / kind
