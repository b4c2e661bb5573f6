"""Point clouds to 3D Tiles: an additive octree, built out of core."""

from tiling.points.builder import PointBuilder
from tiling.points.decode import DecodedPoints, decode_tile

__all__ = ["DecodedPoints", "PointBuilder", "decode_tile"]
