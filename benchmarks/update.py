"""One object edited among many: from the edit to the tile and pages on the server."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np

from benchmarks import _report
from benchmarks._city import made_workspace
from tiling import engine
from tiling.archive import Reader
from tim.model import dataset_uid, derived_id
from tim.store import Changeset, Put
from tim.workspace import Workspace

NO_PEER = "no peer updates one object of a tileset"


def main() -> None:
    """Measure and print."""
    parser = _report.arguments(__doc__ or "")
    parser.add_argument(
        "--count", type=int, default=200_000, help="objects in the dataset (the design's number: 1000000)"
    )
    parser.add_argument("--edits", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tim-update-") as folder:
        workspace = made_workspace(Path(folder) / "city", "city", options.count, 4, 1)
        engine.tile(workspace, "city", workers=2)
        edits, whole = edited(workspace, options.count, options.edits)
    rows = [
        _report.Row("edit_p95_ms", float(np.percentile(edits, 95)) * 1000, "ms", 50, NO_PEER, at_least=False),
        _report.Row("edit_p50_ms", float(np.percentile(edits, 50)) * 1000, "ms"),
        _report.Row("edit_max_ms", max(edits) * 1000, "ms"),
        _report.Row("whole_runs", whole, "runs", 0, at_least=False),
    ]
    _report.emit(
        "update",
        rows,
        options.json,
        [f"{options.edits} edits in {options.count} objects; until a reader serves the new page"],
    )


def edited(workspace: Workspace, count: int, edits: int) -> tuple[list[float], int]:
    """Seconds of each edit, and how many took a whole run."""
    random = np.random.default_rng(3)
    reader = Reader(workspace.archive_root)
    taken, whole = [], 0
    with workspace.store() as store:
        for number in random.integers(0, count, edits).tolist():
            tim_id: UUID = derived_id(dataset_uid("city"), "buildings", str(number))
            (found,) = store.read([tim_id])
            changed = replace(
                found.object, attributes={**found.object.attributes, "floors": 99}, name=f"Edited {number}"
            )
            start = time.perf_counter()
            store.apply(Changeset("city", [Put(changed, if_version=found.version)], reason="edit"))
            report = engine.update(workspace, "city")
            reader.refresh()
            page = reader.page("city", None, "tileset.json")
            taken.append(time.perf_counter() - start)
            assert page is not None
            whole += report.whole
    return taken, whole


if __name__ == "__main__":
    main()
