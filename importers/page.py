"""The page that says what an import did, for people: one HTML file that needs nothing else, and the same as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from importers.redelivery import Diff
from importers.run import ImportReport
from tim.errors import Language, is_warning, language_from_environment, render
from tim.page import ROWS, document, table
from tim.workspace import Workspace

_WORDS = {
    "title": ("What the import did", "导入报告"), "datasets": ("Datasets", "数据集"), "dataset": ("dataset", "数据集"), "kind": ("kind", "类型"),
    "sources": ("sources: added, changed, unchanged", "数据源:新增、变更、未变"),
    "objects": ("objects: created, changed, unchanged", "对象:新增、变更、未变"), "absent": ("absent, of them retired", "缺失,其中已停用"),
    "count": ("points", "点数"), "rejected": ("left out or remarked", "隔离与提示"), "diff": ("Compared with what was there", "与已有数据的差异"),
    "created": ("created", "新增"), "changed": ("changed", "变更"), "gone": ("absent", "缺失"), "layer": ("layer", "图层"), "key": ("key", "键"),
    "name": ("name", "名称"), "fields": ("fields", "字段"), "quarantine": ("Left out, and how to repair it", "已隔离的内容及修复方法"),
    "warnings": ("Remarks", "提示"), "quality": ("Quality of the records", "记录质量检查"), "severity": ("severity", "级别"), "number": ("how many; the first:", "数量;首例:"), "where": ("where", "位置"), "what": ("what, and what to do", "原因与处理方法"),
    "places": ("Where the deliveries lie", "各数据的坐标定位"), "known": ("unchanged since the last import, not read again", "自上次导入后未变,未重新读取"),
    "nothing": ("none", "无"), "seconds": ("seconds", "秒"),
    "retired": ("Absent objects are still there; retire them with --retire-absent.", "缺失的对象仍然保留;可用 --retire-absent 停用。"),
}  # fmt: skip


def write_page(workspace: Workspace, report: ImportReport, language: Language | None = None) -> Path:
    """Write ``reports/import-n.html`` and ``.json`` into the workspace; the page's path. Raises OSError."""
    folder = workspace.reports
    folder.mkdir(exist_ok=True)
    number = 1 + max((int(path.stem.rpartition("-")[2]) for path in folder.glob("import-[0-9]*.json")), default=0)
    path = folder / f"import-{number:05}.html"
    document = json.dumps(report.record(), ensure_ascii=False, indent=1, default=str)
    path.with_suffix(".json").write_text(document + "\n", encoding="utf-8")
    path.write_text(to_html(report, language), encoding="utf-8")
    return path


def to_html(report: ImportReport, language: Language | None = None) -> str:
    """The page."""
    page = _Page(language or language_from_environment())
    return page.whole(report)


class _Page:
    def __init__(self, language: Language) -> None:
        self.language = language

    def whole(self, report: ImportReport) -> str:
        lost = [r for r in report.rejected if not is_warning(r.code)]
        warnings = [r for r in report.rejected if is_warning(r.code)]
        parts = [
            f"<p class=quiet>{report.seconds:.1f} {self.word('seconds')}</p>",
            self.section("datasets", self.datasets(report)),
        ]
        parts += [self.diff(d.dataset, d.diff, d.retired) for d in report.datasets if d.diff is not None]
        checked = [
            (d.dataset, f.severity, f"{f.count:,}", f.examples[0].where, render(f.code, f.examples[0].fields, self.language))
            for d in report.datasets for f in d.quality
        ]  # fmt: skip
        parts.append(self.section("quality", self.table(("dataset", "severity", "number", "where", "what"), checked)))
        for name, found in (("quarantine", lost), ("warnings", warnings)):
            rows = [(r.where, render(r.code, r.fields, self.language)) for r in found]
            parts.append(self.section(f"{name}", self.table(("where", "what"), rows)))
        parts.append(self.section("places", self.places(report)))
        return document(self.language, self.word("title"), parts)

    def word(self, name: str) -> str:
        return _WORDS[name][self.language == "zh"]

    def section(self, name: str, content: str) -> str:
        return f"<h2>{self.word(name)}</h2>\n{content}"

    def table(self, columns: Sequence[str], rows: Sequence[Iterable[object]]) -> str:
        return table(self.language, [self.word(name) for name in columns], rows)

    def datasets(self, report: ImportReport) -> str:
        columns = ("dataset", "kind", "sources", "objects", "absent", "count", "rejected")
        return self.table(
            columns,
            [
                (f"{d.dataset} {d.title if d.title != d.dataset else ''}", d.kind, ", ".join(f"{n:,}" for n in d.sources.values()),
                 ", ".join(f"{n:,}" for n in d.objects.values()), f"{d.diff.absent:,}, {d.retired:,}" if d.diff else "–", f"{d.count:,}",
                 f"{d.rejected:,}")
                for d in report.datasets
            ],
        )  # fmt: skip

    def diff(self, dataset: str, diff: Diff, retired: int) -> str:
        counts = f"{self.word('created')} {diff.created:,}, {self.word('changed')} {diff.changed:,}, {self.word('gone')} {diff.absent:,}"
        fields = ", ".join(f"{name} {count:,}" for name, count in diff.fields.items())
        rows: list[tuple[Any, ...]] = [
            (self.word("gone" if kind == "absent" else kind), s.layer, s.key, s.name, ", ".join(s.fields))
            for kind, samples in diff.samples.items()
            for s in samples
        ]
        left = f"<p>{self.word('retired')}</p>" if diff.absent > retired else ""
        return (
            f"<h2>{self.word('diff')}: {escape(dataset)}</h2><p>{counts}</p><p class=quiet>{escape(fields)}</p>{left}"
            + self.table(("what", "layer", "key", "name", "fields"), rows)
        )

    def places(self, report: ImportReport) -> str:
        """Deliveries that lie in one place in one way are named together."""
        ways: dict[str, list[str]] = {}
        for one in report.deliveries:
            told = one.place.report()
            steps = "".join(f"<li>{escape(step['text'][self.language])}" for step in told["steps"])
            steps += "".join(f"<li class=bad>{escape(w['text'][self.language])}" for w in told["warnings"])
            known = f" ({self.word('known')})" if one.known else ""
            ways.setdefault(steps, []).append(f"{one.dataset}: {one.key or one.uri}{known}")
        parts = []
        for steps, names in ways.items():
            shown = "".join(f"<li>{escape(name)}" for name in names[:ROWS])
            more = f"<li class=quiet>+ {len(names) - ROWS:,}" if len(names) > ROWS else ""
            parts.append(
                f"<details open><summary>{escape(names[0])}{f' + {len(names) - 1:,}' if len(names) > 1 else ''}</summary>"
                f"<ul>{steps}</ul><details><summary>{len(names):,}</summary><ul>{shown}{more}</ul></details></details>"
            )
        return "\n".join(parts) or f"<p class=quiet>{self.word('nothing')}</p>"
