"""Where things are written: one JSON document or a table on stdout, progress and messages on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from cli.text import tr
from tim.errors import TimError, is_warning, render

Workspace = Annotated[
    str,
    typer.Option("--workspace", "-w", envvar="TIM_WORKSPACE", help=tr("The workspace folder.", "工作空间目录。")),
]
DEFAULT_WORKSPACE = "tim-workspace"
Json = Annotated[
    bool, typer.Option("--json", help=tr("One JSON document on stdout.", "在标准输出上给出一个 JSON 文档。"))
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=tr("No progress.", "不显示进度。"))]
DONE, FAILED, QUARANTINED = 0, 1, 3
Problems = Sequence[tuple[str, Mapping[str, Any]]]
_WIDE = 1000
"""Columns of a table in a file or a pipe, at most."""
SHOWN = 3
"""Problems of one kind that are written out; all are in the JSON and in the workspace's quarantine."""


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


def tell_problems(problems: Problems) -> None:
    """What was left out or deserves a look, a few of each kind."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for code, fields in problems:
        kinds.setdefault(code, []).append(fields)
    for code, found in kinds.items():
        word = tr("warning", "警告") if is_warning(code) else tr("quarantined", "已隔离")
        for fields in found[:SHOWN]:
            say(f"{word} [{code}] {render(code, fields)}")
        if len(found) > SHOWN:
            say(
                f"{word} [{code}] "
                + tr(
                    f"… and {len(found) - SHOWN} more like this (--json lists all)",
                    f"……另有 {len(found) - SHOWN} 条同类(--json 可列全)",
                )
            )


def outcome(problems: Problems) -> int:
    """The exit code of work that is done: 3 where something had to be quarantined."""
    return QUARANTINED if any(not is_warning(code) for code, _ in problems) else DONE


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people, on stdout: as wide as it must be, on a terminal as wide as that is, with long names folded and never cut."""
    from rich.console import Console
    from rich.table import Column, Table

    drawn = Table(*(Column(name, overflow="fold") for name in columns), title=title or None, title_justify="left")
    for row in rows:
        drawn.add_row(*("–" if cell is None else str(cell) for cell in row))
    # What stands in brackets is data, not colour.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE, markup=False, emoji=False).print(drawn)


def shortened(value: object, most: int = 40) -> str:
    """A value for a cell of a table: text as it is, anything else as JSON, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else f"{text[: most - 1]}…"
