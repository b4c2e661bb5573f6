"""The page that says what checks found, for people, and the same as JSON beside it."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from tim.errors import Language, language_from_environment, render
from tim.page import document, table
from tim.quality.checks import Report
from tim.quality.findings import CHECKS
from tim.workspace import Workspace

_WORDS = {
    "title": ("Quality of {title}", "{title} 质量检查报告"),
    "summary": ("{objects:,} objects: {errors:,} errors, {warnings:,} warnings (store sequence {seq})",
                "共 {objects:,} 个对象:错误 {errors:,} 项,提示 {warnings:,} 项(数据库序号 {seq})"),
    "record": ("What the dataset says of itself", "数据集登记信息"), "check": ("check", "检查项"), "severity": ("severity", "级别"),
    "count": ("count", "数量"), "what": ("what, and what to do", "问题与处理方法"), "where": ("where", "位置"), "id": ("id", "对象标识"),
    "error": ("error", "错误"), "warning": ("warning", "提示"), "none": ("passed", "通过"), "not-made": ("not made", "未检查"),
    "found": ("What was found", "检查结果"), "shown": ("the first {n} of {count:,}", "共 {count:,} 项,列出前 {n} 项"),
}  # fmt: skip
_CHECKS = {
    "classes": ("classes", "类别"), "attributes": ("attributes", "属性"), "codes": ("codes", "代码"), "duplicates": ("duplicate codes", "重复代码"),
    "geometry": ("geometry", "几何"), "extent": ("stated extent", "声明范围"), "heights": ("heights", "高度异常"), "relations": ("relations", "关系"),
    "validity": ("validity", "有效期"), "stages": ("stages", "阶段"),
}  # fmt: skip


def write_page(workspace: Workspace, report: Report, language: Language | None = None) -> Path:
    """Write ``reports/check-{dataset}.html`` and ``.json`` into the workspace, over those of the last time; the page's path. Raises OSError."""
    folder = workspace.reports
    folder.mkdir(exist_ok=True)
    path = folder / f"check-{report.dataset}.html"
    text = json.dumps(report.to_json(), ensure_ascii=False, indent=1)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8", newline="\n")
    path.write_text(to_html(report, language), encoding="utf-8", newline="\n")
    return path


def to_html(report: Report, language: Language | None = None) -> str:
    """The page."""
    spoken = language or language_from_environment()
    chinese = spoken == "zh"

    def word(name: str) -> str:
        return _WORDS[name][chinese]

    numbers = {"objects": report.objects, "errors": report.errors, "warnings": report.warnings, "seq": report.seq}
    rows = []
    for name in CHECKS:
        found = [f for f in report.findings if f.check == name]
        if name not in report.checks:
            rows.append((_CHECKS[name][chinese], word("not-made"), ""))
        elif not found:
            rows.append((_CHECKS[name][chinese], word("none"), "0"))
        rows += [(_CHECKS[name][chinese], word(f.severity), f"{f.count:,}") for f in found]
    parts = [
        f"<p>{escape(word('summary').format(**numbers))}</p>",
        table(spoken, [word("check"), word("severity"), word("count")], rows),
        f"<h2>{word('record')}</h2>",
        table(spoken, ["", ""], list(report.record.record().items()) if report.record else []),
        f"<h2>{word('found')}</h2>",
    ]
    for finding in report.findings:
        shown = word("shown").format(n=len(finding.examples), count=finding.count)
        lines = [(e.where, e.tim_id or "", render(finding.code, e.fields, spoken)) for e in finding.examples]
        parts.append(
            f"<details open><summary class={'bad' if finding.severity == 'error' else 'quiet'}>"
            f"{escape(_CHECKS[finding.check][chinese])} · {word(finding.severity)} · {escape(finding.code)} · {shown}</summary>"
            f"{table(spoken, [word('where'), word('id'), word('what')], lines)}</details>"
        )
    return document(spoken, word("title").format(title=report.title), parts)
