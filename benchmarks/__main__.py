"""All benchmarks one after another: ``python -m benchmarks [--json]``."""

from __future__ import annotations

import subprocess
import sys

NAMES = ("points", "oblique", "objects", "update", "observations", "store", "http", "inventory")

if __name__ == "__main__":
    codes = [
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=False).returncode
        for name in NAMES
    ]
    raise SystemExit(max(codes))
