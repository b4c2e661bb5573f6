"""Whatever the bytes are: a scene or CorruptSource, quickly, in bounded memory."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from importers.osgb import objects
from importers.osgb.stream import MAGIC
from importers.osgb.tree import extent_of, links_of, nodes_of
from importers.osgb.writer import PagedNode, encode_osgb
from tests.importers.osgb.scenes import paged, sheet
from tim.errors import LANGUAGES, CorruptSource, render

GOOD = encode_osgb(
    [paged(sheet((0, 0), 10, 3), "child.osgb", 0.5), PagedNode((sheet((10, 0), 10, 2, texture=False),))], "good"
)
HEADER = MAGIC + struct.pack("<3I", 1, 80, 0)
NOWHERE = Path("/nonexistent")


def text(value: str) -> bytes:
    return struct.pack("<i", len(value)) + value.encode()


def attempt(data: bytes) -> str:
    """``ok``, or the code of the refusal; anything else is an error."""
    error = refusal(data)
    if error is None:
        return "ok"
    assert error.fields["file"] == "f.osgb"
    for language in LANGUAGES:
        assert "{" not in render(error.code, error.fields, language), error.code
    return error.code


def refusal(data: bytes) -> CorruptSource | None:
    try:
        nodes_of(data, NOWHERE, "f.osgb", "f.osgb")
        links_of(data, NOWHERE, "f.osgb", "f.osgb")
        extent_of(data, "f.osgb")
    except CorruptSource as error:
        return error
    return None


def test_the_good_one_is_good():
    assert attempt(GOOD) == "ok"


@given(st.integers(0, len(GOOD) - 1))
@settings(max_examples=150, deadline=2000)
def test_cut_anywhere(length: int):
    assert attempt(GOOD[:length]) != "ok"


@given(st.lists(st.tuples(st.integers(len(MAGIC), len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
def test_bytes_changed(changes: list[tuple[int, int]]):
    data = bytearray(GOOD)
    for position, value in changes:
        data[position] = value
    said = attempt(bytes(data))
    assert said == "ok" or said.startswith("osgb.")


@given(st.integers(len(MAGIC), len(GOOD) - 4), st.sampled_from([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x10000000, 0]))
@settings(max_examples=400, deadline=2000)
def test_counts_changed(position: int, value: int):
    said = attempt(GOOD[:position] + struct.pack("<I", value) + GOOD[position + 4 :])
    assert said == "ok" or said.startswith("osgb.")


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=2000)
@example(b"")
@example(b"\0" * 100)
def test_random_bodies(body: bytes):
    assert attempt(body) == "osgb.not-osgb"
    attempt(HEADER + text("0") + body)


def test_refusals_say_what_is_wrong():
    assert attempt(b"\xff\xd8\xff\xe0 a JPEG by another name") == "osgb.not-osgb"
    assert attempt(MAGIC[3::-1] + MAGIC[:3:-1] + bytes(12)) == "osgb.big-endian"
    assert attempt(HEADER + text("lzma")) == "osgb.compressor"
    assert attempt(HEADER + text("0") + text("osgEarth::MapNode") + bytes(40)) == "osgb.unknown-class"
    assert attempt(HEADER + text("0") + text("osg::Group")) == "osgb.truncated"


def test_unknown_class_names_class_and_offset():
    with pytest.raises(CorruptSource) as caught:
        objects.read_scene(HEADER + text("0") + text("my::Node") + bytes(40), "x.osgb")
    assert caught.value.fields == {"file": "x.osgb", "offset": 25, "name": "my::Node"}


def test_compressed_forms_are_read_and_bombs_refused():
    body = GOOD[len(HEADER) + len(text("0")) :]
    plain = [node.key for node in nodes_of(GOOD, NOWHERE, "f", "f")]
    for packed in (zlib.compress(body), gzip.compress(body)):
        assert [node.key for node in nodes_of(HEADER + text("zlib") + packed, NOWHERE, "f", "f")] == plain
        assert attempt(HEADER + text("zlib") + packed[: len(packed) // 2]) == "osgb.truncated"
    assert attempt(HEADER + text("zlib") + b"garbage") == "osgb.garbled"
    bomb = zlib.compress(bytes(64 << 20), 9)
    assert attempt(HEADER + text("zlib") + bomb) == "osgb.inflates"


def test_objects_nested_without_end_are_refused():
    node = b""
    for number in range(5000):
        node += text("osg::Group") + struct.pack("<I", number + 1) + text("") + bytes(5)
        node += struct.pack("<?4??I?", False, *[False] * 4, True, 0, False) + struct.pack("<?I", True, 1)
    assert attempt(HEADER + text("0") + node) == "osgb.too-deep"


def group(identity: int, *members: bytes) -> bytes:
    head = text("osg::Group") + struct.pack("<I", identity) + text("") + bytes(5)
    return (
        head
        + struct.pack("<?4??I?", False, *[False] * 4, True, 0, False)
        + struct.pack("<?I", True, len(members))
        + b"".join(members)
    )


def again(identity: int) -> bytes:
    return text("osg::Group") + struct.pack("<I", identity)


def test_an_object_that_contains_itself_is_refused():
    assert attempt(HEADER + text("0") + group(7, again(7))) == "osgb.cycle"


def test_sharing_that_multiplies_without_end_is_refused():
    node = group(1)
    for number in range(2, 60):
        node = group(number, node, again(number - 1))
    assert attempt(HEADER + text("0") + node) == "osgb.too-many"
