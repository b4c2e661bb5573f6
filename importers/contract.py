"""What any importer and any source it opens must pass. Third parties test themselves with it::

    class TestLas(PointSourceContract):
        def source(self, folder: Path) -> Path: ...   # write a small file of the format

Needs pytest, as the tests do; nothing else imports this.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest

from importers import ImportContext, Probe, importer, open_source
from importers.plan import place_of
from tim.errors import SourceError, catalogue, is_warning
from tim.model import Blob, ObjectRecord, Rejected
from tim.place.resolve import PlaceOptions
from tim.sources import MeshTree, NodeRef, Part, PointSource, SourceRef


class ImporterContract(ABC):
    """The three verbs: probing never fails on foreign files, keys know no path, references travel."""

    format: ClassVar[str]
    """A name of :data:`importers.FORMATS`."""
    options: ClassVar[PlaceOptions] = PlaceOptions(crs="EPSG:4547", vertical="ellipsoid")

    @abstractmethod
    def source(self, folder: Path) -> Path:
        """Write a small sound source of the format below ``folder`` and say where."""

    def probes(self, path: Path) -> list[Probe]:
        """What the importer sees at ``path``, called as the walk calls it."""
        return importer(self.format).probe(path, path.name if path.is_file() else "")

    def refs(self, path: Path) -> list[SourceRef]:
        """The references that importing gives."""
        found = [item for probe in self.probes(path) for item in self.read(probe)]
        return [item for item in found if isinstance(item, SourceRef)]

    def read(self, probe: Probe) -> list[object]:
        """All that one probe gives, placed by :attr:`options`."""
        return list(importer(self.format).read(probe, ImportContext(place_of(probe, self.options, PlaceOptions()))))

    def test_foreign_files_are_nothing(self, tmp_path: Path) -> None:
        """An empty file, noise, text, an empty folder: not ours, and no reason to fail."""
        (tmp_path / "folder").mkdir()
        for name, data in (("empty", b""), ("noise", bytes(range(256)) * 8), ("text.txt", "你好".encode())):
            (tmp_path / name).write_bytes(data)
        for path in sorted(tmp_path.iterdir()):
            assert self.probes(path) == []

    def test_a_probe_is_an_inventory_line(self, tmp_path: Path) -> None:
        """Format, size and extent without reading bulk data."""
        (probe,) = self.probes(self.source(tmp_path))
        assert probe.format == self.format
        assert not probe.fatal
        assert probe.files > 0
        assert probe.size > 0
        assert probe.low is not None
        assert probe.high is not None
        assert all(a <= b for a, b in zip(probe.low, probe.high, strict=True))

    def test_objects_and_sources_have_keys_without_paths(self, tmp_path: Path) -> None:
        """The same delivery elsewhere has the same keys."""
        (tmp_path / "one").mkdir()
        path = self.source(tmp_path / "one")
        elsewhere = tmp_path / "two" / "deeper"
        shutil.copytree(tmp_path / "one", elsewhere)
        keys = []
        for root in (path, elsewhere / path.relative_to(tmp_path / "one")):
            found = [item for probe in self.probes(root) for item in self.read(probe)]
            objects = [item.source_key for item in found if isinstance(item, ObjectRecord)]
            sources = [item.key for item in found if isinstance(item, SourceRef)]
            assert objects
            assert sources
            assert len(set(sources)) == len(sources)
            keys.append((objects, sources))
        assert keys[0] == keys[1]
        assert str(tmp_path) not in json.dumps(keys)

    def test_a_reference_travels(self, tmp_path: Path) -> None:
        """By pickle and by JSON, and opens again."""
        for ref in self.refs(self.source(tmp_path)):
            assert pickle.loads(pickle.dumps(ref)) == ref
            assert SourceRef.from_record(json.loads(json.dumps(ref.record()))) == ref
            open_source(ref)

    def test_a_source_that_is_gone_is_refused(self, tmp_path: Path) -> None:
        """With a SourceError, not with the system's."""
        refs = self.refs(self.source(tmp_path))
        for ref in refs:
            path = Path(ref.uri)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for ref in refs:
            with pytest.raises(SourceError):
                open_source(ref)


class PointSourceContract(ImporterContract):
    """A point source gives every point once, whatever it is cut into."""

    def test_every_point_once(self, tmp_path: Path) -> None:
        """For any size of part, in file order, within the bounds, with all attributes of the schema."""
        for ref in self.refs(self.source(tmp_path)):
            source = cast("PointSource", open_source(ref))
            assert isinstance(source, PointSource)
            whole = self._read(source, [Part(0, ref.count)])
            assert len(whole) == ref.count
            low, high = source.bounds
            assert (whole[:, :3] >= np.array(low) - 1e-6).all()
            assert (whole[:, :3] <= np.array(high) + 1e-6).all()
            for target in (1, 1000, ref.count, 10 * ref.count):
                parts = source.parts(target)
                assert sum(part.count for part in parts) == ref.count
                np.testing.assert_array_equal(self._read(source, parts), whole)

    @staticmethod
    def _read(source: PointSource, parts: list[Part]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        rows = []
        for part in parts:
            count = 0
            for batch in source.read(part):
                columns = [batch.attributes[a.name].reshape(len(batch), -1) for a in source.schema.attributes]
                rows.append(np.column_stack([batch.xyz, *columns]).astype(np.float64))
                count += len(batch)
            assert count == part.count
        return np.concatenate(rows)


class MeshTreeContract(ImporterContract):
    """A mesh tree's files are listed, its roots lead to all of them, its meshes are sound."""

    def test_roots_lead_everywhere(self, tmp_path: Path) -> None:
        """Every listed file is reached exactly once, nodes have keys of their own, coarser nodes refine later."""
        for ref in self.refs(self.source(tmp_path)):
            tree = cast("MeshTree", open_source(ref))
            assert isinstance(tree, MeshTree)
            files = [file.path for file, _ in tree.files()]
            assert files == sorted(files)
            reached: list[str] = []
            keys: list[str] = []
            queue = tree.roots()
            while queue:
                file = queue.pop()
                reached.append(file.path)
                nodes = tree.load(file)
                while nodes:
                    node = nodes.pop()
                    keys.append(node.key)
                    for mesh in node.meshes:
                        assert mesh.positions.shape == (len(mesh.positions), 3)
                        assert np.isfinite(mesh.positions).all()
                        assert not mesh.triangles.size or int(mesh.triangles.max()) < len(mesh.positions)
                        assert mesh.uv is None or mesh.uv.shape == (len(mesh.positions), 2)
                    for link in node.children:
                        assert link.metres_per_pixel > 0
                        if isinstance(link.target, NodeRef):
                            queue.append(link.target)
                        else:
                            nodes.append(link.target)
            assert sorted(reached) == files
            assert len(set(keys)) == len(keys)


class ObjectImporterContract(ImporterContract):
    """Objects have keys of their own and geometry that comes with them; what is not an object is a rejected record, and nothing else is lost."""

    def test_a_reference_travels(self, tmp_path: Path) -> None:
        """By pickle and by JSON. There is one, of kind ``objects``, for each probe, and nothing behind it to open."""
        for probe in self.probes(self.source(tmp_path)):
            (ref,) = [item for item in self.read(probe) if isinstance(item, SourceRef)]
            assert (ref.kind, ref.format, ref.key) == ("objects", self.format, probe.key)
            assert pickle.loads(pickle.dumps(ref)) == ref
            assert SourceRef.from_record(json.loads(json.dumps(ref.record()))) == ref

    def test_a_source_that_is_gone_is_refused(self, tmp_path: Path) -> None:
        """When it is read: with a SourceError or as a rejected record, not with the system's error."""
        path = self.source(tmp_path)
        probes = self.probes(path)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        for probe in probes:
            with contextlib.suppress(SourceError):
                assert [item for item in self.read(probe) if isinstance(item, Rejected) and not is_warning(item.code)]

    def test_every_object_once(self, tmp_path: Path) -> None:
        """Source keys are unique in their layer, and the reference names the layers."""
        for probe in self.probes(self.source(tmp_path)):
            found = self.read(probe)
            objects = [(item.layer, item.source_key) for item in found if isinstance(item, ObjectRecord)]
            assert objects
            assert len(set(objects)) == len(objects)
            assert all(key for _, key in objects)
            (ref,) = [item for item in found if isinstance(item, SourceRef)]
            assert {layer for layer, _ in objects} <= set(ref.options["layers"])

    def test_every_record_counted(self, tmp_path: Path) -> None:
        """What the probe counted is an object or a rejected record, and every reason has a text."""
        for probe in self.probes(self.source(tmp_path)):
            found = self.read(probe)
            objects = [item for item in found if isinstance(item, ObjectRecord)]
            rejected = [item for item in found if isinstance(item, Rejected)]
            lost = [item for item in rejected if not is_warning(item.code)]
            assert probe.count is None or probe.count == len(objects) + len(lost)
            for item in rejected:
                room, _, code = item.code.partition(".")
                assert code in catalogue(room), item.code

    def test_geometry_comes_along(self, tmp_path: Path) -> None:
        """Every blob a representation names is given, once, and its object has a box."""
        for probe in self.probes(self.source(tmp_path)):
            found = self.read(probe)
            objects = [item for item in found if isinstance(item, ObjectRecord)]
            named = {r.content for one in objects for r in one.representations if r.role != "bulk"}
            given = [item.content for item in found if isinstance(item, Blob)]
            assert len(set(given)) == len(given)
            assert named <= set(given)
            assert all(one.box is not None for one in objects if one.representations)

    def test_the_same_bytes_twice(self, tmp_path: Path) -> None:
        """Reading again gives the same objects and blobs in the same order, attributes that are JSON included."""
        for probe in self.probes(self.source(tmp_path)):
            first, second = ([i for i in self.read(probe) if isinstance(i, ObjectRecord | Blob)] for _ in range(2))
            assert first == second
            for item in first:
                if isinstance(item, ObjectRecord):
                    text = json.dumps(item.attributes, allow_nan=False)
                    assert str(tmp_path) not in text
