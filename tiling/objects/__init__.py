"""Objects with identity to tiles: a quadtree of leaves in full, and prisms above them from afar."""

from tiling.objects.builder import ObjectBuilder

__all__ = ["ObjectBuilder"]
