from __future__ import annotations

import os
import zlib
from hashlib import blake2b
from pathlib import Path

import pytest

from tiling.archive import pack
from tiling.archive.pack import PackWriter
from tim.errors import WorkspaceError


def test_contents_lie_where_the_rows_say(tmp_path):
    payloads = [b"glTF" + bytes([i]) * (100 * i) for i in range(5)]
    writer = PackWriter(tmp_path, "shard")
    refs = [writer.put(p, compress=i % 2 == 0) for i, p in enumerate(payloads)]
    rows = writer.close()
    data = (tmp_path / "shard.pack").read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["shard.pack"]
    for payload, ref, row in zip(payloads, refs, rows, strict=True):
        assert row.hash == ref.hash == blake2b(payload, digest_size=32).hexdigest()
        assert row.size == ref.size == len(payload)
        assert row.stored == ref.stored
        assert row.pack == "shard.pack"
        assert pack.plain(data[row.offset : row.offset + row.stored], row.encoding) == payload


def test_buffers_are_joined_and_equal_contents_stored_once(tmp_path):
    writer = PackWriter(tmp_path, "shard")
    one = writer.put([b"ab", memoryview(b"cd")])
    assert writer.put(b"abcd") == one
    assert len(writer.close()) == 1


def test_compression_only_where_it_pays(tmp_path):
    writer = PackWriter(tmp_path, "shard")
    assert writer.put(bytes(10_000), compress=True).encoding == "gzip"
    assert writer.put(os.urandom(10_000), compress=True).encoding == "identity"
    assert writer.put(b"x" * 10_000).encoding == "identity"
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_gzip_has_no_time_and_no_system():
    packed = pack.gzip([b"hello ", b"world"])
    assert packed[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00" + packed[8:9] + b"\xff"
    assert zlib.decompress(packed, 31) == b"hello world"


def test_an_empty_pack_leaves_no_file(tmp_path):
    assert PackWriter(tmp_path, "shard").close() == []
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_of_the_same_name_is_left_alone(tmp_path):
    (tmp_path / "shard.pack").write_bytes(b"older, perhaps mapped by a reader")
    writer = PackWriter(tmp_path, "shard")
    writer.put(b"new")
    (row,) = writer.close()
    assert row.pack != "shard.pack"
    assert (tmp_path / "shard.pack").read_bytes() == b"older, perhaps mapped by a reader"
    assert (tmp_path / row.pack).read_bytes().endswith(b"new")


def test_sweep_takes_dead_parts_and_unclaimed_packs_only(tmp_path):
    alive = PackWriter(tmp_path, "alive")
    for name in (".dead.1.part", ".young.1.part", "claimed.pack", "unclaimed.pack", "young.pack"):
        (tmp_path / name).write_bytes(b"x")
    for name in (".dead.1.part", f".alive.{os.getpid()}.part", "claimed.pack", "unclaimed.pack"):
        os.utime(tmp_path / name, (1e9, 1e9))
    pack.sweep(tmp_path, {"claimed.pack"})
    assert {p.name for p in tmp_path.iterdir()} == {
        f".alive.{os.getpid()}.part",
        ".young.1.part",
        "claimed.pack",
        "young.pack",
    }
    alive.put(b"x")
    assert len(alive.close()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_refused_by_code(tmp_path):
    writer = PackWriter(tmp_path, "shard")
    os.dup2(os.open("/dev/full", os.O_WRONLY), writer._file.fileno())
    with pytest.raises(WorkspaceError) as caught:
        writer.put([os.urandom(1 << 20), os.urandom(1 << 20)])
    assert caught.value.code == "archive.disk-full"
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused_by_code(tmp_path):
    (tmp_path / "packs").write_bytes(b"")
    with pytest.raises(WorkspaceError) as caught:
        PackWriter(tmp_path / "packs", "shard")
    assert caught.value.code == "archive.cannot-write"
