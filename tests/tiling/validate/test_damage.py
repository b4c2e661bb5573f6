"""Damage in the archive and in packages, and anything at all in any place."""

from __future__ import annotations

import json
import shutil
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiling.samples import (
    fill,
    mesh_info,
    mesh_tiles,
    octree_info,
    octree_tiles,
)
from tests.tiling.validate.faults import MESH, OCTREE, at, contain
from tiling.archive import Archive, export
from tiling.spec import glb
from tiling.validate import Archived, validate
from tim.errors import UsageError


@pytest.fixture
def workspace(tmp_path):
    with Archive(tmp_path / "tiles") as archive:
        archive.publish(MESH, fill(archive, "s", mesh_tiles), mesh_info())
        archive.publish(OCTREE, fill(archive, "o", octree_tiles), octree_info())
        yield archive


@pytest.mark.parametrize("dataset", [MESH, OCTREE])
def test_damage_in_the_archive_is_found(workspace, dataset):
    from tiling.archive.pages import LIVE

    assert validate(Archived(workspace.root, dataset)).totals == {}
    db = workspace._db
    codes = set()
    path = workspace.packs / ("s.pack" if dataset == MESH else "o.pack")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    data[-1] ^= 1
    path.write_bytes(data)
    codes |= validate(Archived(workspace.root, dataset)).totals.keys()
    assert codes & {"hash-wrong", "entry-broken"}
    counts = json.dumps({"points": 1, "triangles": 1})
    db.execute("UPDATE snapshot SET counts=?", (counts,))
    assert "counts-differ" in validate(Archived(workspace.root, dataset)).totals
    db.execute("UPDATE snapshot SET info=replace(info, '114.3', '114.4')")
    assert "transform-differs" in validate(Archived(workspace.root, dataset)).totals
    db.execute("UPDATE content SET gzip = 1 - gzip WHERE id NOT IN (SELECT content FROM page WHERE name=?)", (LIVE,))
    db.execute("UPDATE meta SET generation=generation+1")
    found = validate(Archived(workspace.root, dataset)).totals
    assert "gzip-stored" in found
    assert ("entry-broken" if dataset == MESH else "subtree-broken") in found


def test_an_unknown_snapshot_is_a_usage_error(workspace, tmp_path):
    for target in (Archived(workspace.root, "nothing"), Archived(workspace.root, MESH, 9), tmp_path / "none", tmp_path):
        with pytest.raises(UsageError):
            validate(target)
    (tmp_path / "x.3tz").write_bytes(b"PK")
    with pytest.raises(UsageError):
        validate(tmp_path / "x.3tz")


def test_the_index_of_a_3tz_is_checked(sound, tmp_path):
    def copy(name, change):
        with zipfile.ZipFile(sound / f"{MESH}.3tz") as old, zipfile.ZipFile(tmp_path / name, "w") as new:
            for entry in old.infolist():
                data = old.read(entry)
                if (changed := change(entry.filename, data)) is not None:
                    new.writestr(zipfile.ZipInfo(entry.filename), changed)
        return validate(tmp_path / name).totals

    assert copy("same.3tz", lambda n, d: d) == {}
    assert copy("cut.3tz", lambda n, d: d[:-24] if n == export.INDEX else d) == {"index-wrong": 1}
    assert copy("none.3tz", lambda n, d: None if n == export.INDEX else d) == {"index-missing": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)


def paths_of(value, prefix=()):
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths_of(inner, (*prefix, key))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), what=st.sampled_from(["tileset", "implicit", "glb"]), value=JSON)
def test_hostile_json_gives_a_report(tmp_path_factory, small, data, what, value):
    """Any value in any place of a page or a glb: never an exception, always a JSON-able report."""
    folder = tmp_path_factory.mktemp("hostile")
    name = "octree" if what == "implicit" else "mesh"
    shutil.copytree(small / name, folder / name)
    path = next((folder / name).rglob("0-0.glb")) if what == "glb" else folder / name / "tileset.json"
    document = glb.parse(path.read_bytes()).json if what == "glb" else json.loads(path.read_text("utf-8"))
    place = data.draw(st.sampled_from(sorted(paths_of(document), key=repr)))
    if not place:
        document = value
    else:
        at(document, *place[:-1])[place[-1]] = value
    if what == "glb":
        binary = bytes(glb.parse(path.read_bytes()).binary)
        contain(path, document, binary)
    else:
        path.write_text(json.dumps(document), "utf-8")
    record = validate(folder / name).record()
    assert json.loads(json.dumps(record, allow_nan=False))["ok"] == (not record["errors"])
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    with Archive(root / "tiles") as archive:
        archive.publish(MESH, fill(archive, "s", mesh_tiles, count=3), mesh_info())
        archive.publish(OCTREE, fill(archive, "o", octree_tiles, depth=1), octree_info())
        archive.export(MESH, root / MESH)
        archive.export(OCTREE, root / OCTREE)
    return root
