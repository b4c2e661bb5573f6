"""CSV (RFC 4180) in UTF-8: one object a row, its geometry as WKT, codes, relations and what has no column as JSON.

A spreadsheet runs text that begins with ``=``, ``+``, ``-`` or ``@``: with the option ``spreadsheet`` such text, names of columns too,
has an apostrophe before it, and the file a byte order mark. Without it every text is as it is. Equal content gives equal bytes.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import shapely

from exporters.job import Job
from tim.exchange import OWN, STRUCTURES

GEOMETRY = "wkt"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(path: Path, job: Job) -> None:
    """Every version of the job as a row. Raises OSError."""
    columns = job.columns()
    guarded = job.options.spreadsheet
    names = list(columns.names.values())
    with path.open("w", encoding="utf-8-sig" if guarded else "utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\r\n")

        def put(cells: list[Any]) -> None:
            rows.writerow([_guarded(cell) for cell in cells] if guarded else cells)

        put([*OWN, *names, GEOMETRY])
        for versions, shapes in job.batches():
            texts = shapely.to_wkt(shapes, rounding_precision=9, trim=True).tolist()
            for version, wkt in zip(versions, texts, strict=True):
                own, cells = columns.row(version)
                put([*(_cell(name, own[name]) for name in OWN), *(_plain(cells.get(name)) for name in names), wkt])


def structure(value: Any) -> str | None:
    """A list or mapping as JSON text; ``None`` where it is empty."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else None


def _cell(name: str, value: Any) -> Any:
    return structure(value) if name in STRUCTURES else value


def _plain(value: Any) -> Any:
    """Booleans as JSON has them; floats in as few digits as say them."""
    return ("true" if value else "false") if isinstance(value, bool) else value


def _guarded(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
