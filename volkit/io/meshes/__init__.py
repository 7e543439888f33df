"""Meshes as files: what an engine loads, and the formats that hold it."""
