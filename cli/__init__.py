"""The ``tim`` command: arguments, progress, exit codes. How anything is done lies in the rooms below, imported when needed."""

from __future__ import annotations


def main() -> None:
    """Run the command and exit: 0 ok, 1 failed, 2 wrong usage, 3 done with quarantined records, 130 interrupted."""
    from cli.app import run

    raise SystemExit(run())
