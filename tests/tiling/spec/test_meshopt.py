"""The vertex codec against its own decoder, and against meshoptimizer's decoder and encoder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.validator import MODULES
from tiling.spec import meshopt

SCRIPT = """
const fs = require('fs'); const path = require('path');
import(process.argv[1]).then(async ({ MeshoptDecoder, MeshoptEncoder }) => {
  await MeshoptDecoder.ready; await MeshoptEncoder.ready;
  const cases = JSON.parse(fs.readFileSync(0, 'utf8'));
  console.log(JSON.stringify(cases.map(({ file, count, stride, filter }) => {
    const target = new Uint8Array(count * stride);
    MeshoptDecoder.decodeVertexBuffer(target, count, stride, fs.readFileSync(file + '.encoded'), filter);
    fs.writeFileSync(file + '.decoded', target);
    const plain = new Uint8Array(fs.readFileSync(file + '.plain'));
    return MeshoptEncoder.encodeVertexBufferLevel(plain, count, stride, 0, 0).length;
  })));
});
"""


def sample(count: int, stride: int, seed: int) -> np.ndarray:
    """uint8[count, stride]: bytes that wander, each at a pace of its own, some not at all, some at random."""
    random = np.random.default_rng(seed)
    pace = random.choice([0, 0.3, 1, 3, 30, 300], stride)
    return np.cumsum(random.normal(0, 1, (count, stride)) * pace, axis=0).astype(np.int64).astype(np.uint8)


@given(st.integers(0, 700), st.sampled_from([4, 8, 12, 16, 64, 256]), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_decodes_to_what_was_encoded(count, stride, seed):
    values = sample(count, stride, seed)
    encoded = meshopt.encode_vertex_buffer(values)
    np.testing.assert_array_equal(meshopt.decode_vertex_buffer(encoded, count, stride), values)


@given(st.integers(1, 700), st.lists(st.sampled_from([4, 8, 12, 24]), min_size=1, max_size=5), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_streams_together_are_the_streams_alone(count, strides, seed):
    values = [sample(count, stride, seed + i) for i, stride in enumerate(strides)]
    together = meshopt.encode_streams([np.ascontiguousarray(v.T) for v in values])
    assert together == [meshopt.encode_vertex_buffer(v) for v in values]


def test_reference_decoder_agrees_and_reference_encoder_is_no_smaller(tmp_path):
    module = MODULES / "meshoptimizer" / "index.js"
    if shutil.which("node") is None or not module.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("meshoptimizer is absent (npm ci in viewer/), and CI must have it")
        pytest.skip("meshoptimizer is absent (npm ci in viewer/)")
    cases = []
    for number, (count, stride) in enumerate(
        (n, s) for n in (1, 15, 16, 17, 255, 256, 257, 3000) for s in (4, 8, 12, 64, 256)
    ):
        values = sample(count, stride, number)
        name = tmp_path / str(number)
        name.with_suffix(".plain").write_bytes(values.tobytes())
        name.with_suffix(".encoded").write_bytes(meshopt.encode_vertex_buffer(values))
        cases.append({"file": str(name), "count": count, "stride": stride})
    done = subprocess.run(
        ["node", "-e", SCRIPT, str(module)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for case, reference in zip(cases, json.loads(done.stdout), strict=True):
        plain, encoded, decoded = (
            Path(f"{case['file']}.{kind}").read_bytes() for kind in ("plain", "encoded", "decoded")
        )
        assert decoded == plain, case
        assert len(encoded) <= reference, case


def test_reference_exponential_filter_agrees(tmp_path):
    module = MODULES / "meshoptimizer" / "index.js"
    if shutil.which("node") is None or not module.exists():
        pytest.skip("meshoptimizer is absent (npm ci in viewer/)")
    random = np.random.default_rng(4)
    mantissa = random.integers(-(1 << 23), 1 << 23, (1000, 3)).astype(np.int32)
    packed = (mantissa & 0xFFFFFF) | np.int32(2 << 24)
    values = packed.view(np.uint8).reshape(1000, 12)
    name = tmp_path / "filter"
    name.with_suffix(".plain").write_bytes(values.tobytes())
    name.with_suffix(".encoded").write_bytes(meshopt.encode_vertex_buffer(values))
    case = {"file": str(name), "count": 1000, "stride": 12, "filter": "EXPONENTIAL"}
    subprocess.run(
        ["node", "-e", SCRIPT, str(module)],
        input=json.dumps([case]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    theirs = np.frombuffer(name.with_suffix(".decoded").read_bytes(), "<f4").reshape(1000, 3)
    np.testing.assert_array_equal(theirs, mantissa * np.float32(4))
    np.testing.assert_array_equal(meshopt.decode_exponential(values), theirs)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_malformed_streams_are_refused_or_decode_to_something(data):
    values = sample(300, 8, 3)
    encoded = bytearray(meshopt.encode_vertex_buffer(values))
    encoded = encoded[: data.draw(st.integers(0, len(encoded)))] + data.draw(st.binary(max_size=3))
    for _ in range(data.draw(st.integers(0, 3))):
        if encoded:
            encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        assert meshopt.decode_vertex_buffer(bytes(encoded), 300, 8).shape == (300, 8)


def test_unusable_strides_are_refused():
    for stride in (0, 3, 260):
        with pytest.raises(ValueError, match="cannot be encoded"):
            meshopt.encode_vertex_buffer(np.zeros((5, stride), np.uint8))
