"""The bytes and schemas of 3D Tiles 1.1 and glTF 2.0: written deterministically, read back for validation."""
