"""``tim info``, ``tim log``, ``tim doctor``: what is there, what happened, what this machine can do."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.asking import valid
from cli.output import DEFAULT_WORKSPACE, Json, Workspace, emit, say, table
from cli.text import number, size, tr
from tim.errors import TimError, UsageError, render

if TYPE_CHECKING:
    from tim.model import ObjectRecord
    from tim.place.files import DatumFile
    from tim.workspace import Workspace as Folder


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "info", help=tr("What the workspace holds, or one dataset in detail.", "工作空间里有什么,或某个数据集的详情。")
    )(info)
    app.command("log", help=tr("Changesets and snapshots, newest first.", "变更集与快照,最新在前。"))(log)
    app.command("doctor", help=tr("What this machine has and what is missing.", "检查本机环境。"))(doctor)


def info(
    dataset: Annotated[str, typer.Argument(help=tr("Dataset name.", "数据集名称。"))] = "",
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine",
            help=tr("List the dataset's records that could not be taken.", "列出该数据集未能导入的记录。"),
        ),
    ] = False,
    repair: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.geojsonl",
            help=tr("Write those that can be mended as GeoJSON, one a line.", "把可修复的记录写为 GeoJSON 文本序列。"),
        ),
    ] = None,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """What the workspace holds."""
    from tiling.archive import Archive
    from tim.quality.record import KEY
    from tim.workspace import Workspace as Folder

    folder = Folder.open(Path(workspace))
    if quarantine or repair is not None:
        _quarantined(folder, dataset, repair, json=json)
        return
    with folder.store() as store:
        chosen = [store.dataset(dataset)] if dataset else store.datasets()
        archive = Archive(folder.archive_root)
        records: list[dict[str, Any]] = []
        for item in chosen:
            sources = store.sources(item.slug)
            snapshot = archive.latest(item.slug)
            records.append({
                "dataset": item.slug, "title": item.title, "kind": item.kind, "uid": str(item.uid), "private": item.private,
                "frame": item.frame.record(), "objects": store.count(item.slug), "quarantined": folder.quarantine.count(item.slug),
                "record": item.settings.get(KEY), "scenarios": store.scenarios(item.slug),
                "sources": [{"key": s.key, "format": s.format, "count": s.count, "bytes": s.fingerprint.size, "box": s.box,
                             "place": s.place.report()} for s in sources],
                "snapshot": snapshot and {"seq": snapshot.seq, "hash": snapshot.hash, "created": snapshot.created, "tiles": snapshot.tiles,
                                          "bytes": snapshot.bytes, "counts": dict(snapshot.counts)},
            })  # fmt: skip
    if json:
        emit({"workspace": str(folder.path.resolve()), "datasets": records})
        return
    table(
        tr("Datasets", "数据集"),
        [tr("name", "名称"), tr("title", "标题"), tr("kind", "类型"), tr("sources", "数据源"), tr("objects", "对象"),
         tr("tiles", "瓦片"), tr("size", "大小"), tr("snapshot", "快照"), tr("quarantined", "隔离")],
        [(r["dataset"], r["title"], r["kind"], len(r["sources"]), number(r["objects"]),
          number(r["snapshot"] and r["snapshot"]["tiles"]), size(r["snapshot"]["bytes"]) if r["snapshot"] else None,
          f"@{r['snapshot']['seq']} {r['snapshot']['hash'][:12]}" if r["snapshot"] else None, r["quarantined"] or None) for r in records],
    )  # fmt: skip
    if dataset:
        told: list[tuple[object, object]] = list((records[0]["record"] or {}).items())
        told += [
            (tr(f"scenario {name}", f"方案 {name}"), f"{number(count)} {tr('objects', '个对象')}")
            for name, count in records[0]["scenarios"].items()
        ]
        if told:
            table("", [tr("what", "项目"), ""], told)
        for source in records[0]["sources"]:
            say("")
            print_place(source["key"], source["place"])


def _quarantined(folder: Folder, dataset: str, repair: Path | None, *, json: bool) -> None:
    """The open records of one dataset, and those that can be mended in a file."""
    if not dataset:
        raise UsageError("cli.no-dataset-named")
    with folder.store() as store:
        store.dataset(dataset)
    records = list(folder.quarantine.records(dataset))
    written = None if repair is None else folder.quarantine.export(dataset, repair)
    if json:
        told = [TimError(r.code, **r.fields).record() | {"where": r.where, "source": r.source} for r in records]
        emit({"dataset": dataset, "records": told, "written": written})
        return
    rows = [(r.where, render(r.code, r.fields)) for r in records]
    table(tr("Quarantined", "隔离的记录"), [tr("where", "位置"), tr("what, and what to do", "原因与处理方法")], rows)
    if repair is not None:
        say(tr(f"{written} of them are in {repair}; mend them there and import the file into {dataset} with the options of the first time.",
               f"其中 {written} 条已写入 {repair};修复后请以原有选项导入数据集 {dataset}。"))  # fmt: skip


def print_place(name: str, report: dict[str, Any]) -> None:
    """The placing report of one source, for people."""
    say(tr(f"Place of {name or 'the source'}", f"{name or '数据源'} 的坐标定位"))
    language = tr("en", "zh")
    for step in report["steps"]:
        say("  " + step["text"][language])
    for warning in report["warnings"]:
        say("  ! " + warning["text"][language])


def log(
    dataset: Annotated[str, typer.Argument(help=tr("Only this dataset.", "只看此数据集。"))] = "",
    limit: Annotated[int, typer.Option(help=tr("Lines at most.", "最多行数。"))] = 50,
    object_: Annotated[
        str,
        typer.Option("--object", help=tr("The versions of one object, by its id.", "某个对象的各版本,按对象标识。")),
    ] = "",
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Changesets of the object store and snapshots of the tiles; or what was said of one object, by whom."""
    from tiling.archive import Archive
    from tim.workspace import Workspace as Folder

    folder = Folder.open(Path(workspace))
    if object_:
        _versions(folder, object_, json=json)
        return
    with folder.store() as store:
        slugs = [store.dataset(dataset).slug] if dataset else [d.slug for d in store.datasets()]
        changes = list(store.log(dataset or None, limit))
    archive = Archive(folder.archive_root)
    snapshots = sorted((s for slug in slugs for s in archive.snapshots(slug)), key=lambda s: -s.seq)[:limit]
    if json:
        emit({
            "changesets": [{"seq": c.seq, "parent": c.parent, "hash": c.hash, "dataset": c.dataset, "author": c.author, "reason": c.reason,
                            "time": c.time, "counts": dict(c.counts)} for c in changes],
            "snapshots": [{"seq": s.seq, "dataset": s.dataset, "hash": s.hash, "store_seq": s.store_seq, "created": s.created,
                           "tiles": s.tiles, "bytes": s.bytes, "counts": dict(s.counts)} for s in snapshots],
        })  # fmt: skip
        return
    table(
        tr("Changesets", "变更集"),
        [
            "seq",
            tr("time", "时间"),
            tr("dataset", "数据集"),
            tr("author", "作者"),
            tr("reason", "原因"),
            tr("counts", "计数"),
            "hash",
        ],
        [
            (
                c.seq,
                c.time,
                c.dataset,
                c.author or None,
                c.reason,
                ", ".join(f"{k} {v:,}" for k, v in c.counts.items() if v),
                c.hash[:12],
            )
            for c in changes
        ],
    )
    table(
        tr("Snapshots", "快照"),
        ["seq", tr("time", "时间"), tr("dataset", "数据集"), tr("tiles", "瓦片"), tr("size", "大小"), "hash"],
        [(s.seq, s.created, s.dataset, number(s.tiles), size(s.bytes), s.hash[:12]) for s in snapshots],
    )


def _versions(folder: Folder, text: str, *, json: bool) -> None:
    """All versions of one object, with who said so and what of it was new. Raises UsageError ``cli.no-object``."""
    from uuid import UUID

    from tim.history import fields_changed

    try:
        tim_id = UUID(text)
    except ValueError:
        raise UsageError("cli.no-object", id=text) from None
    with folder.store() as store:
        versions = store.history(tim_id)
        if not versions:
            raise UsageError("cli.no-object", id=text)
        made = store.changesets({version.seq for version in versions})
    rows: list[dict[str, Any]] = []
    last: dict[str, ObjectRecord] = {}
    for version in versions:
        record, changeset = version.object, made[version.seq]
        before = last.get(record.scenario)
        rows.append({
            "version": version.version, "seq": version.seq, "from": version.db_from, "to": version.db_to, "scenario": record.scenario,
            "stage": record.stage.value, "validFrom": record.valid_from, "validTo": record.valid_to, "author": changeset.author,
            "reason": changeset.reason, "source": version.source,
            "fields": [] if before is None else [field.name for field in fields_changed(before, record)],
        })  # fmt: skip
        last[record.scenario] = record
    if json:
        emit({"id": str(tim_id), "dataset": versions[0].dataset, "versions": rows})
        return
    table(
        f"{versions[-1].object.name} {tim_id}".strip(),
        [tr("version", "版本"), "seq", tr("said", "记录于"), tr("until", "至"), tr("valid", "有效期"), tr("stage", "阶段"), tr("scenario", "方案"), tr("author", "作者"),
         tr("reason", "原因"), tr("new", "变化")],
        [(r["version"], r["seq"], r["from"], r["to"], valid(r["validFrom"], r["validTo"]), r["stage"], r["scenario"] or None, r["author"] or None,
          r["reason"], ", ".join(r["fields"]) or None) for r in rows],
    )  # fmt: skip


def datum_files(folder: Folder) -> dict[DatumFile, list[str]]:
    """The parameter sets, grids and other files that places of a workspace depend on, and the datasets that do."""
    found: dict[DatumFile, list[str]] = {}
    with folder.store() as store:
        for dataset in store.datasets():
            for file in dict.fromkeys(f for source in store.sources(dataset.slug) for f in source.place.files):
                found.setdefault(file, []).append(dataset.slug)
    return found


def doctor(workspace: Workspace = DEFAULT_WORKSPACE, json: Json = False) -> int:
    """What this machine can do; exit code 1 where something needed is missing."""
    from tim.place import files
    from tim.workspace import Workspace as Folder

    checks: list[tuple[str, bool, bool, str]] = []

    def check(name: str, ok: bool, detail: str, needed: bool = True) -> None:
        checks.append((name, ok, needed, detail))

    check("Python", sys.version_info >= (3, 11), sys.version.split()[0])
    for name in ("numpy", "pyproj", "laspy", "lazrs", "pillow", "fastapi", "uvicorn"):
        try:
            check(name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            check(name, False, "pip install tim-engine")
    check(
        "uvloop",
        util.find_spec("uvloop") is not None,
        tr("faster serving; not on Windows", "服务更快;Windows 上没有"),
        needed=False,
    )
    check("dask", util.find_spec("distributed") is not None, "pip install 'tim-engine[dask]'", needed=False)
    viewer = Path(__file__).resolve().parents[1] / "server" / "static" / "index.html"
    check(tr("viewer", "浏览器端"), viewer.is_file(), "" if viewer.is_file() else "make viewer", needed=False)
    grid = files.find(("egm96_15.gtx", "us_nga_egm96_15.tif"))
    check("EGM96", grid is not None, grid.path if grid else "TIM_DATUM_DIR=… egm96_15.gtx", needed=False)
    free = shutil.disk_usage(Path.cwd()).free
    check(tr("free disk", "可用磁盘"), free > 1e9, size(free))
    if (Path(workspace) / "workspace.json").exists():
        folder = Folder.open(Path(workspace))
        check(tr("workspace", "工作空间"), True, str(folder.path))
        for file, users in datum_files(folder).items():
            try:
                file.text() if file.part else file.locate()
            except TimError as error:
                check(file.shown, False, f"{render(error.code, error.fields)} ({', '.join(users)})")
            else:
                check(file.shown, True, str(file.locate()))
    good = all(ok for _, ok, needed, _ in checks if needed)
    if json:
        emit(
            {
                "ok": good,
                "checks": [{"name": n, "ok": ok, "needed": needed, "detail": d} for n, ok, needed, d in checks],
            }
        )
    else:
        table("", [tr("what", "项目"), "", tr("detail", "说明")],
              [(n, "✓" if ok else ("✗" if needed else "–"), d) for n, ok, needed, d in checks])  # fmt: skip
    return 0 if good else 1
