"""Textured mesh trees to tiles: a tile per level-of-detail node, refined by replacement."""

from tiling.meshes.builder import MeshBuilder

__all__ = ["MeshBuilder"]
