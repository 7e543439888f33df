"""volkit: hold a 3D scene in one form, have it in another."""

__version__ = "0.1.0"
