"""A small town in a workspace, its exports, and what is read back of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters import format_of
from exporters.job import Exported, Options, export
from exporters.records import Selection
from importers.plan import Options as ImportOptions
from importers.plan import make_plan
from importers.run import ImportReport, run_import
from tim.model import Code, Dataset, ObjectRecord, Relation, Representation, Stage, dataset_uid, derived_id
from tim.place import Frame, PlaceOptions, resolve
from tim.place.resolve import FoundCrs
from tim.shape import FORMAT, Patch, Polygon, build
from tim.store import AsOf, Changeset, Filter, ObjectStore, ObjectVersion, Put
from tim.workspace import Workspace

SLUG, UID = "town", dataset_uid("town")
EAST, NORTH, BASE = 500_000.0, 3_400_000.0, 20.0
CRS = PlaceOptions(crs="EPSG:4547", vertical="ellipsoid")


def cube(x: float, y: float, size: float = 10.0, height: float = 8.0, names: bool = False) -> list[Patch]:
    """A closed house, its surfaces counter-clockwise seen from outside."""
    corners = np.array([[x, y], [x + size, y], [x + size, y + size], [x, y + size]])
    low, high = np.column_stack([corners, np.full(4, BASE)]), np.column_stack([corners, np.full(4, BASE + height)])
    walls = [np.array([low[i], low[i - 3], high[i - 3], high[i]]) for i in range(4)]
    faces = [(low[::-1], "GroundSurface"), (high, "RoofSurface"), *((wall, "WallSurface") for wall in walls)]
    return [Polygon([ring], name if names else "") for ring, name in faces]


def yard(x: float, y: float) -> list[Patch]:
    """A flat square with a hole."""

    def ring(a: float, b: float) -> Any:
        return np.array([[x + a, y + a, BASE], [x + b, y + a, BASE], [x + b, y + b, BASE], [x + a, y + b, BASE]])

    return [Polygon([ring(0, 12), ring(3, 6)[::-1]])]


def town(workspace: Workspace) -> None:
    """Two versions of a house, its part, a yard, a tree, a thing without a place; every kind of attribute."""
    place = resolve(FoundCrs(), CRS, np.array([EAST, NORTH, 0.0]), np.array([EAST + 100, NORTH + 100, 50.0]))
    built = build([cube(EAST, NORTH, names=True), cube(EAST + 20, NORTH, 6, 3), yard(EAST + 40, NORTH)], place)
    at = place.to_geographic(np.array([[EAST + 60, NORTH, BASE]]))[0].tolist()

    def key(name: str) -> Any:
        return derived_id(UID, "房屋", name)

    def body(k: int, role: str, lod: str = "2") -> dict[str, Any]:
        return {"box": built[k].box, "representations": (Representation(role, lod, FORMAT, digests[k]),)}

    with workspace.store() as store:
        digests = [store.put_blob(one.blob) for one in built]
        house = ObjectRecord(
            "H1", "building.house", name="甲楼", layer="房屋", stage=Stage.AS_BUILT, valid_from="2020-01-01",
            attributes={"height": 8.5, "floors": 3, "Name": "other", "note": "=1+1", "heated": True, "mixed": 7, "nested": {"a": [1, None]}, "code": "007"},
            codes=(Code("cn.real-estate-unit", "GB/T 37346-2019", "440300001"), Code("local", "", "X-1", valid_from="2021-05-01")), **body(0, "body"),
        )  # fmt: skip
        part = ObjectRecord(
            "H1-a", "building.part", layer="房屋", attributes={"floors": 1, "mixed": "seven", "heated": False, "none": None},
            relations=(Relation("partOf", key("H1"), evidence="survey"),), **body(1, "body"),
        )  # fmt: skip
        tree = Representation("model", "2", "glb", store.put_blob(b"glTF-stand-in"), {"at": at, "heading": 30.0})
        dataset = Dataset(SLUG, "Town", "objects", UID, Frame(*np.round(at, 5).tolist(), 2**-10))
        records = [
            house, part, ObjectRecord("Y1", "land.use", layer="用地", attributes={"floors": 0}, **body(2, "footprint", "0")),
            ObjectRecord("T1", "vegetation.tree", layer="树", box=(*at, *at), representations=(tree,), attributes={"height": 4.25}),
            ObjectRecord("N1", "land.other", layer="用地", name="nowhere"),
        ]  # fmt: skip
        store.apply(Changeset(SLUG, [Put(record) for record in records], make=dataset))
        store.apply(Changeset(SLUG, [Put(replace(house, name="甲楼改", valid_from="2022-06-01T08:00:00Z"))]))


def export_to(
    workspace: Workspace,
    out: Path,
    options: Options | None = None,
    versions: Any = "current",
    overwrite: bool = False,
    **wanted: Any,
) -> Exported:
    name = format_of(out)
    assert name is not None
    with workspace.store() as store:
        selection = Selection(Filter(dataset=SLUG, **wanted), AsOf(), versions)
        return export(store, selection, out, name, options, overwrite=overwrite)


def current(store: ObjectStore, slug: str = SLUG) -> dict[Any, ObjectVersion]:
    return {version.tim_id: version for version in store.query(Filter(dataset=slug)).items}


def read_back(
    folder: Path, path: Path, place: PlaceOptions | None = None
) -> tuple[dict[Any, ObjectVersion], ImportReport]:
    """What a new workspace has after an import of a file."""
    fresh = Workspace.create(folder / "fresh")
    report = run_import(fresh, make_plan([path], ImportOptions(dataset=SLUG, place=place or PlaceOptions())))
    with fresh.store() as store:
        return current(store), report


def said(version: ObjectVersion) -> ObjectRecord:
    """What an object says, without its geometry and its attributes that are null."""
    attributes = {name: value for name, value in version.object.attributes.items() if value is not None}
    return replace(version.object, box=None, representations=(), attributes=attributes, tim_id=None)
