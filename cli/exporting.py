"""``tim export``: a dataset out again, as tiles for any web server or as objects in a file that others read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.asking import box_of, stage_of
from cli.importing import Overwrite
from cli.output import DEFAULT_WORKSPACE, Json, Workspace, emit, outcome, say, tell_problems
from cli.sources import Crs, Datum, Vertical
from cli.text import number, size, tr
from tim.errors import TimError, UsageError

if TYPE_CHECKING:
    from tim.classes import Registry
    from tim.store import AsOf, Filter


class Versions(StrEnum):
    """Which versions of objects."""

    CURRENT = "current"
    ALL = "all"


class Shown(StrEnum):
    """Which geometry of objects."""

    FOOTPRINT = "footprint"
    BODY = "body"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        "export",
        help=tr(
            "Write a dataset's tiles as a folder (or .3tz), or its objects as a file.",
            "把数据集导出为瓦片目录(或 .3tz),或把其对象导出为文件。",
        ),
    )(export)


def export(
    dataset: Annotated[str, typer.Argument(help=tr("Dataset name.", "数据集名称。"))],
    out: Annotated[
        Path,
        typer.Argument(
            help=tr(
                "Tiles: a folder, or a file ending in .3tz. Objects: a file ending in .parquet, .gpkg, .geojsons, .geojsonl, .city.json or .csv.",
                "瓦片:目录,或以 .3tz 结尾的文件。对象:以 .parquet、.gpkg、.geojsons、.geojsonl、.city.json 或 .csv 结尾的文件。",
            )
        ),
    ],
    workspace: Workspace = DEFAULT_WORKSPACE,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help=tr("Of objects, where the name does not say it.", "对象文件的格式(后缀无法判断时)。")
        ),
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help=tr("A condition in CQL2.", "CQL2 条件。"))] = None,
    class_id: Annotated[
        str | None, typer.Option("--class", help=tr("This class and those below it.", "此类别及其下级。"))
    ] = None,
    layer: Annotated[str | None, typer.Option("--layer", help=tr("Only this layer.", "只导出此图层。"))] = None,
    stage: Annotated[str | None, typer.Option("--stage", help=tr("Only this stage.", "只导出此阶段。"))] = None,
    scenario: Annotated[
        str, typer.Option("--scenario", help=tr("A scenario instead of the common line.", "指定方案。"))
    ] = "",
    bbox: Annotated[
        str | None, typer.Option("--bbox", help=tr("west,south,east,north in degrees.", "范围:西,南,东,北(度)。"))
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help=tr("As it was valid at a date or moment.", "按某一日期或时刻的有效状态。")),
    ] = None,
    seq: Annotated[
        int | None,
        typer.Option(
            "--seq",
            help=tr(
                "As it was at a sequence number of `tim log`: the tiles' snapshot, or the objects.",
                "`tim log` 中的序号:瓦片快照,或对象状态。",
            ),
        ),
    ] = None,
    versions: Annotated[
        Versions,
        typer.Option("--versions", help=tr("current, or all there ever were.", "current 为当前,all 为全部历史版本。")),
    ] = Versions.CURRENT,
    crs: Crs = None,
    vertical: Vertical = None,
    datum: Datum = None,
    geometry: Annotated[
        Shown,
        typer.Option(
            "--geometry", help=tr("footprint, or the surfaces of the body.", "footprint 为轮廓,body 为体的表面。")
        ),
    ] = Shown.FOOTPRINT,
    spreadsheet: Annotated[
        bool,
        typer.Option("--spreadsheet", help=tr("CSV that a spreadsheet opens safely.", "供电子表格安全打开的 CSV。")),
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Write a dataset as plain files: its tiles, those of mounted tilesets among them, or its objects."""
    from exporters import FORMATS, format_of

    name = format_of(out, format_ or "")
    asked = _Asked(dataset, where, class_id, layer, stage, scenario, bbox, at, seq)
    if name is None:
        given = {
            "--crs": crs,
            "--vertical": vertical,
            "--datum": datum,
            "--spreadsheet": spreadsheet,
            **asked.conditions,
        }
        given |= {"--versions": versions is Versions.ALL, "--geometry": geometry is Shown.BODY}
        if wrong := next((option for option, value in given.items() if value), None):
            known = ", ".join(suffix for one in FORMATS.values() for suffix in one.suffixes)
            raise UsageError("export.only-objects", option=wrong, out=str(out), known=known)
        return _tiles(dataset, out, workspace, seq, overwrite=overwrite, json=json)

    from exporters.job import Options
    from exporters.job import export as run
    from exporters.records import Selection
    from tim.place import PlaceOptions
    from tim.workspace import Workspace as Folder

    options = Options(PlaceOptions(crs=crs, vertical=vertical, datum=datum), geometry.value, spreadsheet)
    folder = Folder.open(Path(workspace))
    with folder.store() as store:
        store.dataset(dataset)
        selection = Selection(asked.filter(folder.classes()), asked.moment(), versions.value)
        done = run(store, selection, out, name, options, overwrite=overwrite)
    if json:
        record = {
            "out": str(out),
            "format": done.format,
            "objects": done.objects,
            "bytes": done.bytes,
            "seconds": round(done.seconds, 3),
        }
        emit(record | {"problems": [TimError(code, **fields).record() for code, fields in done.problems]})
    else:
        say(f"{out}: {number(done.objects)} {tr('objects', '个对象')}, {size(done.bytes)}, {done.seconds:.1f} s")
        tell_problems(done.problems)
    return outcome(done.problems)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of the dataset."""

    dataset: str
    where: str | None
    class_id: str | None
    layer: str | None
    stage: str | None
    scenario: str
    bbox: str | None
    at: str | None
    seq: int | None

    @property
    def conditions(self) -> dict[str, Any]:
        """By option, but for the sequence number, which tiles have as well."""
        return {
            "--where": self.where, "--class": self.class_id, "--layer": self.layer, "--stage": self.stage, "--scenario": self.scenario,
            "--bbox": self.bbox, "--at": self.at,
        }  # fmt: skip

    def filter(self, classes: Registry) -> Filter:
        """As the store is asked."""
        from tim.query import cql2_text
        from tim.store import Filter

        return Filter(
            dataset=self.dataset, class_id=classes.get(self.class_id).id if self.class_id else None, layer=self.layer, stage=stage_of(self.stage),
            scenario=self.scenario, box=box_of(self.bbox), where=cql2_text.read(self.where) if self.where else None,
        )  # fmt: skip

    def moment(self) -> AsOf:
        """When."""
        from tim.store import AsOf

        return AsOf(self.at, self.seq)


def _tiles(dataset: str, out: Path, workspace: str, seq: int | None, *, overwrite: bool, json: bool) -> int:
    from tiling.archive import Archive
    from tiling.foreign.mount import linked
    from tim.workspace import Workspace as Folder

    folder = Folder.open(Path(workspace))
    with folder.store() as store, Archive(folder.archive_root) as archive:
        slug = store.dataset(dataset).slug
        report = archive.export(
            slug, out, seq, overwrite=overwrite, linked=lambda link: linked(archive, store, slug, link)
        )
    if json:
        emit({"out": str(out), "files": report.files, "bytes": report.bytes})
    else:
        say(f"{out}: {number(report.files)} {tr('files', '个文件')}, {size(report.bytes)}")
    return 0
