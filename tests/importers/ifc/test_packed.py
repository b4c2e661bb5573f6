"""Models in a zip are the models they hold; zips that mean harm, and IFC in XML, are refused by name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from importers import ifc
from importers.walk import probe as walk
from tests.importers.ifc.houses import house, written
from tests.importers.ifc.test_ifc import ENU, codes, taken
from tim.errors import TimError
from tim.model import Blob, ObjectRecord
from tim.sources import SourceRef

XML = "<?xml version='1.0'?><ifcXML xmlns='http://www.buildingsmart-tech.org/ifc/IFC4/final'/>"


def packed(folder: Path, entries: dict[str, str | bytes], name: str = "house.ifczip", **how: Any) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **how) as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    return path


def test_a_packed_model_is_the_model(tmp_path: Path):
    """The same objects and shapes; the reference is that of the zip, and nothing is left lying about."""
    (tmp_path / "zip").mkdir()
    zipped = packed(tmp_path / "zip", {"readme.txt": "x", "models/any name.IFC": house()})
    plain, found = taken(written(tmp_path, house())), taken(zipped)
    assert [i for i in found if isinstance(i, ObjectRecord | Blob)] == [
        i for i in plain if isinstance(i, ObjectRecord | Blob)
    ]
    (ref,) = [item for item in found if isinstance(item, SourceRef)]
    assert (ref.uri, ref.key) == (str(zipped), "house.ifczip")
    assert [p.name for p in (tmp_path / "zip").iterdir()] == ["house.ifczip"]
    assert {(p.format, p.key) for p in walk(tmp_path / "zip").probes} == {("ifc", "house.ifczip")}


def refusal(path: Path) -> tuple[str, dict[str, Any]]:
    (probe,) = ifc.probe(path)
    assert probe.fatal
    (problem,) = probe.problems
    assert path.name in str(TimError(problem.code, **problem.fields))
    assert str(path.parent) not in str(problem.fields)
    return problem.code, dict(problem.fields)


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({}, "ifc.zip-models"), ({"a.txt": "x"}, "ifc.zip-models"), ({"a.ifc": house(), "b.ifc": house()}, "ifc.zip-models"),
        ({"a.ifcxml": XML}, "ifc.xml-form"), ({"../a.ifc": house()}, "ifc.zip-refused"), ({"x/../../a.ifc": house()}, "ifc.zip-refused"),
        ({"/etc/a.ifc": house()}, "ifc.zip-refused"), ({"C:\\a.ifc": house()}, "ifc.zip-refused"), ({"a.ifc": "no model"}, "ifc.not-ifc"),
        ({"a.ifc": house()[:3000]}, "ifc.cut-off"), ({"a.ifc": b"\0" * (70 << 20)}, "ifc.zip-refused"),
    ],
)  # fmt: skip
def test_zips_that_hold_no_one_model(tmp_path: Path, entries: dict[str, Any], code: str):
    assert refusal(packed(tmp_path, entries))[0] == code


def test_a_size_that_lies(tmp_path: Path):
    """What unpacks to more than the zip says is no sound zip: no more than that is written."""
    path = packed(tmp_path, {"a.ifc": house() + " " * 5_000_000})
    data = path.read_bytes()
    said = (len(house().encode()) + 5_000_000).to_bytes(4, "little")
    assert data.count(said) == 2
    path.write_bytes(data.replace(said, (1000).to_bytes(4, "little")))
    assert refusal(path)[0] == "ifc.zip-broken"


def test_encrypted_and_broken_zips(tmp_path: Path):
    path = packed(tmp_path, {"a.ifc": house()})
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    path.write_bytes(data[: at + 8] + b"\1" + data[at + 9 :])
    assert refusal(path) == ("ifc.zip-refused", {"file": "house.ifczip", "entry": "a.ifc", "reason": "packing"})
    for broken in (b"", b"PK", data[:200], data[:100] + bytes(300) + data[400:]):
        path.write_bytes(broken)
        assert refusal(path)[0] == "ifc.zip-broken"


def test_ifc_in_xml_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "house.ifcxml"
    path.write_text(XML)
    assert refusal(path)[0] == "ifc.xml-form"
    assert codes(taken_of(path)) == ["ifc.xml-form"]


def taken_of(path: Path) -> list[Any]:
    """What reading gives for a probe that was refused."""
    from importers import ImportContext
    from importers.plan import place_of
    from tim.place.resolve import PlaceOptions

    (probe,) = ifc.probe(path)
    sound = written(path.parent, house(), "sound.ifc")
    return list(ifc.read(probe, ImportContext(place_of(ifc.probe(sound)[0], ENU, PlaceOptions()))))
