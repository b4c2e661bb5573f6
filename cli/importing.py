"""``tim init``, ``tim import``, ``tim convert``: from files to a workspace, or straight to tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import DEFAULT_WORKSPACE, QUARANTINED, Json, Quiet, Workspace, emit, say, table, warn
from cli.text import number, size, tr

if TYPE_CHECKING:
    from importers.plan import Plan

Crs = Annotated[str | None, typer.Option("--crs", help=tr("EPSG:n, EPSG:n+m, ENU:lat,lon, WKT, or @file.", "坐标系:EPSG:n、EPSG:n+m、ENU:lat,lon、WKT 或 @文件。"))]
Vertical = Annotated[str | None, typer.Option("--vertical", help=tr("ellipsoid, egm96, +12.3m, or grid:FILE.", "高程基准:ellipsoid、egm96、+12.3m 或 grid:文件。"))]
Datum = Annotated[str | None, typer.Option("--datum", help=tr("PROJ operation to WGS 84, where the datum needs one.", "到 WGS 84 的 PROJ 转换(基准不等价时必需)。"))]
Override = Annotated[bool, typer.Option("--override-vertical", help=tr("Let --vertical ellipsoid win over the file's height datum.", "允许 --vertical ellipsoid 覆盖文件声明的高程基准。"))]
Kinds = Annotated[str | None, typer.Option("--as", help=tr("Only this kind: points, meshes.", "只导入此类数据:points、meshes。"))]
Overwrite = Annotated[bool, typer.Option("--overwrite", help=tr("Replace what is there.", "覆盖已有输出。"))]
Workers = Annotated[int | None, typer.Option("--workers", "-j", min=1, help=tr("Worker processes; the number of cores if left out.", "工作进程数,缺省为核数。"))]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("init", help=tr("Make a workspace.", "新建工作空间。"))(init)
    app.command("import", help=tr("Import files, folders or a plan into the workspace.", "把文件、目录或计划导入工作空间。"))(import_)
    app.command("convert", help=tr("Straight from a source to a folder of 3D Tiles.", "直接把数据转成 3D Tiles 目录。"))(convert)
