"""The class registry: what is shipped, and what a workspace makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import importers.city
import importers.ifc.classes
from tim import classes
from tim.classes import Registry
from tim.errors import StoreError, UsageError
from tim.workspace import Workspace

DOMAINS = {
    "land", "mineral", "water", "vegetation", "sea", "substrate", "geology", "terrain", "building", "transport", "pipeline", "underground",
    "planning", "cadastre", "monitoring", "survey",
}  # fmt: skip


def folder(path: Path, **files: str) -> Path:
    """A folder of class files; ``codelists__a`` is a file in ``codelists``."""
    for name, text in files.items():
        file = path / f"{name.replace('__', '/')}.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return path


def test_classes_of_bulk_data():
    cloud = classes.get("survey.point-cloud")
    assert (cloud.parent, cloud.domain, cloud.zh) == ("survey", "survey", "点云")
    assert {"survey.point-cloud", "survey.oblique-model", "survey.tileset"} <= {
        c.id for c in classes.children("survey")
    }


def test_domains_and_their_size():
    assert {c.id for c in classes.children()} == DOMAINS
    assert len(classes.all_classes()) >= 180
    assert all(len([c for c in classes.all_classes().values() if c.domain == d]) >= 5 for d in DOMAINS)


def test_every_class_hangs_together_and_has_both_names():
    table = classes.all_classes()
    for class_id, known in table.items():
        assert known.parent is None or known.parent in table
        assert re.search("[\u4e00-\u9fff]", known.zh), class_id
        assert known.en.isascii()
        for attribute in known.attributes.values():
            assert re.search("[\u4e00-\u9fff]", attribute.zh), (class_id, attribute.name)


def test_siblings_have_different_names():
    for parent in [None, *classes.all_classes()]:
        names = [c.zh for c in classes.children(parent)]
        assert len(set(names)) == len(names), parent


def test_equals_in_citygml_and_ifc_are_those_the_importers_take_them_for():
    for found in classes.all_classes().values():
        assert {importers.city.CLASSES.get(name, found.id) for name in found.citygml} <= {found.id}
        assert {importers.ifc.classes.CLASSES.get(name, found.id) for name in found.ifc} <= {found.id}
    assert set(importers.city.CLASSES.values()) | set(importers.ifc.classes.CLASSES.values()) <= set(
        classes.all_classes()
    )
    assert {n for c in classes.all_classes().values() for n in c.ifc} & set(importers.ifc.classes.CLASSES)


def test_unknown_class_names_its_neighbours():
    with pytest.raises(UsageError, match=r"survey\.point-cloud"):
        classes.get("survey.pointcloud")
    with pytest.raises(UsageError, match="survey"):
        classes.children("nothing.at.all")


def test_attributes_levels_and_colours_are_inherited():
    river, body = classes.get("water.body.river"), classes.get("water.body")
    assert list(river.attributes) == [*body.attributes, "length"]
    assert river.level == "terrain"
    assert river.colour == classes.get("water").colour == 0x7FAFD0
    assert classes.shipped().colour("water.body.river.delta") == 0x7FAFD0
    assert classes.shipped().rgba("water.body.river.delta") == 0x7FAFD0FF
    assert classes.shipped().rgba("") == classes.shipped().rgba("nothing.known") == 0xC8C4BCFF
    assert classes.get("planning.zone.height").attributes["maxHeight"].unit == "m"


def test_a_workspace_changes_and_adds(tmp_path: Path):
    workspace = Workspace.create(tmp_path / "w")
    assert workspace.classes() == classes.shipped()
    folder(
        workspace.path / "classes",
        own=""""water.body" = { zh = "地表水体", opacity = 0.5, attributes = { depth = { type = "integer", en = "D", zh = "深" } } }
               "water.body.oasis" = { en = "Oasis", zh = "绿洲" }""",
    )
    registry = workspace.classes()
    body = registry.get("water.body")
    assert (body.zh, body.en, body.citygml) == ("地表水体", "Water body", ("WaterBody",))
    assert body.attributes["depth"].type == "integer"
    assert set(body.attributes) == set(classes.get("water.body").attributes)
    oasis = registry.get("water.body.oasis")
    assert (oasis.opacity, oasis.attributes["depth"].type) == (0.5, "integer")
    assert len(registry.classes) == len(classes.all_classes()) + 1
    assert registry.get("water.body.river").attributes["depth"].type == "integer"


def test_a_workspace_replaces_it_all(tmp_path: Path):
    workspace = Workspace.create(tmp_path / "w")
    own = folder(workspace.path / "classes", a="replace = true", b='thing = { en = "Thing", zh = "物" }')
    registry = workspace.classes()
    assert list(registry.classes) == ["thing"]
    assert not registry.lists
    folder(own, a="replace = false")
    assert len(workspace.classes().classes) == len(classes.all_classes()) + 1


X = 'en = "x", zh = "y"'
BAD = [
    (f'"A" = {{{X}}}', "classes.bad-id", "A"),
    (f'"a.b" = {{{X}}}', "classes.bad-id", "a.b"),
    (f'"a." = {{{X}}}', "classes.bad-id", "a."),
    ('a = {en = "x"}', "classes.bad-names", "a"),
    ('a = {en = "", zh = "y"}', "classes.bad-names", "a"),
    ('a = "x"', "classes.bad-names", "a"),
    ("a = {", "classes.bad-toml", "TOML"),
    ("a = 1\na = 2\n", "classes.bad-toml", "line 2"),
    (f'a = {{{X}, level = "galaxy"}}', "classes.bad-field", "level"),
    (f'a = {{{X}, colour = "red"}}', "classes.bad-field", "colour"),
    (f"a = {{{X}, opacity = 2}}", "classes.bad-field", "opacity"),
    (f'a = {{{X}, citygml = "Building"}}', "classes.bad-field", "citygml"),
    (f"a = {{{X}, gb13923 = 2}}", "classes.bad-field", "gb13923"),
    (f"a = {{{X}, cim = 8}}", "classes.bad-field", "cim"),
    (f'a = {{{X}, parent = "b"}}', "classes.bad-field", "parent"),
    (f"a = {{{X}, attributes = 1}}", "classes.bad-field", "attributes"),
    (f'a = {{{X}, attributes.h = {{type = "number"}}}}', "classes.bad-field", "attributes.h"),
    (f'a = {{{X}, attributes.h = {{type = "metres", {X}}}}}', "classes.bad-type", "metres"),
    (f'a = {{{X}, attributes.h = {{type = "text", required = "no", {X}}}}}', "classes.bad-field", "attributes.h.required"),
    (f'a = {{{X}, attributes.h = {{type = "text", size = "1", {X}}}}}', "classes.bad-field", "attributes.h.size"),
    (f'a = {{{X}, attributes.h = {{type = "text", list = "cn.nothing@1", {X}}}}}', "classes.unknown-list", "cn.nothing@1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "named"), BAD)
def test_bad_tables_are_refused_with_file_and_class(tmp_path: Path, text: str, code: str, named: str):
    with pytest.raises(StoreError) as caught:
        Registry.load([folder(tmp_path / "own", things=text)])
    assert caught.value.code == code
    assert "own/things.toml" in str(caught.value)
    assert named in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError) as caught:
        Registry.load([tmp_path])
    assert caught.value.code == "classes.bad-toml"
