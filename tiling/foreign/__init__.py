"""Tilesets that are not ours: mounted in place, composed with ours, their batch tables read, and upgraded to 3D Tiles 1.1 on request."""
