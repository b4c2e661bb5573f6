"""``tim tile``, ``tim validate``, ``tim collect``: from the model to 3D Tiles and their versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.importing import Workers
from cli.output import DEFAULT_WORKSPACE, Json, Quiet, Workspace, emit, outcome, say, table, tell_problems
from cli.text import number, size, tr
from tim.errors import TimError, render

if TYPE_CHECKING:
    from tiling.archive import Snapshot

Seq = Annotated[
    int | None, typer.Option("--seq", help=tr("Snapshot number; the newest if left out.", "快照序号,缺省为最新。"))
]
ISSUES = 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "tile",
        help=tr(
            "Build 3D Tiles for what changed; run again to resume.", "为有变化的数据构建 3D Tiles;再次运行即续传。"
        ),
    )(tile)
    app.command(
        "validate",
        help=tr("Check tiles: structure, containment, errors, place.", "检查瓦片:结构、包含关系、误差、位置。"),
    )(validate)
    app.command("collect", help=tr("Free the space of old snapshots.", "回收旧快照占用的空间。"))(collect)


def tile(
    datasets: Annotated[
        list[str] | None, typer.Argument(help=tr("Datasets; all if left out.", "数据集,缺省为全部。"))
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    workers: Workers = None,
    dask: Annotated[str | None, typer.Option(help=tr("Address of a Dask scheduler.", "Dask 调度器地址。"))] = None,
    attributes: Annotated[
        str | None,
        typer.Option(help=tr("Attributes that points or objects carry, by commas.", "随点或对象携带的属性,逗号分隔。")),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Tile datasets, one after another; one that fails does not stop the others."""
    from cli.progress import bar
    from tiling import engine
    from tim.workspace import Workspace as Folder

    folder = Folder.open(Path(workspace))
    with folder.store() as store:
        chosen = [store.dataset(slug) for slug in datasets] if datasets else list(store.datasets())
    # What is composed of others comes after them.
    kinds = {d.slug: d.kind for d in chosen}
    slugs = [d.slug for d in sorted(chosen, key=lambda d: "compose" in d.settings)]
    settings = {"attributes": [a.strip() for a in attributes.split(",") if a.strip()]} if attributes else {}
    executor = engine.DaskExecutor(dask) if dask else None
    records: list[dict[str, Any]] = []
    failure: TimError | None = None
    code = 0
    for slug in slugs:
        try:
            with bar(quiet=quiet or json) as listen:
                report = engine.tile(
                    folder, slug, workers=workers, executor=executor, progress=listen, settings=settings
                )
        except TimError as error:
            if len(slugs) == 1:
                raise
            say(f"{slug}: {tr('error', '错误')} [{error.code}] {render(error.code, error.fields)}")
            records.append({"dataset": slug, "error": error.record()})
            failure = failure or error
            continue
        absent = unknown(report.snapshot, settings.get("attributes", [])) if kinds[slug] == "objects" else []
        record = report.record()
        records.append(record | {"problems": [*record["problems"], *(TimError(c, **f).record() for c, f in absent)]})
        code = max(code, outcome(report.problems))
        if not json:
            tell(report)
            tell_problems(absent)
    if json:
        emit({"datasets": records})
    return failure.exit_code if failure is not None else code


def unknown(snapshot: Snapshot, wanted: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """A warning for each attribute that was asked for and that no object has."""
    carried = {attribute["name"] for attribute in snapshot.attributes}
    missing = [name for name in wanted if name not in carried]
    return [("objects.no-attribute", {"dataset": snapshot.dataset, "name": name}) for name in missing]


def tell(report: Any) -> None:
    """What one dataset's tiling did, for people."""
    snapshot = report.snapshot
    counts = "  ".join(f"{number(value)} {name}" for name, value in snapshot.counts.items())
    done = (
        tr("up to date", "已是最新")
        if report.up_to_date
        else f"{report.shards_built} {tr('shards built', '个分片已构建')}, {report.shards_reused} {tr('reused', '个复用')}, {report.seconds:.1f} s"
    )
    say(
        f"{report.dataset}: {number(snapshot.tiles)} {tr('tiles', '个瓦片')}, {size(snapshot.bytes)}, {counts}  [{done}]"
    )
    say(f"  {tr('snapshot', '快照')} @{snapshot.seq} {snapshot.hash}")
    tell_problems(report.problems)


def validate(
    target: Annotated[
        str, typer.Argument(help=tr("A folder, a tileset.json, or a dataset.", "目录、tileset.json 或数据集。"))
    ],
    workspace: Workspace = DEFAULT_WORKSPACE,
    seq: Seq = None,
    json: Json = False,
) -> int:
    """Check tiles; exit code 1 where there are errors."""
    from tiling.validate import Archived
    from tiling.validate import validate as run
    from tim.workspace import Workspace as Folder

    path = Path(target)
    if path.exists():
        report = run(path)
    else:
        folder = Folder.open(Path(workspace))
        with folder.store() as store:
            slug = store.dataset(target).slug
        report = run(Archived(folder.archive_root, slug, seq))
    if json:
        emit(report.record())
        return 0 if report.ok else 1
    for issue in [*report.errors, *report.warnings][:ISSUES]:
        say(
            f"{tr('error', '错误') if issue.severity == 'error' else tr('warning', '警告')} [validate.{issue.code}] {issue.text()}"
        )
    counted = ("tiles", "contents", "points", "triangles")
    words = (tr("tiles", "瓦片"), tr("contents", "内容"), tr("points", "点"), tr("triangles", "三角形"))
    table("", [*words, tr("errors", "错误"), tr("warnings", "警告")],
          [(*(number(report.counts.get(name, 0)) for name in counted), number(len(report.errors)), number(len(report.warnings)))])  # fmt: skip
    return 0 if report.ok else 1


def collect(
    keep: Annotated[
        int, typer.Option(min=1, help=tr("Snapshots of each dataset to keep at least.", "每个数据集至少保留的快照数。"))
    ] = 3,
    hours: Annotated[
        float,
        typer.Option(min=0, help=tr("Keep what was on show within so many hours.", "保留最近若干小时内发布过的快照。")),
    ] = 24,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Forget old snapshots and what only they show; a server that runs meanwhile fails no request."""
    from dataclasses import asdict

    from tiling.archive import Archive
    from tim.workspace import Workspace as Folder

    folder = Folder.open(Path(workspace))
    folder.require_writable()
    done = asdict(Archive(folder.archive_root).collect(keep_snapshots=keep, keep_seconds=hours * 3600))
    if json:
        emit(done)
    else:
        say("  ".join(f"{name} {number(value)}" for name, value in done.items()))
