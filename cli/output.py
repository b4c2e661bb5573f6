"""Where things are written: one JSON document or a table on stdout, progress and messages on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from cli.text import tr
from tim.errors import TimError, render

Workspace = Annotated[
    str,
    typer.Option("--workspace", "-w", envvar="TIM_WORKSPACE", help=tr("The workspace folder.", "工作空间目录。")),
]
DEFAULT_WORKSPACE = "tim-workspace"
Json = Annotated[
    bool, typer.Option("--json", help=tr("One JSON document on stdout.", "在标准输出上给出一个 JSON 文档。"))
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=tr("No progress.", "不显示进度。"))]
QUARANTINED = 3


def emit(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def say(text: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(text + "\n")


def fail(error: TimError, *, as_json: bool) -> int:
    """Report an error; its exit code."""
    if as_json:
        emit({"error": error.record()})
    say(f"{tr('error', '错误')} [{error.code}] {render(error.code, error.fields)}")
    return error.exit_code


def warn(code: str, fields: Mapping[str, Any]) -> None:
    """A warning, on stderr."""
    say(f"{tr('warning', '警告')} [{code}] {render(code, fields)}")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        drawn.add_row(*("–" if cell is None else str(cell) for cell in row))
    Console(file=sys.stdout, soft_wrap=True).print(drawn)
