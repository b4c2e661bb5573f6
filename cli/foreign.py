"""``tim compose``, ``tim upgrade``: tilesets that are not ours, beside ours and brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.importing import Overwrite
from cli.output import DEFAULT_WORKSPACE, Json, Workspace, emit, outcome, say, tell_problems
from cli.text import number, size, tr


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("compose", help=tr("Show several datasets as one tileset.", "把多个数据集组合为一个瓦片集。"))(compose)
    app.command("upgrade", help=tr("Write an old tileset again as 3D Tiles 1.1.", "把旧瓦片集转写为 3D Tiles 1.1。"))(
        upgrade
    )


def compose(
    name: Annotated[str, typer.Argument(help=tr("Name of the composed dataset (ASCII).", "组合数据集名称(ASCII)。"))],
    datasets: Annotated[list[str], typer.Argument(help=tr("Datasets that are tiled.", "已切片的数据集。"))],
    workspace: Workspace = DEFAULT_WORKSPACE,
    title: Annotated[str | None, typer.Option("--title", help=tr("Title people see.", "显示标题。"))] = None,
    json: Json = False,
) -> None:
    """Make or change a composed dataset, and publish it."""
    from tiling.foreign.mount import compose as run
    from tim.workspace import Workspace as Folder

    snapshot = run(Folder.open(Path(workspace)), name, datasets, title)
    if json:
        emit({"dataset": name, "seq": snapshot.seq, "hash": snapshot.hash})
    else:
        say(f"{name}: {', '.join(datasets)}  @{snapshot.seq} {snapshot.hash}")


def upgrade(
    source: Annotated[
        Path, typer.Argument(help=tr("A folder with tileset.json, or a .3tz.", "含 tileset.json 的目录或 .3tz。"))
    ],
    out: Annotated[Path, typer.Argument(help=tr("Folder, or a file ending in .3tz.", "目录,或以 .3tz 结尾的文件。"))],
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Write a tileset as 3D Tiles 1.1; exit code 3 where something had to be left out."""
    from tiling.foreign.upgrade import upgrade as run

    report = run(source, out, overwrite=overwrite)
    if json:
        emit({"out": str(out), **report.record()})
    else:
        counts = "  ".join(f"{number(value)} {kind}" for kind, value in sorted(report.contents.items()))
        say(f"{out}: {number(report.files)} {tr('files', '个文件')}, {size(report.bytes)}  {counts}")
        tell_problems(report.problems)
    return outcome(report.problems)
