"""``tim diff``, ``tim rollback``, ``tim scenario``: what became of objects, taking it back, and plans beside what is."""

from __future__ import annotations

import json as encoding
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.asking import valid
from cli.output import DEFAULT_WORKSPACE, Json, Workspace, emit, say, shortened, table
from cli.text import number, tr
from tim.errors import UsageError

if TYPE_CHECKING:
    from tim.history import Difference, Undone
    from tim.store import Applied, ObjectStore

Dataset = Annotated[str, typer.Argument(help=tr("Dataset name.", "数据集名称。"))]
Scenario = Annotated[str, typer.Argument(help=tr("Scenario name.", "方案名称。"))]
Reason = Annotated[str, typer.Option(help=tr("Why, for the log.", "原因,记入日志。"))]
Author = Annotated[str, typer.Option(envvar="TIM_AUTHOR", help=tr("Who, for the log.", "作者,记入日志。"))]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=tr("Do not ask.", "不再询问。"))]
Limit = Annotated[
    int, typer.Option(min=1, help=tr("Lines of the table at most; JSON has all.", "表格最多行数;JSON 列全。"))
]
_SIGNS = {"added": "+", "removed": "−", "changed": "~"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "diff",
        help=tr("What differs between two changesets, or between two dates.", "两个变更集之间,或两个日期之间的差异。"),
    )(diff)
    app.command(
        "rollback",
        help=tr(
            "Show an earlier snapshot again; with --to, make the objects read as they did.",
            "重新发布较早的快照;用 --to 则把对象恢复到较早的状态。",
        ),
    )(rollback)
    scenarios = typer.Typer(no_args_is_help=True, help=tr("Plans beside what is.", "规划方案。"))
    scenarios.command("list", help=tr("Scenarios of a dataset.", "列出数据集的方案。"))(scenario_list)
    scenarios.command("compare", help=tr("What a scenario would change.", "方案与现状的差异。"))(scenario_compare)
    scenarios.command("adopt", help=tr("Make a scenario so, and end it.", "采纳方案:并入现状并结束。"))(scenario_adopt)
    scenarios.command("drop", help=tr("End a scenario; its history stays.", "放弃方案;历史保留。"))(scenario_drop)
    app.add_typer(scenarios, name="scenario")


def diff(
    dataset: Dataset,
    before: Annotated[
        str,
        typer.Argument(
            help=tr(
                "A changeset of `tim log`, or a date or moment (UTC).", "`tim log` 中的变更集序号,或日期、时刻(UTC)。"
            )
        ),
    ],
    after: Annotated[str, typer.Argument(help=tr("The same; now if left out.", "同上;缺省为现在。"))] = "",
    scenario: Annotated[
        str, typer.Option(help=tr("Of dates: this scenario instead of the common line.", "按日期比较时:指定方案。"))
    ] = "",
    limit: Limit = 200,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Added, removed and changed objects, field by field."""
    from tim.history import diff as between
    from tim.history import diff_moments
    from tim.store import AsOf
    from tim.workspace import Workspace as Folder

    sides = [_seq(before), _seq(after) if after else None]
    if after and (sides[0] is None) != (sides[1] is None):
        raise UsageError("cli.bad-moments", before=before, after=after)
    with Folder.open(Path(workspace)).store() as store:
        store.dataset(dataset)
        if sides[0] is None:
            found = diff_moments(store, dataset, AsOf(before), AsOf(after or None), scenario)
        elif scenario:
            raise UsageError("cli.diff-scenario", scenario=scenario)
        else:
            found = between(store, dataset, sides[0], sides[1])
        _told(found, {"dataset": dataset, "before": before, "after": after or None}, limit, json=json)


def rollback(
    dataset: Dataset,
    seq: Annotated[
        int | None,
        typer.Argument(help=tr("Snapshot to show again; `tim log` lists them.", "要恢复的快照序号,见 `tim log`。")),
    ] = None,
    to: Annotated[
        int | None,
        typer.Option(help=tr("Changeset whose objects and sources to come back to.", "把对象与数据源恢复到此变更集。")),
    ] = None,
    reason: Reason = "",
    author: Author = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help=tr("Only say how much.", "只说明影响范围。"))] = False,
    yes: Yes = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Nothing is lost either way: rolling back is a new snapshot, or a new changeset, itself."""
    from tim.history import rollback as take_back
    from tim.workspace import Workspace as Folder

    if (seq is None) == (to is None):
        raise UsageError("cli.rollback-what", dataset=dataset)
    folder = Folder.open(Path(workspace))
    with folder.store() as store:
        slug = store.dataset(dataset).slug
        if to is None:
            _show_again(folder.archive_root, slug, seq or 0, json=json)
            return
        seen, asks = store.seq, not (yes or dry_run)
        done = take_back(store, slug, to, author, reason, seen=seen, dry_run=asks or dry_run)
        if asks and done.objects + done.sources:
            sure(_undone(slug, to, done), yes=False)
            done = take_back(store, slug, to, author, reason, seen=seen)
    applied = done.applied if done.objects + done.sources else None
    if json:
        emit(
            {
                "dataset": slug,
                "to": to,
                "objects": done.objects,
                "sources": done.sources,
                "applied": applied and applied_record(applied),
            }
        )
        return
    say(_undone(slug, to, done))
    if applied is not None:
        tell_applied(slug, applied)


def _undone(dataset: str, to: int, undone: Undone) -> str:
    """How much a rollback is."""
    objects = number(undone.objects)
    return tr(
        f"{dataset}: {objects} objects and {undone.sources} sources back to changeset {to}",
        f"{dataset}:{objects} 个对象、{undone.sources} 个数据源恢复到变更集 {to}",
    )


def scenario_list(dataset: Dataset, workspace: Workspace = DEFAULT_WORKSPACE, json: Json = False) -> None:
    """Which there are, and how many objects each speaks of."""
    from tim.workspace import Workspace as Folder

    with Folder.open(Path(workspace)).store() as store:
        found = store.scenarios(dataset)
    if json:
        emit({"dataset": dataset, "scenarios": [{"name": name, "objects": count} for name, count in found.items()]})
    else:
        table("", [tr("name", "名称"), tr("objects", "对象")], [(name, number(count)) for name, count in found.items()])


def scenario_compare(
    dataset: Dataset,
    scenario: Scenario,
    limit: Limit = 200,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """What it adds to the common line, changes in it and takes from it."""
    from tim.history import compare
    from tim.workspace import Workspace as Folder

    with Folder.open(Path(workspace)).store() as store:
        _told(compare(store, dataset, scenario), {"dataset": dataset, "scenario": scenario}, limit, json=json)


def scenario_adopt(
    dataset: Dataset,
    scenario: Scenario,
    skip: Annotated[
        bool,
        typer.Option(
            "--skip", help=tr("Leave objects in the scenario that changed since.", "此后已变化的对象留在方案中。")
        ),
    ] = False,
    reason: Reason = "",
    author: Author = "",
    yes: Yes = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Put what it says onto the common line; afterwards it is no more."""
    from tim.history import adopt

    _end(
        workspace,
        dataset,
        scenario,
        lambda store: adopt(store, dataset, scenario, author, reason, skip=skip),
        tr("adopt", "采纳"),
        yes=yes,
        json=json,
    )


def scenario_drop(
    dataset: Dataset,
    scenario: Scenario,
    reason: Reason = "",
    author: Author = "",
    yes: Yes = False,
    workspace: Workspace = DEFAULT_WORKSPACE,
    json: Json = False,
) -> None:
    """Let it go."""
    from tim.history import drop

    _end(
        workspace,
        dataset,
        scenario,
        lambda store: drop(store, dataset, scenario, author, reason),
        tr("drop", "放弃"),
        yes=yes,
        json=json,
    )


def _show_again(archive: Path, dataset: str, seq: int, *, json: bool) -> None:
    """Publish an earlier snapshot of the tiles again."""
    from tiling.archive import Archive

    snapshot = Archive(archive).rollback(dataset, seq)
    if json:
        emit({"dataset": dataset, "seq": snapshot.seq, "hash": snapshot.hash})
    else:
        say(f"{dataset}: @{seq} → @{snapshot.seq}  {snapshot.hash}")


def _end(
    workspace: str, dataset: str, scenario: str, work: Callable[[ObjectStore], Applied], verb: str, *, yes: bool, json: bool
) -> None:  # fmt: skip
    """Adopt or drop a scenario, having asked."""
    from tim.workspace import Workspace as Folder

    with Folder.open(Path(workspace)).store() as store:
        count = store.scenarios(dataset).get(scenario)
        if count is not None:
            sure(
                tr(f"{verb} {scenario}: {number(count)} objects", f"{verb} {scenario}:{number(count)} 个对象"), yes=yes
            )
        applied = work(store)
    if json:
        emit({"dataset": dataset, "scenario": scenario, "applied": applied_record(applied)})
    else:
        tell_applied(dataset, applied)


def sure(what: str, *, yes: bool) -> None:
    """Ask before history is made. Raises UsageError ``cli.not-confirmed`` where nobody can answer."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("cli.not-confirmed", what=what)
    typer.confirm(f"{what}. {tr('Go on?', '继续吗?')}", abort=True, err=True)


def applied_record(applied: Applied) -> dict[str, Any]:
    """What a changeset did, as JSON has it."""
    return {
        "seq": applied.seq, "hash": applied.hash, "created": applied.created, "updated": applied.updated, "retired": applied.retired,
    }  # fmt: skip


def tell_applied(dataset: str, applied: Applied) -> None:
    """What a changeset did, and what to do now."""
    said = f"{applied.seq}  {applied.hash[:12]}"
    say(
        tr(
            f"changeset {said}; `tim tile {dataset}` brings the tiles up to date",
            f"变更集 {said};请运行 `tim tile {dataset}` 更新瓦片",
        )
    )


def _told(found: Iterator[Difference], head: dict[str, Any], limit: int, *, json: bool) -> None:
    """Differences as one JSON document, written as they come, or as a table."""
    counts = dict.fromkeys(_SIGNS, 0)

    def counted() -> Iterator[Difference]:
        for one in found:
            counts[one.kind] += 1
            yield one

    told = counted()
    first = next(told, None)  # what is refused is refused before anything is written
    told = chain(() if first is None else (first,), told)
    if json:
        write = sys.stdout.write
        write(f'{encoding.dumps(head, ensure_ascii=False)[:-1]}, "differences": [')
        for i, one in enumerate(told):
            write(f"{',' if i else ''}\n{encoding.dumps(_record(one), ensure_ascii=False, default=str)}")
        write(f'\n], "counts": {encoding.dumps(counts)}}}\n')
        return
    table(
        "", ["", "id", tr("name", "名称"), tr("class", "类别"), tr("valid", "有效期"), tr("scenario", "方案"), tr("fields", "字段")],
        map(_row, islice(told, limit)),
    )  # fmt: skip
    for _ in told:
        pass
    total = sum(counts.values())
    more = tr(f"; the first {limit} are shown", f";列出前 {limit} 项") if total > limit else ""
    said = tr("{added} added, {removed} removed, {changed} changed", "新增 {added},消失 {removed},变化 {changed}")
    say(said.format(**{name: number(count) for name, count in counts.items()}) + more)


def _row(found: Difference) -> tuple[object, ...]:
    one = found.after or found.before
    fields = "; ".join(
        f"{name.removeprefix('attributes.')} {shortened(_plain(old))} → {shortened(_plain(new))}"
        for name, old, new in found.fields
    )
    record = one.object if one else None
    return (
        _SIGNS[found.kind], found.tim_id, record and record.name, record and record.class_id, found.during and valid(*found.during),
        found.scenario or None, fields or None,
    )  # fmt: skip


def _record(found: Difference) -> dict[str, Any]:
    one = found.after or found.before
    return {
        "id": str(found.tim_id), "kind": found.kind, "scenario": found.scenario, "during": found.during,
        "name": one and one.object.name, "class": one and one.object.class_id,
        "before": found.before and found.before.version, "after": found.after and found.after.version,
        "fields": [{"name": name, "before": _plain(old), "after": _plain(new)} for name, old, new in found.fields],
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """A field's value as JSON has it; without what is not said."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: part for name, part in asdict(value).items() if part not in (None, "")}
    if hasattr(value, "_asdict"):
        return {name: part for name, part in value._asdict().items() if part}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _seq(text: str) -> int | None:
    """A changeset's number; ``None`` for anything else, which is a moment."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
