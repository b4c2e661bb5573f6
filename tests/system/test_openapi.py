"""Schemathesis, which nobody here wrote, asks a served workspace whatever its OpenAPI description allows, and what it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.server.test_objects import fill
from tests.system.command import environment
from tests.system.serving import served
from tim.model import dataset_uid, derived_id
from tim.workspace import Workspace

pytest.importorskip("schemathesis")
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Here:
    url: str
    folder: Path


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("openapi")
    workspace = Workspace.create(folder / "ws")
    fill(workspace, "houses", 6)
    fill(workspace, "secret", 2, private=True)
    tim_id = derived_id(dataset_uid("houses"), "buildings", "1")
    names = {"dataset": "houses", "tim_id": tim_id, "feature": tim_id, "scenario": "plan-a", "seq": 1}
    (folder / "known.toml").write_text(
        "[parameters]\n" + "".join(f'"path.{name}" = "{value}"\n' for name, value in names.items())
    )
    with served(workspace.path, "--edit") as url:
        yield Here(url.rstrip("/"), folder)


def schemathesis(here: Here, *options: str, config: str = "") -> None:
    known = ["--config-file", str(here.folder / config)] if config else []
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", *known, "run", f"{here.url}/api/openapi.json", "--url", here.url, "--seed", "4", "--no-shrink",
            "--continue-on-failure", "--warnings", "off", "--no-color", *options,
        ],
        cwd=here.folder, env=environment(), capture_output=True, text=True, encoding="utf-8", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout, done.stdout[-4000:]


def test_nothing_that_is_asked_makes_it_fail(here: Here):
    """Good and bad values for everything, names that there are not."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    schemathesis(here, "--checks", checks, "--phases", "coverage,fuzzing", "--max-examples", "2")


def test_answers_are_what_the_description_says(here: Here):
    """About an object that there is, written to and read meanwhile."""
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,"
        "unsupported_method,allow_header_conformance"
    )
    schemathesis(
        here,
        "--checks",
        checks,
        "--mode",
        "positive",
        "--phases",
        "coverage,fuzzing",
        "--max-examples",
        "10",
        config="known.toml",
    )
