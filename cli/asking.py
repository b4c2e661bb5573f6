"""``tim query``, ``tim rules``: which objects there are, and which rules hold, by what they are, where and when."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import DEFAULT_WORKSPACE, Json, Workspace, emit, say, shortened, table
from cli.text import tr
from tim.errors import UsageError

if TYPE_CHECKING:
    from uuid import UUID

    from tim.model import Code, Stage
    from tim.place import Box3
    from tim.query.tree import Expression
    from tim.store import ObjectVersion

_ATTRIBUTES = 100
"""Characters of attributes in a table."""
_LOWEST, _HIGHEST = -1e9, 1e9


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "query",
        help=tr("Objects by condition, place, class, code and moment.", "按条件、位置、类别、代码与时刻查询对象。"),
    )(query)
    app.command(
        "rules",
        help=tr(
            "Planning rules in force at a place, or for an object, on a day.",
            "某地点或某对象在某日适用的规划管控规则。",
        ),
    )(rules)


def query(
    dataset: Annotated[str, typer.Argument(help=tr("Dataset name.", "数据集名称。"))],
    where: Annotated[
        str | None,
        typer.Option(
            help=tr(
                "A condition in CQL2 text: \"用途 = '居住' AND floors > 6\".",
                "CQL2 文本条件:\"用途 = '居住' AND floors > 6\"。",
            )
        ),
    ] = None,
    filter_file: Annotated[
        Path | None, typer.Option(help=tr("A file with a condition in CQL2 JSON.", "CQL2 JSON 条件文件。"))
    ] = None,
    bbox: Annotated[
        str | None,
        typer.Option(
            help=tr("west,south,east,north in degrees; heights after each pair.", "西,南,东,北(度);每对之后可加高程。")
        ),
    ] = None,
    class_id: Annotated[
        str | None, typer.Option("--class", help=tr("This class and those below it.", "此类别及其下级。"))
    ] = None,
    code: Annotated[
        str | None, typer.Option(help=tr("scheme:value, or scheme@edition:value.", "体系:值,或 体系@版本:值。"))
    ] = None,
    layer: Annotated[str | None, typer.Option(help=tr("Only this layer.", "只看此图层。"))] = None,
    stage: Annotated[str | None, typer.Option(help=tr("Only this stage.", "只看此阶段。"))] = None,
    at: Annotated[
        str | None,
        typer.Option(help=tr("As it was valid on a date or at a moment (UTC).", "按某日期或时刻(UTC)的有效状态。")),
    ] = None,
    seq: Annotated[
        int | None,
        typer.Option(help=tr("As the store had it at a changeset of `tim log`.", "按 `tim log` 中某变更集时的状态。")),
    ] = None,
    scenario: Annotated[str, typer.Option(help=tr("A scenario instead of the common line.", "指定方案。"))] = "",
    upon: Annotated[
        bool, typer.Option("--upon", help=tr("The scenario upon the common line.", "把方案叠加在现状之上。"))
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help=tr("Objects at most.", "最多对象数。"))] = 100,
    cursor: Annotated[
        str | None, typer.Option(help=tr("Go on where the last page ended.", "从上一页结束处继续。"))
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help=tr("Give up after so many seconds.", "超过该秒数即放弃。"))
    ] = None,
    geojson: Annotated[
        bool, typer.Option("--geojson", help=tr("A GeoJSON FeatureCollection on stdout.", "在标准输出上给出 GeoJSON。"))
    ] = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Objects that match all that is given, by id; one page of them."""
    from server.features import features, object_document
    from tim.store import AsOf, Filter
    from tim.workspace import Workspace as Folder

    folder = Folder.open(Path(workspace))
    classes = folder.classes()
    wanted = Filter(
        dataset, box=box_of(bbox), class_id=None if class_id is None else classes.get(class_id).id, layer=layer,
        stage=stage_of(stage), code=_code(code), scenario=scenario, upon=upon, where=_condition(where, filter_file),
    )  # fmt: skip
    with folder.store() as store:
        page = store.query(wanted, AsOf(at, seq), cursor, limit, seconds)
        found = (
            features(page.items, store) if geojson else [object_document(item, (), {}, classes) for item in page.items]
        )
    if geojson:
        emit({"type": "FeatureCollection", "features": found, "numberReturned": len(found), "cursor": page.cursor})
    elif json:
        emit({"objects": found, "cursor": page.cursor})
    else:
        table(
            "", ["id", tr("name", "名称"), tr("class", "类别"), tr("stage", "阶段"), tr("valid", "有效期"), tr("codes", "代码"), tr("attributes", "属性")],
            map(_row, page.items),
        )  # fmt: skip
        if page.cursor is not None:
            say(tr(f"There are more: --cursor {page.cursor}", f"还有更多:--cursor {page.cursor}"))


def rules(
    where: Annotated[
        str,
        typer.Argument(help=tr("longitude,latitude in degrees, or the id of an object.", "经度,纬度(度),或对象标识。")),
    ],
    at: Annotated[
        str | None, typer.Option(help=tr("A date or moment (UTC); today if left out.", "日期或时刻(UTC),缺省为今天。"))
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help=tr("Only this kind, e.g. height-limit; repeat for more.", "只看此类规则,如 height-limit,可重复。"),
        ),
    ] = None,
    height: Annotated[
        float | None,
        typer.Option(help=tr("Of a place: ellipsoidal height, metres.", "地点的椭球高(米)。")),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", help=tr("Only of this dataset; repeat for more.", "只看此数据集,可重复。")),
    ] = None,
    seq: Annotated[
        int | None,
        typer.Option(
            help=tr(
                "Of a place: as the store had it at a changeset of `tim log`.", "地点:按 `tim log` 中某变更集时的状态。"
            )
        ),
    ] = None,
    scenario: Annotated[str, typer.Option(help=tr("A scenario upon the common line.", "把方案叠加在现状之上。"))] = "",
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """What may be done there, on which basis, since when."""
    from tim.rules import load, rules_at, rules_for
    from tim.workspace import Workspace as Folder

    place, tim_id = _place(where)
    if tim_id is not None and (height is not None or seq is not None):
        raise UsageError("cli.only-places", option="--seq" if height is None else "--height")
    folder = Folder.open(Path(workspace))
    known = load(folder.path)
    with folder.store() as store:
        if tim_id is None:
            found = rules_at(store, *place, at, kinds or (), height, datasets or None, seq, known, scenario)
        else:
            found = rules_for(store, tim_id, at, kinds or (), datasets or None, known, scenario)
    if json:
        emit({"rules": [rule.record() for rule in found]})
        return

    def said(name: str, value: Any) -> str:
        parameter = known.parameters[name]
        text = value.get("value", value) if isinstance(value, dict) else value
        return f"{tr(parameter.en, parameter.zh)} {shortened(text)} {parameter.unit}".strip()

    table(
        "", [tr("rule", "规则"), tr("says", "内容"), tr("object", "对象"), tr("notice", "公告"), tr("authority", "主管部门"), tr("valid", "有效期"), "id"],
        [
            (
                tr(known.kinds[rule.kind].en, known.kinds[rule.kind].zh), "; ".join(said(*one) for one in rule.parameters.items()) or None,
                rule.name or rule.class_id, rule.basis.get("notice"), rule.basis.get("custodian"), valid(rule.valid_from, rule.valid_to), rule.tim_id,
            )
            for rule in found
        ],
    )  # fmt: skip


def valid(valid_from: str | None, valid_to: str | None) -> str | None:
    """A validity for people; ``None`` where it is open at both ends."""
    return None if valid_from is None and valid_to is None else f"{valid_from or '…'} – {valid_to or '…'}"


def _row(found: ObjectVersion) -> tuple[object, ...]:
    record = found.object
    attributes = "; ".join(f"{name} {shortened(value)}" for name, value in record.attributes.items())
    return (
        found.tim_id, record.name or None, record.class_id, record.stage.value, valid(record.valid_from, record.valid_to),
        ", ".join(code.value for code in record.codes) or None, shortened(attributes, _ATTRIBUTES) or None,
    )  # fmt: skip


def _condition(text: str | None, file: Path | None) -> Expression | None:
    """What both say. Raises UsageError ``query.*``, ``cli.filter-unreadable``."""
    from tim.query import cql2_json, cql2_text
    from tim.query.tree import And

    found = [] if text is None else [cql2_text.read(text)]
    if file is not None:
        try:
            found.append(cql2_json.read(file.read_bytes()))
        except OSError as error:
            raise UsageError("cli.filter-unreadable", path=str(file), reason=error.strerror or str(error)) from None
    return And(tuple(found)) if len(found) > 1 else found[0] if found else None


def box_of(text: str | None) -> Box3 | None:
    """West may be east of east: across the antimeridian. Raises UsageError ``cli.bad-box``."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
        west, south, bottom, east, north, top = (
            numbers if len(numbers) == 6 else (*numbers[:2], _LOWEST, *numbers[2:], _HIGHEST)
        )
    except ValueError:
        raise UsageError("cli.bad-box", text=text) from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90 and bottom <= top):
        raise UsageError("cli.bad-box", text=text)
    return west, south, bottom, east, north, top


def stage_of(text: str | None) -> Stage | None:
    """Raises UsageError ``cli.unknown-stage``."""
    from tim.model import Stage

    if text is None:
        return None
    if text not in set(Stage):
        raise UsageError("cli.unknown-stage", stage=text, known=", ".join(Stage))
    return Stage(text)


def _place(text: str) -> tuple[tuple[float, float], UUID | None]:
    """A place, or the id of an object. Raises UsageError ``cli.bad-place``."""
    from uuid import UUID

    try:
        if "," not in text:
            return (0.0, 0.0), UUID(text)
        lon, lat = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError("cli.bad-place", text=text) from None
    return (lon, lat), None


def _code(text: str | None) -> Code | None:
    from tim.model import Code

    if text is None:
        return None
    scheme, mark, value = text.partition(":")
    scheme, _, edition = scheme.partition("@")
    if not (mark and scheme and value):
        raise UsageError("cli.bad-code", text=text)
    return Code(scheme, edition, value)
