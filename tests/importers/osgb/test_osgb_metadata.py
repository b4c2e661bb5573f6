"""``metadata.xml`` in the forms that deliveries have."""

from __future__ import annotations

from pathlib import Path

import pytest

from importers.osgb.metadata import find_metadata, read_metadata
from tests.importers.osgb.scenes import METADATA
from tim.errors import CorruptSource, render
from tim.place.resolve import FoundCrs

WKT = 'PROJCS["X",GEOGCS["China",DATUM["China_2000",SPHEROID["CGCS2000",6378137,298.257222101]],UNIT["degree",0.0174532925199433]]]'


def read(tmp_path: Path, srs: str, origin: str = "1,2,3") -> FoundCrs:
    path = tmp_path / "metadata.xml"
    path.write_text(METADATA.format(srs=srs, origin=origin), encoding="utf-8", newline="")
    return read_metadata(path, "metadata.xml")


@pytest.mark.parametrize(("srs", "horizontal", "vertical"), [
    ("EPSG:4547", "EPSG:4547", None),
    ("  epsg:4547\n", "EPSG:4547", None),
    ("EPSG:4547+5737", "EPSG:4547", "EPSG:5737"),
    ("EPSG:4547+EPSG:5737", "EPSG:4547", "EPSG:5737"),
    ("ENU:30.5,114.25", "ENU:30.5,114.25", None),
    ("ENU: 30.5, 114.25", "ENU:30.5,114.25", None),
    ("ENU:30.5,114.25,21.5", "ENU:30.5,114.25,21.5", None),
    ("ENU:-12.5,-77", "ENU:-12.5,-77", None),
    (WKT, WKT, None),
    (WKT.replace(",GEOGCS", ",\r\n    GEOGCS"), WKT, None),
    ("LOCAL", None, None),
    ("Local:foo", None, None),
    ("", None, None),
    ("+proj=tmerc +lon_0=113.37", "+proj=tmerc +lon_0=113.37", None),
])  # fmt: skip
def test_reference_systems(tmp_path, srs, horizontal, vertical):
    found = read(tmp_path, srs)
    assert (found.horizontal, found.vertical) == (horizontal, vertical)
    assert found.origin == (1, 2, 3)
    assert found.where == "metadata.xml"


@pytest.mark.parametrize(("origin", "expected"), [
    ("501027.524000,2488718.808000,0.000000", (501027.524, 2488718.808, 0)),
    ("501027.5,2488718.8", (501027.5, 2488718.8, 0)),
    (" -12.5 , 7 , 1e2 ", (-12.5, 7, 100)),
    ("1 2 3", (1, 2, 3)),
    ("", (0, 0, 0)),
])  # fmt: skip
def test_origins(tmp_path, origin, expected):
    assert read(tmp_path, "EPSG:4547", origin).origin == expected


@pytest.mark.parametrize("origin", ["a,b,c", "1", "1,2,3,4", "nan,1,2", "inf,0,0"])
def test_origins_that_are_no_place(tmp_path, origin):
    with pytest.raises(CorruptSource, match="SRSOrigin"):
        read(tmp_path, "EPSG:4547", origin)


def test_missing_elements_and_other_encodings(tmp_path):
    path = tmp_path / "metadata.xml"
    path.write_text("<ModelMetadata/>", encoding="utf-8")
    assert read_metadata(path, "m") == FoundCrs(where="m")
    text = '<?xml version="1.0" encoding="utf-16"?><ModelMetadata><SRS>EPSG:4547</SRS><SRSOrigin>1,2,3</SRSOrigin></ModelMetadata>'
    path.write_bytes(text.encode("utf-16"))
    assert read_metadata(path, "m").horizontal == "EPSG:4547"


@pytest.mark.parametrize("text", [
    '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><m><SRS>&x;</SRS></m>',
    '<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><m><SRS>&b;</SRS></m>',
    '<!DOCTYPE m [<!ENTITY % p SYSTEM "http://example.org/x.dtd"> %p;]><m/>',
    "<m><SRS>EPSG:4547</m>",
    "",
    "\0\1\2",
    "<m>" + "x" * (2 << 20) + "</m>",
])  # fmt: skip
def test_unsafe_or_broken_xml_is_refused(tmp_path, text):
    path = tmp_path / "metadata.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorruptSource) as caught:
        read_metadata(path, "metadata.xml")
    assert caught.value.code == "osgb.metadata"
    assert "{" not in render(caught.value.code, caught.value.fields, "zh")


def test_found_above_in_any_case(tmp_path):
    folder = tmp_path / "Data" / "Tile_1"
    folder.mkdir(parents=True)
    assert find_metadata(folder) is None
    (tmp_path / "Metadata.XML").touch()
    assert find_metadata(folder) == tmp_path / "Metadata.XML"
    (tmp_path / "Data" / "metadata.xml").touch()
    assert find_metadata(folder) == tmp_path / "Data" / "metadata.xml"
    assert find_metadata(folder / "deeper" / "still") is None


def test_real_metadata(real_data):
    found = read_metadata(real_data / "oblique" / "metadata.xml", "metadata.xml")
    assert found.origin == (501027.524, 2488718.808, 0.0)
    assert found.horizontal is not None
    assert 'PARAMETER["central_meridian",113.37]' in found.horizontal
    assert "\n" not in found.horizontal
