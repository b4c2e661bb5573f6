"""EXT_meshopt_compression, vertex codec version 0: see the extension's specification, appendix "Mode 0: attributes"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def encode_vertex_buffer(values: NDArray[np.uint8]) -> bytes:
    """uint8[n, stride] to the encoded stream."""
    raise NotImplementedError


def decode_vertex_buffer(data: bytes, count: int, stride: int) -> NDArray[np.uint8]:
    """The encoded stream to uint8[count, stride]. Raises ValueError for a malformed stream."""
    raise NotImplementedError
