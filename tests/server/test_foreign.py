"""Mounted tilesets over HTTP: the bytes as they lie, nothing from outside, keys, composition, export."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from importers.plan import Options, make_plan
from importers.run import run_import
from server.app import create_app
from tests.server.conftest import Client
from tests.tiles1 import ENU, LAT, LON, b3dm, pnts, tileset
from tiling.archive import Archive
from tiling.engine import tile
from tiling.foreign.mount import compose, linked, mount_id
from tim.errors import UsageError
from tim.place import Frame
from tim.workspace import Workspace


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Workspace, Client, Path]]:
    folder = tileset(
        tmp_path / "old", {"a.b3dm": b3dm(), "z.pnts": gzip.compress(pnts(), mtime=0), "n/名.b3dm": b3dm(1)}
    )
    (tmp_path / "secret.json").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    workspace = Workspace.create(tmp_path / "ws")
    take(workspace, folder)
    with zipfile.ZipFile(tmp_path / "packed.3tz", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in ("tileset.json", "a.b3dm", "z.pnts"):
            archive.write(folder / path, path)
    take(workspace, tmp_path / "packed.3tz")
    client = Client(create_app(workspace))
    yield workspace, client, folder
    client.close()


def take(workspace: Workspace, path: Path, **settings: object) -> str:
    report = run_import(workspace, make_plan([path], Options(settings=settings)))
    [made] = report.datasets
    tile(workspace, made.dataset)
    return made.dataset


def base(client: Client, dataset: str) -> str:
    page = client.get(f"/tiles/{dataset}/tileset.json").json
    [child] = page["root"]["children"]
    return f"/tiles/{dataset}/" + child["content"]["uri"].removesuffix("tileset.json")


def test_files_are_sent_as_they_lie(place: tuple[Workspace, Client, Path]):
    workspace, client, folder = place
    before = sum(p.stat().st_size for p in (workspace.path / "tiles").rglob("*") if p.is_file())
    root = base(client, "old")
    for name, kind in (
        ("tileset.json", "application/json"),
        ("a.b3dm", "application/octet-stream"),
        ("n/名.b3dm", "application/octet-stream"),
    ):
        answer = client.get(root + name)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, (folder / name).read_bytes(), kind)
        assert client.get(root + name, {"if-none-match": answer.headers["etag"]}).status == 304
        assert client.head(root + name).headers["content-length"] == str(len(answer.body))
    part = client.get(root + "a.b3dm", {"range": "bytes=4-11"})
    assert (part.status, part.body) == (206, (folder / "a.b3dm").read_bytes()[4:12])
    zipped = client.get(root + "z.pnts", {"accept-encoding": "gzip"})
    assert (zipped.headers["content-encoding"], gzip.decompress(zipped.body)) == ("gzip", pnts())
    assert client.get(root + "z.pnts").body == pnts()
    assert before == sum(p.stat().st_size for p in (workspace.path / "tiles").rglob("*") if p.is_file())
    assert before < 300_000, "a page, whatever lies behind it"
    snapshot = client.get("/api/collections/old").json["tim"]["snapshot"]
    assert (snapshot["tiles"], snapshot["bytes"]) == (0, 0)


def test_an_archive_is_served_without_unpacking(place: tuple[Workspace, Client, Path]):
    _, client, folder = place
    root = base(client, "packed")
    for accepted in ({}, {"accept-encoding": "gzip"}):
        answer = client.get(root + "a.b3dm", accepted)
        packed = answer.headers.get("content-encoding") == "gzip"
        assert packed == bool(accepted)
        assert (gzip.decompress(answer.body) if packed else answer.body) == (folder / "a.b3dm").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["../secret.json", "%2e%2e/secret.json", "..%2fsecret.json", "link.json", "n/../../secret.json", "n", "", "n/", "/etc/passwd", "..\\secret.json",
     "a.b3dm/", "gone.b3dm", "./a.b3dm", "\0"],
)  # fmt: skip
def test_nothing_else_is_there(place: tuple[Workspace, Client, Path], path: str):
    _, client, _ = place
    answer = client.get(base(client, "old") + path)
    assert answer.status == 404
    assert answer.json["code"] == "server.no-path"


def test_a_file_that_changes_changes_its_tag_and_one_that_goes_is_gone(place: tuple[Workspace, Client, Path]):
    _, client, folder = place
    url = base(client, "old") + "a.b3dm"
    tag = client.get(url).headers["etag"]
    (folder / "a.b3dm").write_bytes(b3dm(2))
    assert client.get(url, {"if-none-match": tag}).body == b3dm(2)
    folder.rename(folder.with_name("away"))
    assert client.get(url).status == 404


def test_private_datasets_stay_private(place: tuple[Workspace, Client, Path]):
    workspace, client, _ = place
    url = base(client, "old") + "a.b3dm"
    with workspace.store() as store:
        store.put_dataset(replace(store.dataset("old"), private=True))
    fresh = Client(create_app(workspace))
    assert fresh.get(url).status == 401
    assert fresh.get(url.replace(mount_id("x"), "0" * 16)).status == 401
    fresh.close()


def test_regions_are_lifted_on_the_way_out(place: tuple[Workspace, Client, Path], tmp_path: Path):
    workspace, client, _ = place
    region = [1.99, 0.53, 2.0, 0.54, 5.0, 50.0]
    slug = take(
        workspace, tileset(tmp_path / "regions", {"a.b3dm": b3dm()}, volume={"region": region}), height_offset=10
    )
    page = client.get(base(client, slug) + "tileset.json").json
    assert (
        page["root"]["boundingVolume"]["region"]
        == page["root"]["children"][0]["boundingVolume"]["region"]
        == [*region[:4], 15.0, 60.0]
    )
    assert client.get(base(client, slug) + "a.b3dm").body == b3dm()


def test_composed_datasets_show_both_and_export_whole(place: tuple[Workspace, Client, Path], tmp_path: Path):
    workspace, client, folder = place
    compose(workspace, "both", ["old", "packed"])
    page = client.get("/tiles/both/tileset.json").json
    uris = [child["content"]["uri"] for child in page["root"]["children"]]
    assert uris == ["../old/tileset.json", "../packed/tileset.json"]
    assert page["root"]["geometricError"] >= max(child["geometricError"] for child in page["root"]["children"])
    with pytest.raises(UsageError) as circle:
        compose(workspace, "both", ["both"])
    assert circle.value.code == "tile.compose-circle"
    with workspace.store() as store, Archive(workspace.archive_root) as archive:
        archive.export("both", tmp_path / "out", linked=lambda link: linked(archive, store, "both", link))
    out = tmp_path / "out"
    for child in json.loads((out / "tileset.json").read_text())["root"]["children"]:
        inner = out / child["content"]["uri"]
        [mounted] = json.loads(inner.read_text())["root"]["children"]
        leaf = inner.parent / mounted["content"]["uri"]
        assert json.loads(leaf.read_text())["root"]["transform"] == ENU
        assert (leaf.parent / "a.b3dm").read_bytes() == (folder / "a.b3dm").read_bytes()
        assert (leaf.parent / "z.pnts").read_bytes() == pnts(), "plain web servers do not say what is gzip"


def test_the_box_of_a_mounted_dataset_is_where_it_lies(place: tuple[Workspace, Client, Path]):
    _, client, _ = place
    west, south, _, east, north, _ = client.get("/api/collections/old").json["extent"]["spatial"]["bbox"][0]
    assert west < LON < east
    assert south < LAT < north


def test_a_composed_dataset_tells_its_parts_and_covers_them(place: tuple[Workspace, Client, Path], tmp_path: Path):
    workspace, client, _ = place
    east = tileset(tmp_path / "east", {"a.b3dm": b3dm()}, transform=Frame(LON + 0.5, LAT, 30.0, 1.0).transform)
    far = take(workspace, east)
    compose(workspace, "both", ["old", "packed"])
    compose(workspace, "all", ["both", far])
    told = {c["id"]: c for c in client.get("/api/collections").json["collections"]}
    assert told["both"]["tim"]["parts"] == ["old", "packed"]
    assert told["all"]["tim"]["parts"] == [far, "old", "packed"]
    assert told["old"]["tim"]["parts"] == []
    boxes = {slug: np.array(told[slug]["extent"]["spatial"]["bbox"][0]) for slug in told}
    assert boxes["all"][:3] == pytest.approx(np.minimum(boxes["both"], boxes[far])[:3])
    assert boxes["all"][3:] == pytest.approx(np.maximum(boxes["both"], boxes[far])[3:])
    assert boxes["both"] == pytest.approx(boxes["old"])
    assert client.get("/api/collections/all").json == told["all"] | {
        "links": client.get("/api/collections/all").json["links"]
    }
    with workspace.store() as store:
        store.put_dataset(replace(store.dataset(far), private=True))
    fresh = Client(create_app(workspace))
    hidden = fresh.get("/api/collections/all").json
    assert hidden["tim"]["parts"] == ["old", "packed"]
    assert hidden["extent"] == told["both"]["extent"], "a private part is not told of"
    fresh.close()


def test_batch_tables_are_read(place: tuple[Workspace, Client, Path]):
    _, client, _ = place
    for dataset in ("old", "packed"):
        found = client.get(f"/api/collections/{dataset}/batch?content=a.b3dm").json
        (table,) = found["tables"]
        assert table["count"] > 0
        assert all(len(values) == table["count"] for values in table["columns"].values())
        assert "name" in table["columns"]
    for content in ("nothing.b3dm", "../secret.json", "link.json", "..%2fsecret.json"):
        answer = client.get(f"/api/collections/old/batch?content={content}")
        assert (answer.status, answer.json["code"]) == (404, "server.no-path")
