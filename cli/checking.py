"""``tim check``, ``tim describe``: how good a dataset is, and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import DEFAULT_WORKSPACE, DONE, QUARANTINED, Json, Workspace, emit, say, table
from cli.text import number, tr
from tim.errors import WorkspaceError, render

Dataset = Annotated[str, typer.Argument(help=tr("Dataset name.", "数据集名称。"))]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "check",
        help=tr(
            "Check a dataset's objects: codes, attributes, geometry, extent …",
            "检查数据集的对象:代码、属性、几何、范围等。",
        ),
    )(check)
    app.command(
        "describe",
        help=tr(
            "What a dataset says of itself: authority, standard, accuracy …", "数据集登记信息:权责单位、标准、精度等。"
        ),
    )(describe)


def check(
    dataset: Dataset,
    checks: Annotated[str, typer.Option(help=tr("Only these checks, by commas.", "只做这些检查,逗号分隔。"))] = "",
    report: Annotated[
        Path | None, typer.Option(help=tr("Write the page a person reads (HTML).", "写出供人阅读的报告页(HTML)。"))
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> int:
    """Look at every object; exit code 3 where something is wrong."""
    from tim.quality import CHECKS, to_html
    from tim.quality import check as run
    from tim.workspace import Workspace as Folder

    folder = Folder.open(Path(workspace))
    with folder.store() as store:
        chosen = [name.strip() for name in checks.split(",") if name.strip()] or CHECKS
        found = run(store, dataset, folder.classes(), chosen)
    if report is not None:
        try:
            report.write_text(to_html(found), encoding="utf-8", newline="\n")
        except OSError as error:
            raise WorkspaceError("workspace.read-only", path=str(report), reason=error.strerror or str(error)) from None
    if json:
        emit(found.to_json())
    else:
        table(
            "", [tr("check", "检查项"), tr("severity", "级别"), tr("count", "数量"), tr("for example", "示例"), tr("what, and what to do", "问题与处理方法")],
            [(f.check, f.severity, number(f.count), f.examples[0].where, render(f.code, f.examples[0].fields)) for f in found.findings],
        )  # fmt: skip
        say(tr(
            f"{found.dataset}: {number(found.objects)} objects, {number(found.errors)} errors, {number(found.warnings)} warnings",
            f"{found.dataset}:{number(found.objects)} 个对象,错误 {number(found.errors)} 项,提示 {number(found.warnings)} 项",
        ))  # fmt: skip
    return QUARANTINED if found.errors else DONE


def describe(
    dataset: Dataset,
    record: Annotated[
        Path | None,
        typer.Argument(
            help=tr(
                "YAML or JSON with title, authority, …; shown if left out.", "YAML 或 JSON 文件;缺省则显示现有信息。"
            )
        ),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Let a dataset say this of itself, or show what it says."""
    from tim.quality import put_record, read_record, record_of
    from tim.workspace import Workspace as Folder

    with Folder.open(Path(workspace)).store() as store:
        if record is not None:
            put_record(store, dataset, read_record(record))
        found = record_of(store.dataset(dataset))
    said = found.record() if found else {}
    if json:
        emit({"dataset": dataset, "record": said or None})
    else:
        table("", [tr("what", "项目"), ""], list(said.items()))
