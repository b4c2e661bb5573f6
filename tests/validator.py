"""gltf-validator over the glb files of a folder: errors only, by the Khronos validator from the viewer's development dependencies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).resolve().parents[1] / "viewer" / "node_modules"
SCRIPT = """
const validator = require(process.argv[1]); const fs = require('fs'); const path = require('path');
const files = fs.readFileSync(0, 'utf8').split('\\n').filter(Boolean);
(async () => {
  const found = [];
  for (const file of files) {
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)), { uri: file, maxIssues: 20 });
    for (const m of report.issues.messages) if (m.severity === 0) found.push(`${path.basename(file)}: ${m.code} ${m.pointer ?? ''} ${m.message}`);
  }
  console.log(JSON.stringify(found));
})();
"""


def gltf_errors(folder: Path) -> list[str]:
    """``file: CODE pointer message`` for each error in any ``*.glb`` below the folder. Skips where Node or the validator is absent."""
    module = MODULES / "gltf-validator"
    if shutil.which("node") is None or not module.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("gltf-validator is absent (npm ci in viewer/), and CI must have it")
        pytest.skip("gltf-validator is absent (npm ci in viewer/)")
    files = sorted(folder.rglob("*.glb"))
    assert files, f"no glb below {folder}"
    done = subprocess.run(
        ["node", "-e", SCRIPT, str(module)],
        input="\n".join(map(str, files)),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found
