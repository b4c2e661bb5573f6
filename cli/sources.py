"""The options that say where sources lie and how they are read: one set for every command that takes sources."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from cli.text import tr

if TYPE_CHECKING:
    from importers.plan import Options

Crs = Annotated[
    str | None,
    typer.Option(
        "--crs",
        help=tr(
            "EPSG:n, EPSG:n+m, ENU:lat,lon, WKT, @file, @site.toml#name, or @points.csv (control points).",
            "坐标系:EPSG:n、EPSG:n+m、ENU:lat,lon、WKT、@文件、@site.toml#名称,或 @points.csv(控制点)。",
        ),
    ),
]
Vertical = Annotated[
    str | None,
    typer.Option(
        "--vertical",
        help=tr(
            "ellipsoid, egm96, +12.3m, grid:FILE, or grid:FILE,-0.029m (an offset to the grid's datum, e.g. 1956 to 1985).",
            "高程基准:ellipsoid、egm96、+12.3m、grid:文件,或 grid:文件,-0.029m(先加改正到格网的高程基准,如 1956 到 1985)。",
        ),
    ),
]
Datum = Annotated[
    str | None,
    typer.Option(
        "--datum",
        help=tr(
            "PROJ operation to WGS 84, where the datum needs one; @site.toml#name for named parameters.",
            "到 WGS 84 的 PROJ 转换(基准不等价时必需);@site.toml#名称 引用已命名的参数。",
        ),
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
    str | None,
    typer.Option(
        "--as",
        help=tr("Only this kind: points, meshes, objects, grid.", "只导入此类数据:points、meshes、objects、grid。"),
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", help=tr("Field with the lasting key of each object.", "存放对象唯一键的字段(再次交付时据此识别)。")
    ),
]
Mapping_ = Annotated[
    Path | None,
    typer.Option("--mapping", help=tr("File that says which field means what.", "字段映射文件。")),
]
Layer = Annotated[str | None, typer.Option("--layer", help=tr("Layer of the objects.", "对象所属图层。"))]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help=tr("Encoding of texts, e.g. gbk.", "文本编码,如 gbk。"))
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        help=tr("Where a model without place stands: lon,lat,height.", "无坐标模型的放置点:经度,纬度,椭球高。"),
    ),
]
Heading = Annotated[
    float | None, typer.Option("--heading", help=tr("Degrees clockwise from north.", "方位角,自北顺时针(度)。"))
]
Scale = Annotated[float | None, typer.Option("--scale", help=tr("Factor of a placed model.", "放置模型的缩放系数。"))]
Scenario = Annotated[
    str | None, typer.Option("--scenario", help=tr("Scenario the objects belong to.", "对象所属的方案。"))
]
StageOption = Annotated[
    str | None,
    typer.Option("--stage", help=tr("Stage, e.g. planned, as-built.", "所处阶段,如 planned、as-built。")),
]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Said:
    """What the options say; each is ``None`` (or false) where it was left out."""

    crs: Crs = None
    vertical: Vertical = None
    datum: Datum = None
    override_vertical: Override = False
    kind: Kinds = None
    key: Key = None
    mapping: Mapping_ = None
    layer: Layer = None
    encoding: Encoding = None
    at: At = None
    heading: Heading = None
    scale: Scale = None
    scenario: Scenario = None
    stage: StageOption = None

    def options(
        self, dataset: str | None = None, title: str | None = None, defaults: Mapping[str, Any] | None = None, **more: Any
    ) -> Options:  # fmt: skip
        """The record that plans are made from. ``defaults``: the workspace's; ``more``: further settings.

        Raises UsageError for an unknown kind, and for a stage or a position that is none.
        """
        from typing import cast, get_args

        from importers.plan import Options
        from tim.errors import UsageError
        from tim.place.resolve import PlaceOptions
        from tim.sources import Kind

        if self.kind is not None and self.kind not in get_args(Kind):
            raise UsageError("cli.unknown-kind", kind=self.kind, known=", ".join(get_args(Kind)))
        known = defaults or {}
        return Options(
            dataset, title, cast("Kind | None", self.kind), PlaceOptions(self.crs, self.vertical, self.datum, self.override_vertical),
            settings=self.settings() | {name: value for name, value in more.items() if value is not None},
            defaults=PlaceOptions(crs=known.get("crs"), vertical=known.get("vertical")),
        )  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """How to read the sources, as a plan has it: only what was said, paths absolute. Raises UsageError for a stage or a position that is none."""
        from tim.errors import UsageError
        from tim.model import Stage

        if self.stage is not None and self.stage not in list(Stage):
            raise UsageError("cli.unknown-stage", stage=self.stage, known=", ".join(Stage))
        said = {
            "key": self.key, "mapping": None if self.mapping is None else str(self.mapping.resolve()), "layer": self.layer,
            "encoding": self.encoding, "at": None if self.at is None else position(self.at), "heading": self.heading, "scale": self.scale,
            "scenario": self.scenario, "stage": self.stage,
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}


NOTHING = Said()


def takes_sources(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the options of :class:`Said`, in the place of its parameter ``said``."""
    hints = get_type_hints(Said, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    ours = [inspect.Parameter(f.name, keyword, default=f.default, annotation=hints[f.name]) for f in fields(Said)]
    signature = inspect.signature(command, eval_str=True)
    shown = [
        one
        for parameter in signature.parameters.values()
        for one in (ours if parameter.name == "said" else [parameter.replace(kind=keyword)])
    ]

    @wraps(command)
    def called(**given: Any) -> Result:
        said = Said(**{f.name: given.pop(f.name) for f in fields(Said)})
        return command(**given, said=said)

    called.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return called


def position(text: str) -> list[float]:
    """Longitude, latitude and ellipsoidal height of ``--at``. Raises UsageError."""
    from tim.errors import UsageError

    try:
        lon, lat, *height = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError("cli.bad-position", at=text) from None
    if not (abs(lon) <= 180 and abs(lat) <= 90 and len(height) <= 1):
        raise UsageError("cli.bad-position", at=text)
    return [lon, lat, *(height or [0.0])]
