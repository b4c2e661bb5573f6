"""``tim init``, ``tim import``, ``tim convert``: from files to a workspace, or straight to tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import DEFAULT_WORKSPACE, SHOWN, Json, Quiet, Workspace, emit, outcome, say, table, tell_problems
from cli.sources import NOTHING, Crs, Said, Vertical, takes_sources
from cli.text import number, size, tr

if TYPE_CHECKING:
    from importers.plan import Options, Plan
    from importers.run import DatasetImport, ImportReport

Overwrite = Annotated[bool, typer.Option("--overwrite", help=tr("Replace what is there.", "覆盖已有输出。"))]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        min=1,
        help=tr("Worker processes; the number of cores if left out.", "工作进程数,缺省为核数。"),
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("init", help=tr("Make a workspace.", "新建工作空间。"))(init)
    app.command(
        "import", help=tr("Import files, folders or a plan into the workspace.", "把文件、目录或计划导入工作空间。")
    )(import_)
    app.command(
        "convert", help=tr("Straight from a source to a folder of 3D Tiles.", "直接把数据转成 3D Tiles 目录。")
    )(convert)


def init(
    folder: Annotated[Path, typer.Argument(help=tr("The folder to make.", "要新建的目录。"))] = Path(DEFAULT_WORKSPACE),
    crs: Crs = None,
    vertical: Vertical = None,
    namespace: Annotated[
        str, typer.Option(help=tr("Keeps ids of two organisations apart.", "区分不同单位的标识。"))
    ] = "",
    store: Annotated[
        str | None,
        typer.Option(
            help=tr(
                "Keep the objects in PostgreSQL: postgresql://USER@HOST/DATABASE?schema=NAME.",
                "把对象保存在 PostgreSQL 中:postgresql://用户@主机/数据库?schema=名称。",
            )
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make an empty workspace."""
    from tim.workspace import Workspace as Folder

    defaults = {name: value for name, value in (("crs", crs), ("vertical", vertical)) if value is not None}
    made = Folder.create(folder, namespace=namespace, defaults=defaults, store_url=store)
    if json:
        emit({"workspace": str(made.path.resolve())} | ({"store": made.store_url} if made.store_url else {}))
    else:
        say(tr(f"workspace {made.path} is ready", f"工作空间 {made.path} 已就绪"))


@takes_sources
def import_(
    sources: Annotated[
        list[Path], typer.Argument(help=tr("Files, folders, or one plan.yaml.", "文件、目录,或一个 plan.yaml。"))
    ],
    workspace: Workspace = DEFAULT_WORKSPACE,
    said: Said = NOTHING,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help=tr("Dataset name (ASCII).", "数据集名称(ASCII)。"))
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help=tr("Title people see.", "显示标题。"))] = None,
    replaces: Annotated[
        str | None,
        typer.Option(
            "--replaces",
            metavar="KEY",
            help=tr(
                "The source that this one replaces under another name, as `tim info` names it.",
                "改名后再次交付时,被替换的数据源(名称见 `tim info`)。",
            ),
        ),
    ] = None,
    retire_absent: Annotated[
        bool,
        typer.Option(
            "--retire-absent",
            help=tr("End objects that their layer no longer has.", "停用图层中已不再交付的对象。"),
        ),
    ] = False,
    valid_to: Annotated[
        str | None,
        typer.Option(
            "--valid-to",
            help=tr("With --retire-absent: when they ended; today.", "与 --retire-absent 同用:停用日期,缺省为今天。"),
        ),
    ] = None,
    diff: Annotated[
        bool,
        typer.Option("--diff", help=tr("Only say what would change.", "只比较会有哪些变化,不导入。")),
    ] = False,
    height_offset: Annotated[
        float | None, typer.Option(help=tr("Metres to lift a tileset by.", "瓦片集抬升高度(米)。"))
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=tr("Only say what would be done.", "只列出清单,不导入。"))
    ] = False,
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", help=tr("With --dry-run: write the plan here.", "与 --dry-run 同用:把计划写到此文件。")),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", help=tr("With --dry-run: write the inventory here.", "与 --dry-run 同用:把清单写到此文件。")
        ),
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Import into the workspace."""
    from importers.page import write_page
    from importers.plan import make_plan
    from importers.run import diff_import, run_import, today
    from tim.errors import UsageError
    from tim.workspace import Workspace as Folder

    if valid_to is not None and not retire_absent:
        raise UsageError("cli.valid-to-alone")
    folder = None if dry_run and not (Path(workspace) / "workspace.json").exists() else Folder.open(Path(workspace))
    if folder is not None and not dry_run:
        folder.require_writable()
    defaults = folder.defaults if folder else {}
    options = said.options(dataset, title, defaults, height_offset=height_offset, replaces=replaces)
    plan = read_plan(sources[0], options) if is_plan(sources) else make_plan(sources, options)
    if dry_run or folder is None:
        return show_plan(plan, plan_file, csv_file, json=json)
    listen = None if quiet or json else lambda d, n, of: say(f"[{n}/{of}] {d.probe.uri}")
    if diff:
        return tell(diff_import(folder, plan, listen), json=json)
    report = run_import(folder, plan, listen, retire=(valid_to or today()) if retire_absent else None)
    return tell(report, write_page(folder, report), json=json)


def is_plan(sources: list[Path]) -> bool:
    """Whether the one source is a written plan."""
    return len(sources) == 1 and sources[0].suffix.lower() in (".yaml", ".yml")


def read_plan(path: Path, options: Options) -> Plan:
    """A written plan. Raises UsageError where it cannot be read, naming file, line and field."""
    from importers.plan import Plan
    from tim.errors import UsageError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("cli.plan-unreadable", path=str(path), reason=str(error)) from None
    return Plan.from_yaml(text, str(path), options.defaults)


def show_plan(plan: Plan, file: Path | None, csv_file: Path | None, *, json: bool) -> int:
    """Print the inventory, sheets of one folder together, and write it where asked."""
    from importers.inventory import groups, to_csv

    if file is not None:
        file.write_text(plan.to_yaml(), encoding="utf-8")
    if csv_file is not None:
        csv_file.write_text(to_csv(plan), encoding="utf-8", newline="")
    if json:
        emit(plan.record())
        return 0
    found = groups(plan)
    rows: list[tuple[object, ...]] = [
        (g.name, g.kind, g.format, g.dataset, number(len(g.deliveries)), number(g.files), size(g.size), number(g.count), g.crs[:40],
         f"{g.seconds:.0f} s", size(g.disk), g.problems or None) for g in found
    ]  # fmt: skip
    if len(plan.deliveries) > 1:
        total = plan.deliveries
        rows.append((tr("all", "合计"), None, None, None, number(len(total)), number(sum(g.files for g in found)), size(sum(g.size for g in found)),
                     number(sum(g.count or 0 for g in found) or None), None, f"{sum(g.seconds for g in found):.0f} s",
                     size(sum(g.disk for g in found)), sum(g.problems for g in found) or None))  # fmt: skip
    table(
        tr("Inventory", "清单"),
        [tr("source", "数据源"), tr("kind", "类型"), tr("format", "格式"), tr("dataset", "数据集"), tr("deliveries", "交付数"), tr("files", "文件"),
         tr("size", "大小"), tr("count", "数量"), "CRS", tr("time", "时间"), tr("disk", "磁盘"), tr("problems", "问题")],
        rows,
    )  # fmt: skip
    tell_problems(
        [(p.code, p.fields) for p in [*(p for d in plan.deliveries for p in d.probe.problems), *plan.left_out]]
    )
    if file is not None:
        say(tr(f"plan written to {file}; run it with: tim import {file}", f"计划已写入 {file};运行:tim import {file}"))
    return 0


def tell(report: ImportReport, page: Path | None = None, *, json: bool) -> int:
    """What an import did, or would do where it wrote no page; the exit code."""
    problems = [(rejected.code, rejected.fields) for rejected in report.rejected]
    if json:
        emit(report.record() | {"page": str(page) if page else None})
        return outcome(problems)
    language = tr("en", "zh")
    for dataset in report.datasets:
        sources = ", ".join(f"{value} {tr(key, WORDS[key])}" for key, value in dataset.sources.items() if value)
        say(f"{dataset.dataset}: {tr('sources', '数据源')} {sources or 0}, {number(dataset.count)} {tr('points or vertices', '点或顶点')}"
            if dataset.count else f"{dataset.dataset}: {tr('sources', '数据源')} {sources or 0}")  # fmt: skip
        if dataset.kind == "objects":
            tell_objects(dataset)
    warned = set()
    for delivery in report.deliveries:
        for warning in delivery.place.report()["warnings"]:
            if (text := warning["text"][language]) not in warned:
                warned.add(text)
                say(f"{tr('warning', '警告')} [{warning['code']}] {text}")
    tell_problems(problems)
    if page is not None:
        say(tr(f"report: {page}", f"导入报告:{page}"))
        say(tr("next: tim tile", "下一步:tim tile"))
    return outcome(problems)


def tell_objects(dataset: DatasetImport) -> None:
    """How the objects of a delivery differ from those there were."""
    counts = {**dataset.objects, "absent": dataset.diff.absent if dataset.diff else 0, "retired": dataset.retired}
    say("  " + ", ".join(f"{number(value)} {tr(key, WORDS[key])}" for key, value in counts.items() if value))
    if dataset.diff is None:
        return
    if dataset.diff.fields:
        say(
            "  "
            + tr("fields: ", "字段:")
            + ", ".join(f"{name} {count:,}" for name, count in dataset.diff.fields.items())
        )
    for kind, samples in dataset.diff.samples.items():
        for sample in samples[:SHOWN]:
            say(
                f"    {tr(kind, WORDS[kind])} {sample.layer}#{sample.key} {sample.name} {', '.join(sample.fields)}".rstrip()
            )
    if dataset.diff.absent > dataset.retired:
        say("  " + tr("absent objects stay; --retire-absent ends them", "缺失的对象仍保留;--retire-absent 可停用"))


WORDS = {
    "added": "新增", "changed": "变更", "unchanged": "未变", "created": "新增", "updated": "变更", "absent": "缺失", "retired": "停用",
}  # fmt: skip


@takes_sources
def convert(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE... OUT",
            help=tr("Files or folders, then the output folder or .3tz.", "文件或目录,最后是输出目录或 .3tz。"),
        ),
    ],
    said: Said = NOTHING,
    workers: Workers = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Straight to tiles, with no workspace to keep."""
    from cli.progress import bar
    from tiling.engine import convert as run
    from tim.errors import UsageError

    if len(sources) < 2:
        raise UsageError("cli.no-output", source=str(sources[0]))
    with bar(quiet=quiet or json) as listen:
        report = run(sources[:-1], sources[-1], said.options(), workers=workers, progress=listen, overwrite=overwrite)
    problems = [(rejected.code, rejected.fields) for rejected in report.imported.rejected]
    problems += [problem for tiled in report.tiled for problem in tiled.problems]
    if json:
        emit(report.record())
    else:
        for target, written in report.exported.items():
            say(f"{target}: {number(written.files)} {tr('files', '个文件')}, {size(written.bytes)}")
        tell_problems(problems)
    return outcome(problems)
