"""A plan as people look at it: a table that gathers the sheets of one folder, and a CSV with a row for every delivery."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from importers.plan import Delivery, Plan
from tim.errors import Language, render

COLUMNS = (
    "uri", "format", "kind", "dataset", "import", "key", "files", "bytes", "count", "crs", "vertical", "west", "south", "bottom", "east", "north", "top",
    "seconds", "disk", "problems",
)  # fmt: skip
"""Of the CSV. Extents are native, in the CRS as found or said."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(slots=True)
class Group:
    """Deliveries of one folder that are alike: sheets of a survey."""

    folder: str
    format: str
    kind: str
    dataset: str
    crs: str
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The delivery, or the folder of several."""
        first = self.deliveries[0].probe
        return (first.key or first.uri) if len(self.deliveries) == 1 else f"{self.folder or '.'}/*"

    @property
    def files(self) -> int:
        """Of all."""
        return sum(d.probe.files for d in self.deliveries)

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(d.probe.size for d in self.deliveries)

    @property
    def count(self) -> int | None:
        """Points of all, where any says how many."""
        counts = [d.probe.count for d in self.deliveries if d.probe.count is not None]
        return sum(counts) if counts else None

    @property
    def seconds(self) -> float:
        """Of all, on one processor."""
        return sum(d.estimate.seconds for d in self.deliveries if d.take)

    @property
    def disk(self) -> int:
        """Bytes of all."""
        return sum(d.estimate.disk for d in self.deliveries if d.take)

    @property
    def problems(self) -> int:
        """Of all."""
        return sum(len(d.probe.problems) for d in self.deliveries)


def groups(plan: Plan) -> list[Group]:
    """The deliveries by folder, format, dataset and CRS, in the order of the plan."""
    found: dict[tuple[str, ...], Group] = {}
    for delivery in plan.deliveries:
        probe = delivery.probe
        folder = str(PurePosixPath(probe.key).parent)
        name = (folder, probe.format, probe.kind, delivery.dataset, crs_name(delivery))
        found.setdefault(name, Group(*name)).deliveries.append(delivery)
    return list(found.values())


def crs_name(delivery: Delivery) -> str:
    """The CRS that was said, or found, by the name a WKT gives itself; ``?`` where there is none."""
    text = delivery.place.crs or delivery.probe.found.horizontal or "?"
    match = re.match(r'\s*\w+\s*\[\s*"([^"]*)"', text)
    return match[1] if match else " ".join(text.split())[:60]


def to_csv(plan: Plan, language: Language | None = None) -> str:
    """All deliveries, one a row, and after them what was left out. It begins with a byte order mark: spreadsheets take it for UTF-8 then."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for delivery in plan.deliveries:
        probe = delivery.probe
        problems = "\n".join(render(p.code, p.fields, language) for p in probe.problems)
        said = delivery.place.vertical or probe.found.vertical or ""
        writer.writerow(_plain([
            probe.uri, probe.format, probe.kind, delivery.dataset, "yes" if delivery.take else "no", probe.key, probe.files, probe.size, probe.count, crs_name(delivery), said,
            *(probe.low or (None,) * 3), *(probe.high or (None,) * 3), delivery.estimate.seconds, delivery.estimate.disk, problems,
        ]))  # fmt: skip
    for rejected in plan.left_out:
        text = render(rejected.code, rejected.fields, language)
        writer.writerow(_plain([rejected.where, *[None] * (len(COLUMNS) - 2), text]))
    return "\ufeff" + out.getvalue()


def _plain(cells: Sequence[object]) -> Iterable[object]:
    """File names are data, never formulas."""
    return [f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in cells]
