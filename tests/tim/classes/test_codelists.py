"""Code lists: a value means nothing without its scheme and edition."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from tim.classes import CodeList, Registry, shipped
from tim.errors import StoreError, UsageError
from tim.model import Stage

USE, LAND = ("cn.territorial-use", "2023"), ("cn.land-use", "GB/T 21010-2017")


def test_05_is_one_thing_here_and_another_there():
    wetland, commerce = shipped().entry(*USE, "05"), shipped().entry(*LAND, "05")
    assert (wetland.zh, commerce.zh) == ("湿地", "商服用地")
    assert wetland != commerce
    assert wetland.value == commerce.value


def test_asking_without_scheme_or_edition_is_refused():
    for scheme, edition in (("", ""), ("cn.land-use", ""), ("", "2023")):
        with pytest.raises(UsageError) as caught:
            shipped().entry(scheme, edition, "05")
        assert caught.value.code == "classes.no-scheme"
        assert "cn.land-use@GB/T 21010-2017" in str(caught.value)
    with pytest.raises(TypeError):
        shipped().entry("05")  # type: ignore[call-arg]
    required = [p.name for p in inspect.signature(Registry.entry).parameters.values() if p.default is p.empty]
    assert required == ["self", "scheme", "edition", "value"]


def test_the_edition_of_one_is_no_edition_of_the_other():
    with pytest.raises(UsageError) as caught:
        shipped().entry("cn.land-use", "2023", "05")
    assert caught.value.code == "classes.no-list"
    with pytest.raises(UsageError) as caught:
        shipped().entry(*USE, "0599")
    assert caught.value.code == "classes.not-in-list"


def test_what_no_source_confirms_is_marked(real_data: Path):
    """The marks are those of the rows that the source file lacks, and the rest says what the file says."""
    source = json.loads((real_data / "city" / "landuse_2023_codes.json").read_text(encoding="utf-8"))["codes"]
    ours = shipped().code_list(*USE)
    assert {e.value for e in ours.entries.values() if not e.certain} == {"10", "12", "13", "17", "23"}
    assert {e.value: e.zh for e in ours.entries.values() if e.certain} == source
    assert not ours.complete


def test_nesting():
    use = shipped().code_list(*USE)
    assert use.entry("070102").parent == "0701"
    assert use.entry("0701").parent == "07"
    assert use.entry("060101").parent == "06"  # the row between is not known
    assert len(use.children()) == 24
    assert [e.value for e in use.children("0703")] == ["070301", "070302"]
    assert len(shipped().code_list(*LAND).children()) == 12


HEAD = 'scheme = "s"\nedition = "1"\nen = "S"\nzh = "表"\nnested = true\ncomplete = true\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (HEAD, "entries"),
        (HEAD + "[entries]", "entries"),
        (HEAD.replace('"1"', "1") + '[entries]\na = {zh = "甲"}', "edition"),
        (HEAD.replace('"s"', '"s@2"') + '[entries]\na = {zh = "甲"}', "scheme"),
        (HEAD + 'more = 1\n[entries]\na = {zh = "甲"}', "more"),
        (HEAD + '[entries]\na = {en = "A"}', "entries.a"),
        (HEAD + '[entries]\na = {zh = "甲", certain = "no"}', "entries.a"),
        (HEAD + '[entries]\na = {zh = "甲", of = "b"}', "entries.a"),
        (HEAD + '[entries]\na = "甲"', "entries.a"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, text: str, named: str):
    (tmp_path / "codelists").mkdir()
    (tmp_path / "codelists" / "own.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError) as caught:
        Registry.load([tmp_path])
    assert caught.value.code == "classes.bad-list"
    assert caught.value.fields["name"] == named
    assert "codelists/own.toml" in str(caught.value)


def test_a_workspace_brings_its_own_list(tmp_path: Path):
    (tmp_path / "codelists").mkdir()
    (tmp_path / "codelists" / "own.toml").write_text(HEAD + '[entries]\na = {zh = "甲"}', encoding="utf-8")
    (tmp_path / "t.toml").write_text(
        't = { en = "T", zh = "物", attributes.k = {type = "text", list = "s@1", en = "K", zh = "种"} }',
        encoding="utf-8",
    )
    registry = Registry.load([tmp_path])
    found: CodeList = registry.lists[registry.get("t").attributes["k"].list]
    assert "a" in found
    assert "b" not in found


def test_stages_are_those_of_the_model():
    stages = shipped().code_list("tim.stage", "1")
    assert set(stages.entries) == {stage.value for stage in Stage}
