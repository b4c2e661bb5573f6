from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from importers.walk import probe
from tim.errors import SourceError

pytestmark = pytest.mark.usefixtures("tiny_formats")


def dot(path: Path, text: str = "114 30 5 0.01") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def town(path: Path, *houses: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "town").touch()
    for house in houses:
        (path / f"{house}.house").write_text(house)
    return path


def test_a_file(tmp_path: Path):
    found = probe(dot(tmp_path / "点.dot"))
    assert [(p.format, p.key, p.uri) for p in found.probes] == [("dot", "点.dot", str(tmp_path / "点.dot"))]
    assert probe(tmp_path / "点.dot", "2024").probes[0].key == "2024/点.dot"


def test_a_folder_in_a_fixed_order(tmp_path: Path):
    for name in ("b/2.dot", "b/10.dot", "a.dot", "B/x.dot", "c/d/e/f.dot"):
        dot(tmp_path / name)
    town(tmp_path / "towns" / "one")
    keys = [p.key for p in probe(tmp_path).probes]
    assert keys == ["B/x.dot", "a.dot", "b/10.dot", "b/2.dot", "c/d/e/f.dot", "towns/one"]
    assert [p.key for p in probe(tmp_path, "k").probes] == [f"k/{key}" for key in keys]


def test_a_delivery_is_claimed_whole_and_others_inside_are_not_overlooked(tmp_path: Path):
    town(tmp_path, "h1", "h2")
    (tmp_path / "readme.txt").touch()
    town(tmp_path / "sub", "h3")
    dot(tmp_path / "sub" / "points" / "p.DOT")
    found = probe(tmp_path)
    assert [(p.format, p.key) for p in found.probes] == [("town", ""), ("dot", "sub/points/p.DOT")]
    assert found.rejected == ()


def test_unknown_files_are_counted_by_suffix(tmp_path: Path):
    dot(tmp_path / "a.dot")
    for name in (
        "x.PDF",
        "y.pdf",
        "sub/z.pdf",
        "noext",
        ".hidden",
        "Thumbs.db",
        "desktop.ini",
        ".git/config",
        "__MACOSX/a.dot",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = probe(tmp_path)
    assert [p.key for p in found.probes] == ["a.dot"]
    assert [(r.code, r.fields["suffix"], r.fields["count"]) for r in found.rejected] == [
        ("import.unknown-type", "-", 1),
        ("import.unknown-type", ".pdf", 3),
    ]


def test_nothing_found_says_what_was_seen(tmp_path: Path):
    (tmp_path / "a.pdf").touch()
    (tmp_path / "b.pdf").touch()
    with pytest.raises(SourceError) as caught:
        probe(tmp_path)
    assert caught.value.code == "import.nothing-found"
    assert ".pdf (2)" in str(caught.value)
    with pytest.raises(SourceError, match=r"report\.docx"):
        probe(dot(tmp_path / "report.docx"))
    with pytest.raises(SourceError) as caught:
        probe(tmp_path / "nowhere")
    assert caught.value.code == "import.no-such-path"


def test_links_in_circles(tmp_path: Path):
    dot(tmp_path / "a" / "x.dot")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    found = probe(tmp_path)
    assert [p.key for p in found.probes] == ["a/x.dot"]
    assert [(r.code, r.where) for r in found.rejected if r.code == "import.folder-twice"] == [
        ("import.folder-twice", "a/loop"), ("import.folder-twice", "b"),
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="permissions work otherwise there")
def test_unreadable_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dot(tmp_path / "a.dot")
    (tmp_path / "locked").mkdir()
    list_folder = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", guarded)  # root reads everything
    found = probe(tmp_path)
    assert [p.key for p in found.probes] == ["a.dot"]
    assert [(r.code, r.fields) for r in found.rejected] == [
        ("import.folder-unreadable", {"path": "locked", "reason": "Permission denied"})
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_names_in_another_encoding_are_named_and_left_out(tmp_path: Path):
    dot(tmp_path / "a.dot")
    try:
        (tmp_path / os.fsdecode("武汉.dot".encode("gb18030"))).write_text("114 30 5 0.01")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    found = probe(tmp_path)
    assert [p.key for p in found.probes] == ["a.dot"]
    assert [(r.code, r.where) for r in found.rejected] == [("import.name-undecodable", "武汉.dot")]


def test_keys_are_composed(tmp_path: Path):
    dot(tmp_path / "e\u0301.dot")
    assert probe(tmp_path).probes[0].key == "\u00e9.dot"


def test_real_folders(real_data: Path):
    found = probe(real_data / "points")
    assert {p.format for p in found.probes} == {"las"}
    assert "lone-star.copc.laz" in [p.key for p in found.probes]
    found = probe(real_data / "oblique")
    assert [(p.format, p.key) for p in found.probes] == [("osgb", "")]
