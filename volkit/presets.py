"""Named sizes of every representation, as functions that return full configurations."""

from volkit.representations import (
    REPRESENTATIONS,
    HashGridConfig,
    MlpConfig,
    PlanesConfig,
    RepresentationConfig,
    TensorCPConfig,
    TensorVMConfig,
    VoxelsConfig,
)

__all__ = ["PRESETS", "full", "small"]


def full(kind: str) -> RepresentationConfig:
    """The sizes of each representation's paper, or what was measured to serve two CPU cores best (the default)."""
    return REPRESENTATIONS[kind]()


def small(kind: str) -> RepresentationConfig:
    """About a tenth of the bytes, for previews and for the web: a few dB less on detailed scenes."""
    sizes: dict[str, RepresentationConfig] = {
        "hash_grid": HashGridConfig(log2_table=15),
        "mlp": MlpConfig(width=128, layers=6),
        "voxels": VoxelsConfig(resolution=96),
        "tensor_vm": TensorVMConfig(resolution=128),
        "tensor_cp": TensorCPConfig(resolution=128),
        "planes": PlanesConfig(scales=(1, 2)),
    }
    return sizes[kind]


PRESETS = {"full": full, "small": small}
