"""Objects to tiles with identity: buildings like Delft's (64 faces each on average) and plain boxes; with ``--million`` a million boxes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import _report
from benchmarks._city import made_workspace
from tiling.archive import Archive
from tiling.validate import validate
from tim.workspace import Workspace

WORKERS = 2
DELFT = (20, 3)
"""Corners of the footprint and bands of walls: 62 faces and the caps."""
BOX = (4, 1)
NO_PEER = "py3dtiles has no lane of objects with identity"


def main() -> None:
    """Measure and print."""
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--count", type=int, default=60_000, help="Delft-like buildings; three times as many boxes")
    parser.add_argument("--million", action="store_true", help="one million boxes instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tim-objects-") as folder:
        if options.million:
            run = tiled(Path(folder) / "boxes", "boxes", 1_000_000, BOX)
            rows = [*common(run), _report.Row("features_per_cpu_s", run.rate, "features/CPU-s", 15_000, NO_PEER)]
            _report.emit("objects", rows, options.json, [run.note])
            return
        delft = tiled(Path(folder) / "delft", "delft", options.count, DELFT)
        boxes = tiled(Path(folder) / "boxes", "boxes", 3 * options.count, BOX)
        errors = [*checked(Path(folder) / "delft", "delft"), *checked(Path(folder) / "boxes", "boxes")]
    rows = [
        _report.Row("features_per_cpu_s", delft.rate, "features/CPU-s", 5_000, NO_PEER),
        _report.Row("boxes_per_cpu_s", boxes.rate, "features/CPU-s", 15_000, NO_PEER),
        *common(max(delft, boxes, key=lambda run: run.usage.peak_child_mb)),
        _report.Row("errors", len(errors), "errors", 0, at_least=False),
    ]
    _report.emit("objects", rows, options.json, [delft.note, boxes.note, *errors[:10]])


@dataclass(frozen=True, slots=True)
class Run:
    """One tiling."""

    count: int
    usage: _report.Usage
    filled_s: float
    report: dict[str, Any]

    @property
    def rate(self) -> float:
        """Features per CPU-second."""
        return self.count / self.usage.cpu_s

    @property
    def note(self) -> str:
        snapshot = self.report["snapshot"]
        return (
            f"{self.count} objects ({self.filled_s:.0f} s into the store), {snapshot['tiles']} tiles, {snapshot['bytes'] / 1e6:.1f} MB, "
            f"{self.usage.wall_s:.1f} s with {WORKERS} workers, {self.usage.cpu_s:.1f} CPU-s"
        )


def tiled(folder: Path, slug: str, count: int, kind: tuple[int, int]) -> Run:
    """Fill a store, then measure ``tim tile`` alone."""
    start = time.perf_counter()
    made_workspace(folder, slug, count, *kind)
    filled = time.perf_counter() - start
    usage = _report.run(
        [sys.executable, "-m", "cli", "tile", slug, "-w", str(folder), "-j", str(WORKERS), "-q", "--json"]
    )
    report = json.loads(usage.output)
    first = report["datasets"][0] if "datasets" in report else report[0] if isinstance(report, list) else report
    if first["counts"]["objects"] != count:
        raise SystemExit(f"{first['counts']} of {count} objects were drawn")
    return Run(count, usage, filled, first)


def common(run: Run) -> list[_report.Row]:
    """Memory, bytes and tiles."""
    return [
        _report.Row("rss_per_worker_mb", run.usage.peak_child_mb, "MB", 350, at_least=False),
        _report.Row("rss_total_mb", run.usage.peak_rss_mb, "MB", 350 * WORKERS + 300, at_least=False),
        _report.Row("bytes_per_feature", run.report["snapshot"]["bytes"] / run.count, "bytes"),
        _report.Row("seconds", run.usage.wall_s, "s"),
    ]


def checked(folder: Path, slug: str) -> list[str]:
    """What validation and the Khronos validator find in the exported tiles."""
    workspace, out = Workspace.open(folder), folder / "out"
    with Archive(workspace.archive_root) as archive:
        archive.export(slug, out)
    found = [f"{issue.code} {issue.file}" for issue in validate(out).errors]
    from tests.validator import MODULES, SCRIPT

    files = "\n".join(str(path) for path in sorted(out.rglob("*.glb"))[:400])
    node = subprocess.run(
        ["node", "-e", SCRIPT, str(MODULES / "gltf-validator")], input=files, capture_output=True, text=True, check=True
    )
    return found + list(json.loads(node.stdout))


if __name__ == "__main__":
    main()
