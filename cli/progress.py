"""Progress for people, on stderr: one bar that says what happens, how far it is, how long it takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.text import number, tr

if TYPE_CHECKING:
    from tiling.engine import Progress

STEPS = {
    "plan": ("planning", "规划"), "build": ("building", "构建"), "finish": ("joining", "合并"), "publish": ("publishing", "发布"),
    "sort": ("sorting", "排序"), "join": ("joining", "合并"), "tree": ("reading", "读取"),
}  # fmt: skip


@contextmanager
def bar(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A listener for the engine that draws one line; nothing where quiet or not a terminal's worth."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Drawn

    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
               TimeRemainingColumn(), TextColumn("{task.fields[counts]}"))  # fmt: skip
    with Drawn(*columns, console=console, transient=True, disable=not console.is_terminal) as drawn:
        task = drawn.add_task("", total=1.0, counts="")

        def listen(event: Progress) -> None:
            words = STEPS.get(event.stage if event.step == "build" else event.step, (event.stage or event.step,) * 2)
            counts = "  ".join(f"{number(value)} {name}" for name, value in event.counts.items())
            description = f"{event.dataset}: {tr(*words)} {event.number}/{event.stages}"
            drawn.update(task, description=description, completed=event.fraction, counts=counts)
            for name in event.slow:
                console.print(tr(f"still busy with {name}", f"仍在处理 {name}"))

        yield listen
