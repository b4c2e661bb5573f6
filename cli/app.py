"""The command tree and what is common to all commands: errors become text and exit codes here and nowhere else."""

from __future__ import annotations

import sys

import typer
from typer.core import TyperGroup

from cli import aligning, asking, checking, exporting, foreign, history, importing, looking, serving, tiles
from cli.output import fail
from cli.text import tr
from tim.errors import TimError


class InOrder(TyperGroup):
    """Commands in the order of the work, not of the alphabet."""

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002
        """The names, as registered."""
        return list(self.commands)


app = typer.Typer(
    name="tim",
    cls=InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=tr(
        "One model of a territory: import bulk data, tile it to 3D Tiles 1.1, serve it, look at it.",
        "一套国土空间信息模型:导入数据,切成 3D Tiles 1.1,发布,浏览。",
    ),
)
for room in (importing, checking, tiles, exporting, foreign, serving, asking, history, aligning, looking):
    room.register(app)


def run(arguments: list[str] | None = None) -> int:
    """Parse and run; the exit code. Never a traceback for a user's mistake."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(arguments, standalone_mode=False)
    except TimError as error:
        return fail(error, as_json="--json" in arguments)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write(tr("interrupted; run the same command again to go on\n", "已中断;再次运行同一命令即可继续\n"))
        return 130
    except typer.Exit as leave:
        return leave.exit_code
    except Exception as error:
        shown = getattr(error, "show", None)
        if shown is None:
            raise
        shown(file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0
