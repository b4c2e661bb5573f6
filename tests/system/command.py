"""Run the real command as a user would, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(**extra: str) -> dict[str, str]:
    """The parent's environment with the checkout importable and a fixed language."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "TIM_LANG": "en", **extra}


def tim(*arguments: str | Path, cwd: Path | None = None, timeout: float = 300, **env: str) -> Outcome:
    """Run ``tim`` and wait."""
    command = [sys.executable, "-m", "cli", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def ok(*arguments: str | Path, cwd: Path | None = None, timeout: float = 300, **env: str) -> Outcome:
    """Run ``tim`` and insist that it succeeds."""
    outcome = tim(*arguments, cwd=cwd, timeout=timeout, **env)
    assert outcome.code == 0, f"tim {' '.join(map(str, arguments))}: exit {outcome.code}\n{outcome.err}\n{outcome.out}"
    return outcome
