"""The rooms: a floor imports only floors below it, and the command starts without the heavy ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {"tim": 1, "importers": 2, "exporters": 2, "tiling": 3, "server": 4, "cli": 5}
OUTSIDE = {"benchmarks", "tests"}
"""Nothing of the product imports these."""
FORBIDDEN = {
    "tiling": ("tim.store.sqlite", "tim.store.postgis"),
    "tim": ("fastapi", "uvicorn", "laspy", "lazrs", "typer", "rich"),
    "importers": ("fastapi", "uvicorn", "typer", "rich"),
    "server": ("laspy", "lazrs", "typer", "rich"),
    "cli": ("sqlite3", "psycopg", "laspy", "lazrs", "fastapi"),
}
"""What a room must not know, beyond the floors above it."""
HEAVY = {
    "numpy",
    "pyproj",
    "laspy",
    "lazrs",
    "fastapi",
    "uvicorn",
    "PIL",
    "pydantic",
    "pyogrio",
    "shapely",
    "lxml",
    "ifcopenshell",
    "rasterio",
    "starlette",
    "dask",
    "distributed",
    "sqlite3",
    "psycopg",
}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, wherever in it: also inside functions and under TYPE_CHECKING."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            yield from (
                (node.lineno, a.value) for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
            )


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_imports_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The scan itself: every form of import is found."""
    sample = tmp_path / "room" / "family" / "sample.py"
    sample.parent.mkdir(parents=True)
    sample.write_text(
        "from . import x\nfrom .. import y\nfrom .z import *\ndef f():\n    import a.b\n    from c import d\n    import_module('e.f')\n",
        encoding="utf-8",
    )
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert {name for _, name in imports(sample)} == {"room.family.x", "room.y", "room.family.z.*", "a.b", "c.d", "e.f"}


@pytest.mark.parametrize("room", FLOORS)
def test_a_floor_knows_only_floors_below(room: str):
    wrong = []
    for path in modules(room):
        for line, name in imports(path):
            top = name.split(".")[0]
            above = top in FLOORS and top != room and FLOORS[top] >= FLOORS[room]
            if above or top in OUTSIDE or any(within(name, known) for known in FORBIDDEN.get(room, ())):
                wrong.append(f"{path.relative_to(ROOT).as_posix()}:{line} imports {name}")
    assert not wrong


@pytest.mark.parametrize("room", ["importers", "exporters"])
def test_families_do_not_know_each_other(room: str):
    families = {item.stem for item in (ROOT / room).iterdir() if item.is_dir() and (item / "__init__.py").exists()}
    wrong = []
    for path in modules(room):
        inside = path.relative_to(ROOT / room).parts
        if len(inside) > 1:
            others = families - {inside[0]}
            wrong += [
                f"{path.relative_to(ROOT).as_posix()}:{line} imports {name}"
                for line, name in imports(path)
                if any(within(name, f"{room}.{other}") for other in others)
            ]
    assert not wrong


def test_only_the_workspace_chooses_a_store():
    """Everybody else gets the store from the workspace, and knows its protocol only."""
    wrong = [
        f"{path.relative_to(ROOT).as_posix()}:{line}"
        for room in FLOORS
        for path in modules(room)
        if path != ROOT / "tim" / "workspace.py" and not path.is_relative_to(ROOT / "tim" / "store")
        for line, name in imports(path)
        if within(name, "tim.store.sqlite") or within(name, "tim.store.postgis")
    ]
    assert not wrong


def test_tests_are_not_in_the_product():
    """pytest and hypothesis are imported by the shipped contract suites only."""
    wrong = [
        f"{path.relative_to(ROOT).as_posix()}:{line} imports {name}"
        for room in FLOORS
        for path in modules(room)
        if "contract" not in (path.stem, path.parent.name)
        for line, name in imports(path)
        if within(name, "pytest") or within(name, "hypothesis") or "contract" in name.split(".")
    ]
    assert not wrong


def loaded(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return {name.split(".")[0] for name in said.stderr.split()}


@pytest.mark.parametrize("statement", ["import cli", "import cli.app", "import tim.errors"])
def test_starting_is_light(statement: str):
    assert loaded(statement) & HEAVY == set()


def test_help_is_light():
    asked = "import cli.app\nassert cli.app.run(['--help']) == 0"
    assert loaded(asked) & HEAVY == set()
