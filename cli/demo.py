"""What ``tim demo`` makes: the town's deliveries once, a workspace from them, its tiles; all of it kept for the next time."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.output import say
from cli.text import tr

if TYPE_CHECKING:
    from tim.workspace import Workspace

TITLES = {"town": "海滨小镇 · 倾斜摄影", "hills": "西山 · 机载激光点云"}


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo on disk, ready to be served."""

    workspace: Workspace
    made: bool
    """Whether it had to be made now."""

    def record(self) -> dict[str, Any]:
        """For ``--json``."""
        with self.workspace.store() as store:
            slugs = [dataset.slug for dataset in store.datasets()]
        return {"workspace": str(self.workspace.path.resolve()), "made": self.made, "datasets": slugs}


def make_demo(folder: Path, *, quiet: bool = False) -> Demo:
    """The demo below ``folder``; what is there and of this version is kept, an interrupted making goes on.

    Raises what importing and tiling raise.
    """
    from demo.production import recipe
    from tim.workspace import Workspace

    stamp = folder / "recipe"
    current = recipe()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == current:
        return Demo(Workspace.open(folder / "workspace"), made=False)
    sources = folder / "deliveries"
    if not (sources / current).is_dir():
        say(tr("making a small coastal place …", "正在生成海滨小镇……"))
        deliver(sources, current)
    shutil.rmtree(folder / "workspace", ignore_errors=True)
    workspace = Workspace.create(folder / "workspace")
    say(tr("importing and tiling …", "正在导入与切片……"))
    build(workspace, sources / current, quiet=quiet)
    stamp.write_text(current, encoding="ascii")
    return Demo(workspace, made=True)


def deliver(folder: Path, name: str) -> None:
    """Write all deliveries under ``folder/name``; half-made ones never get that name."""
    from demo.lidar import write_sheet
    from demo.production import write_production
    from demo.records import write_records

    shutil.rmtree(folder, ignore_errors=True)
    part = folder / f"{name}.part"
    (part / "points").mkdir(parents=True)
    write_production(part / "photo")
    write_sheet(part / "points" / "hills.laz")
    write_records(part / "records")
    part.rename(folder / name)


def build(workspace: Workspace, deliveries: Path, *, quiet: bool) -> None:
    """Import and tile them all."""
    from cli.progress import bar
    from demo.records import DATASETS
    from demo.town import CRS
    from importers.plan import Options, make_plan
    from importers.run import run_import
    from tiling import engine
    from tim.place.resolve import PlaceOptions

    photo, points, records = deliveries / "photo", deliveries / "points" / "hills.laz", deliveries / "records"
    jobs: list[tuple[str, str, Path, str | None]] = [
        ("town", TITLES["town"], photo, None),
        ("hills", TITLES["hills"], points, None),
        *(
            (slug, title, records / file, CRS if file.endswith(".csv") else None)
            for slug, (title, file) in DATASETS.items()
        ),
    ]
    for slug, title, source, crs in jobs:
        place = PlaceOptions(crs=crs, vertical="ellipsoid")
        settings = {"mapping": str(records / "mapping.yaml")} if source.parent == records else {}
        run_import(workspace, make_plan([source], Options(dataset=slug, title=title, place=place, settings=settings)))
        with bar(quiet=quiet) as listen:
            engine.tile(workspace, slug, progress=listen)
