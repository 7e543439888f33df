"""Mesh files: the assets that game engines load, and the formats that store them."""
