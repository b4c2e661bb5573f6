"""Broken and hostile CityJSON: a reason with a place for all that is left out, all else read, never a crash."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importers import importer
from importers.contract import ObjectImporterContract
from tests.importers.cityjson.test_garbage import SURFACE, VERTICES, X, Y, city, read
from tim.errors import catalogue, is_warning
from tim.model import Rejected

FOUND = {"building", "land"}


def lines(*rows: object) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"


HEADER: dict[str, Any] = {
    "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [X, Y, 0]},
    "CityObjects": {}, "vertices": [],
}  # fmt: skip


def feature(name: str, **more: Any) -> dict[str, Any]:
    objects = {name: {"type": "Building", "geometry": [SURFACE]}}
    return {"type": "CityJSONFeature", "id": name, "CityObjects": objects, "vertices": VERTICES, **more}


class TestSequenceContract(ObjectImporterContract):
    format = "cityjson"

    def source(self, folder: Path) -> Path:
        path = folder / "town.city.jsonl"
        path.write_text(lines(HEADER, feature("a"), feature("b")), encoding="utf-8")
        return path


def helpful(rejected: list[Rejected]) -> None:
    """Each message says where, and what to do."""
    for item in rejected:
        room, _, code = item.code.partition(".")
        text = catalogue(room)[code]
        assert item.where
        assert text["en_help"]
        text["en"].format(**item.fields)


@pytest.mark.parametrize("version", ["1.0", "1.0.3", "1.1", "2.0"])
def test_versions(tmp_path: Path, version: str):
    objects, rejected = read(tmp_path, city(SURFACE, version=version))
    assert set(objects) == FOUND
    assert not rejected


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (city(SURFACE, version="3.7"), "cityjson.version"),
        (city(SURFACE, version=None), "cityjson.version"),
        (city(SURFACE, transform=None), "cityjson.no-transform"),
        (city(SURFACE, transform={"scale": [1, 1]}), "cityjson.bad-vertices"),
        (city(SURFACE, vertices=[[0, 0], [1, 1]]), "cityjson.bad-vertices"),
        (city(SURFACE, vertices=[["a", "b", "c"]]), "cityjson.bad-vertices"),
        (json.dumps(city(SURFACE))[:-40], "cityjson.broken"),
        (lines("", HEADER | {"version": "9"}, feature("a")), "cityjson.version"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, document: Any, code: str):
    objects, rejected = read(tmp_path, document)
    assert not objects
    assert [item.code for item in rejected] == [code]
    assert all(item.fields["file"] == "a.city.json" for item in rejected)
    helpful(rejected)


def test_an_empty_file_is_no_delivery(tmp_path: Path):
    path = tmp_path / "a.city.json"
    path.write_bytes(b"")
    assert importer("cityjson").probe(path, path.name) == []


@pytest.mark.parametrize("wild", [1e20, 1e27, -1e12, math.nan, math.inf])
@pytest.mark.parametrize("used", [True, False])
def test_one_wild_vertex(tmp_path: Path, wild: float, used: bool):
    """It costs the object that uses it, and the file is no other place for it."""
    vertices = [*VERTICES, [wild, 0, 0]]
    surface = {**SURFACE, "boundaries": [[[0, 1, 6]]]} if used else SURFACE
    objects, rejected = read(tmp_path, city(surface, vertices=vertices))
    lost = {item.where for item in rejected if not is_warning(item.code)}
    assert set(objects) == (FOUND - {"building"} if used else FOUND)
    assert lost == ({"a.city.json#building"} if used else set())
    box = objects["land"].box
    assert box is not None
    assert box[3] - box[0] < 0.001
    helpful(rejected)


def test_a_wild_extent_is_not_believed(tmp_path: Path):
    extent = [0.0, 0.0, 0.0, 1e20, 1e20, 1.0]
    objects, _ = read(tmp_path, city(SURFACE, metadata={"geographicalExtent": extent, "referenceSystem": "EPSG:4547"}))
    assert set(objects) == FOUND


def test_names_that_stand_twice(tmp_path: Path):
    text = json.dumps(city(SURFACE)).replace('"land":', '"building":')
    objects, rejected = read(tmp_path, text)
    assert set(objects) == {"building"}
    assert [(item.code, item.where) for item in rejected] == [("cityjson.double", "a.city.json#building")]


def test_surfaces_that_cross_themselves(tmp_path: Path):
    bow_tie = {**SURFACE, "boundaries": [[[0, 2, 1, 3]]]}
    objects, rejected = read(tmp_path, city(bow_tie))
    assert objects.keys() | {item.where.split("#")[1] for item in rejected} == FOUND
    helpful(rejected)


def test_objects_of_no_type(tmp_path: Path):
    document = city(SURFACE)
    document["CityObjects"] |= {"a": 7, "b": {}, "c": {"type": ["Building"]}, "d": None, "": {"type": "Building"}}
    objects, rejected = read(tmp_path, document)
    assert set(objects) == FOUND
    assert [item.code for item in rejected] == ["cityjson.no-type"] * 5
    helpful(rejected)


def test_sequences_are_read_line_by_line(tmp_path: Path):
    """A broken line costs itself, a repeated id the second; both messages name their line."""
    objects, rejected = read(
        tmp_path, lines(HEADER, feature("a"), '{"type": "CityJSONFeature", ', feature("b"), "", feature("a"))
    )
    assert set(objects) == {"a", "b"}
    assert [(item.code, item.where) for item in rejected] == [
        ("cityjson.broken", "a.city.json:3"), ("cityjson.duplicate", "a.city.json:6#a"),
    ]  # fmt: skip
    helpful(rejected)


def test_a_sequence_is_its_city(tmp_path: Path):
    """The same objects at the same places whether in one text or in lines."""
    for name in ("one", "lines"):
        (tmp_path / name).mkdir()
    whole = city(SURFACE)
    apart = [
        {"type": "CityJSONFeature", "id": key, "CityObjects": {key: record}, "vertices": VERTICES}
        for key, record in whole["CityObjects"].items()
    ]
    one, _ = read(tmp_path / "one", whole)
    other, _ = read(tmp_path / "lines", lines(HEADER, *apart))
    assert one == other


def test_images_outside_are_not_opened(tmp_path: Path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\n secret")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link.png").symlink_to(secret)
    (inside / "text.png").write_bytes(b"no image")
    names = ["../secret.png", str(secret), "link.png", "text.png", "none.png", "file:///etc/passwd"]
    surfaces = [[[0, 1, 2]] for _ in names]
    geometry = {
        **SURFACE, "boundaries": surfaces,
        "texture": {"": {"values": [[[number, 0, 1, 2]] for number in range(len(names))]}},
    }  # fmt: skip
    look = {
        "textures": [{"type": "PNG", "image": name} for name in names],
        "vertices-texture": [[0, 0], [1, 0], [1, 1]],
    }
    objects, rejected = read(inside, city(geometry, appearance=look))
    assert set(objects) == FOUND
    assert {item.fields["image"]: item.code for item in rejected} == {
        "../secret.png": "city.image-outside", str(secret): "city.image-outside", "link.png": "city.image-outside",
        "file:///etc/passwd": "city.image-outside", "text.png": "city.image-unreadable", "none.png": "city.image-missing",
    }  # fmt: skip
    helpful(rejected)


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where everything in a JSON value stands."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(deeper for key, value in inner for deeper in paths(value, (*path, key)))]


SOUND = city(
    {**SURFACE, "semantics": {"surfaces": [{"type": "RoofSurface"}], "values": [0]}},
    {"name": "甲", "height": 3.5},
    metadata={"referenceSystem": "EPSG:4547", "geographicalExtent": [X, Y, 0.0, X + 10, Y + 10, 5.0]},
)
GARBAGE = st.sampled_from(
    [None, True, -1, 99, 1e30, "", "x", "\0", [], {}, [[]], [None], {"a": []}, 2**70, [[[[[0]]]]]]
)


@settings(max_examples=300)
@given(where=st.sampled_from([p for p in paths(SOUND) if p and p[0] not in ("metadata",)]), garbage=GARBAGE)
def test_anything_anywhere(tmp_path_factory: pytest.TempPathFactory, where: tuple[Any, ...], garbage: Any):
    """Each object is read or named: nothing is lost in silence, whatever stands wherever."""
    document = copy.deepcopy(SOUND)
    node = document
    for key in where[:-1]:
        node = node[key]
    node[where[-1]] = garbage
    path = tmp_path_factory.mktemp("any") / "a.city.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    if not importer("cityjson").probe(path, path.name):
        assert where[0] in ("type", "CityObjects")  # no longer a CityJSON
        return
    objects, rejected = read(path.parent, document)
    helpful(rejected)
    lost = [item for item in rejected if not is_warning(item.code)]
    city_objects = document.get("CityObjects")
    named = {item.where.split("#", 1)[1] for item in lost if "#" in item.where}
    if isinstance(city_objects, dict) and not any("#" not in item.where for item in lost):
        assert objects.keys() | named == set(city_objects)
    else:
        assert lost


@given(at=st.integers(0, len(json.dumps(SOUND)) - 1), byte=st.integers(0, 255))
def test_any_byte(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int):
    """A probe, a refusal or nothing: never a crash."""
    data = bytearray(json.dumps(SOUND).encode())
    data[at] = byte
    path = tmp_path_factory.mktemp("byte") / "a.city.json"
    path.write_bytes(data)
    for probe in importer("cityjson").probe(path, path.name):
        helpful(list(probe.problems))
        assert probe.fatal == bool(probe.problems)
