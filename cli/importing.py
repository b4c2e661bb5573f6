"""``tim init``, ``tim import``, ``tim convert``: from files to a workspace, or straight to tiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import DEFAULT_WORKSPACE, Json, Quiet, Workspace, emit, outcome, say, table, tell_problems
from cli.text import number, size, tr

if TYPE_CHECKING:
    from importers.plan import Options, Plan
    from importers.run import ImportReport

Crs = Annotated[
    str | None,
    typer.Option(
        "--crs",
        help=tr(
            "EPSG:n, EPSG:n+m, ENU:lat,lon, WKT, or @file.", "坐标系:EPSG:n、EPSG:n+m、ENU:lat,lon、WKT 或 @文件。"
        ),
    ),
]
Vertical = Annotated[
    str | None,
    typer.Option(
        "--vertical",
        help=tr("ellipsoid, egm96, +12.3m, or grid:FILE.", "高程基准:ellipsoid、egm96、+12.3m 或 grid:文件。"),
    ),
]
Datum = Annotated[
    str | None,
    typer.Option(
        "--datum",
        help=tr("PROJ operation to WGS 84, where the datum needs one.", "到 WGS 84 的 PROJ 转换(基准不等价时必需)。"),
    ),
]
Override = Annotated[
    bool,
    typer.Option(
        "--override-vertical",
        help=tr(
            "Let --vertical ellipsoid win over the file's height datum.",
            "允许 --vertical ellipsoid 覆盖文件声明的高程基准。",
        ),
    ),
]
Kinds = Annotated[
    str | None, typer.Option("--as", help=tr("Only this kind: points, meshes.", "只导入此类数据:points、meshes。"))
]
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
    json: Json = False,
) -> None:
    """Make an empty workspace."""
    from tim.workspace import Workspace as Folder

    defaults = {name: value for name, value in (("crs", crs), ("vertical", vertical)) if value is not None}
    made = Folder.create(folder, namespace=namespace, defaults=defaults)
    if json:
        emit({"workspace": str(made.path.resolve())})
    else:
        say(tr(f"workspace {made.path} is ready", f"工作空间 {made.path} 已就绪"))


def import_(
    sources: Annotated[
        list[Path], typer.Argument(help=tr("Files, folders, or one plan.yaml.", "文件、目录,或一个 plan.yaml。"))
    ],
    workspace: Workspace = DEFAULT_WORKSPACE,
    crs: Crs = None,
    vertical: Vertical = None,
    datum: Datum = None,
    override_vertical: Override = False,
    kind: Kinds = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help=tr("Dataset name (ASCII).", "数据集名称(ASCII)。"))
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help=tr("Title people see.", "显示标题。"))] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help=tr("LON,LAT[,HEIGHT] of a tileset that is to lie elsewhere.", "瓦片集要放置的 经度,纬度[,高]。")
        ),
    ] = None,
    heading: Annotated[
        float | None, typer.Option(help=tr("Degrees clockwise to turn a tileset by.", "瓦片集顺时针旋转角度(度)。"))
    ] = None,
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
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Import into the workspace."""
    from dataclasses import replace

    from importers.plan import make_plan
    from importers.run import run_import
    from tim.workspace import Workspace as Folder

    folder = None if dry_run and not (Path(workspace) / "workspace.json").exists() else Folder.open(Path(workspace))
    if folder is not None and not dry_run:
        folder.require_writable()
    options = options_for(
        crs, vertical, datum, override_vertical, kind, dataset, title, folder.defaults if folder else {}
    )
    options = replace(options, settings={**options.settings, **moves(at, heading, height_offset)})
    plan = read_plan(sources[0], options) if is_plan(sources) else make_plan(sources, options)
    if dry_run or folder is None:
        return show_plan(plan, plan_file, json=json)
    report = run_import(folder, plan, None if quiet or json else lambda d, n, of: say(f"[{n}/{of}] {d.probe.uri}"))
    return tell(report, json=json)


def options_for(
    crs: str | None, vertical: str | None, datum: str | None, override: bool, kind: str | None, dataset: str | None, title: str | None,
    defaults: Mapping[str, Any],
) -> Options:  # fmt: skip
    """What the flags say, as the record that plans are made from. Raises UsageError for an unknown kind."""
    from typing import cast, get_args

    from importers.plan import Options
    from tim.errors import UsageError
    from tim.place.resolve import PlaceOptions
    from tim.sources import Kind

    if kind is not None and kind not in get_args(Kind):
        raise UsageError("cli.unknown-kind", kind=kind, known=", ".join(get_args(Kind)))
    return Options(
        dataset, title, cast("Kind | None", kind), PlaceOptions(crs, vertical, datum, override),
        defaults=PlaceOptions(crs=defaults.get("crs"), vertical=defaults.get("vertical")),
    )  # fmt: skip


def moves(at: str | None, heading: float | None, height_offset: float | None) -> dict[str, Any]:
    """How a tileset is to be moved, as import settings. Raises UsageError where ``at`` is no place."""
    from tim.errors import UsageError

    settings: dict[str, Any] = {
        name: value for name, value in (("heading", heading), ("height_offset", height_offset)) if value is not None
    }
    if at is not None:
        try:
            settings["at"] = [float(part) for part in at.split(",")]
        except ValueError:
            raise UsageError("tiles3d.bad-setting", name="at", value=at) from None
        if len(settings["at"]) not in (2, 3):
            raise UsageError("tiles3d.bad-setting", name="at", value=at)
    return settings


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


def show_plan(plan: Plan, file: Path | None, *, json: bool) -> int:
    """Print the inventory, and write it where asked."""
    if file is not None:
        file.write_text(plan.to_yaml(), encoding="utf-8")
    if json:
        emit(plan.record())
        return 0
    table(
        tr("Inventory", "清单"),
        [tr("source", "数据源"), tr("kind", "类型"), tr("dataset", "数据集"), tr("files", "文件"), tr("size", "大小"), tr("count", "数量"),
         "CRS", tr("time", "时间"), tr("disk", "磁盘"), tr("problems", "问题")],
        [(d.probe.key or d.probe.uri, d.probe.kind, d.dataset, number(d.probe.files), size(d.probe.size), number(d.probe.count),
          (d.place.crs or d.probe.found.horizontal or "?").split("\n")[0][:40], f"{d.estimate.seconds:.0f} s", size(d.estimate.disk),
          len(d.probe.problems) or None) for d in plan.deliveries],
    )  # fmt: skip
    tell_problems(
        [(p.code, p.fields) for p in [*(p for d in plan.deliveries for p in d.probe.problems), *plan.left_out]]
    )
    if file is not None:
        say(tr(f"plan written to {file}; run it with: tim import {file}", f"计划已写入 {file};运行:tim import {file}"))
    return 0


def tell(report: ImportReport, *, json: bool) -> int:
    """What an import did; the exit code."""
    problems = [(rejected.code, rejected.fields) for rejected in report.rejected]
    if json:
        emit(report.record())
        return outcome(problems)
    language = tr("en", "zh")
    for dataset in report.datasets:
        sources = ", ".join(f"{value} {tr(key, WORDS[key])}" for key, value in dataset.sources.items() if value)
        say(f"{dataset.dataset}: {tr('sources', '数据源')} {sources or 0}, {number(dataset.count)} {tr('points or vertices', '点或顶点')}"
            if dataset.count else f"{dataset.dataset}: {tr('sources', '数据源')} {sources or 0}")  # fmt: skip
    warned = set()
    for delivery in report.deliveries:
        for warning in delivery.place.report()["warnings"]:
            if (text := warning["text"][language]) not in warned:
                warned.add(text)
                say(f"{tr('warning', '警告')} [{warning['code']}] {text}")
    tell_problems(problems)
    if report.datasets:
        say(tr("next: tim tile", "下一步:tim tile"))
    return outcome(problems)


WORDS = {"added": "新增", "changed": "变更", "unchanged": "未变"}


def convert(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE... OUT",
            help=tr("Files or folders, then the output folder or .3tz.", "文件或目录,最后是输出目录或 .3tz。"),
        ),
    ],
    crs: Crs = None,
    vertical: Vertical = None,
    datum: Datum = None,
    override_vertical: Override = False,
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
    options = options_for(crs, vertical, datum, override_vertical, None, None, None, {})
    with bar(quiet=quiet or json) as listen:
        report = run(sources[:-1], sources[-1], options, workers=workers, progress=listen, overwrite=overwrite)
    problems = [(rejected.code, rejected.fields) for rejected in report.imported.rejected]
    problems += [problem for tiled in report.tiled for problem in tiled.problems]
    if json:
        emit(report.record())
    else:
        for target, written in report.exported.items():
            say(f"{target}: {number(written.files)} {tr('files', '个文件')}, {size(written.bytes)}")
        tell_problems(problems)
    return outcome(problems)
