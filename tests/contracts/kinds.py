"""One small configuration of every kind of field, and questions to ask it."""

import torch

from volkit.geometry import Domain, Points
from volkit.representations import (
    REPRESENTATIONS,
    Field,
    HashGridConfig,
    MlpConfig,
    PlanesConfig,
    RepresentationConfig,
    TensorCPConfig,
    TensorVMConfig,
    VoxelFeaturesConfig,
    VoxelsConfig,
)

BOX = Domain((-1.0, -0.8, -1.2), (1.0, 0.9, 1.1))

SMALL: dict[str, RepresentationConfig] = {
    "hash_grid": HashGridConfig(levels=3, log2_table=8, base_resolution=4, width=16, products="float32"),
    "voxels": VoxelsConfig(resolution=12, start=6, tv_cells=64),
    "tensor_vm": TensorVMConfig(resolution=12, start=6, density_components=2, appearance_components=3),
    "tensor_vm MLP_Fea": TensorVMConfig(
        resolution=6, start=6, density_components=2, appearance_components=3, shading="MLP_Fea", feature_width=8
    ),
    "tensor_cp": TensorCPConfig(resolution=12, start=6, density_components=4, appearance_components=6),
    "planes": PlanesConfig(resolution=4, scales=(1, 2), channels=4, width=16, products="float32"),
    "planes sum": PlanesConfig(resolution=4, scales=(1, 2), channels=4, width=16, combine="sum", products="float32"),
    "voxel_features": VoxelFeaturesConfig(
        size=(4, 5, 6), density_shift=-1.0, features=5, layers=3, width=8, view_bands=2
    ),
    "voxel_features direct": VoxelFeaturesConfig(
        size=(4, 5, 6), features=4, layers=2, width=8, view_bands=1, direct=True
    ),
    "voxel_features blind": VoxelFeaturesConfig(size=(4, 5, 6), density_shift=-1.0, features=3, layers=0),
    "hash_grid bias": HashGridConfig(
        levels=3, log2_table=8, base_resolution=4, width=16, bias=True, density_scale=3.0, products="float32"
    ),
    "hash_grid nerfstudio": HashGridConfig(
        levels=3, log2_table=8, base_resolution=4, width=16, lookup="nerfstudio", products="float32"
    ),
    "tensor_vm relu": TensorVMConfig(
        resolution=6, start=6, density_components=2, appearance_components=3, activation="relu"
    ),
    "voxels degree 1": VoxelsConfig(resolution=6, start=6, sh_degree=1, tv_cells=64),
    "mlp": MlpConfig(layers=4, width=16, skip=2, position_bands=3, direction_bands=2, products="float32"),
    "mlp local": MlpConfig(
        layers=3, width=16, skip=0, position_bands=2, direction_bands=1, coordinates="local", products="float32"
    ),
    "mlp blind": MlpConfig(layers=2, width=16, position_bands=2, view_directions=False, products="float32"),
}

# Kinds that cannot be trained have no small configuration: they are tested with what they are made of.
TAUGHT_ONLY = {"analytic"}
# Kinds that are no fields answer no points: test_splats.py and test_mesh.py have their promises.
DRAWN = {"splats", "mesh"}


def missing_kinds() -> set[str]:
    """Kinds of the table that nothing here stands for."""
    return set(REPRESENTATIONS) - TAUGHT_ONLY - DRAWN - {config.kind for config in SMALL.values()}


def small_field(name: str, seed: int = 0, contracted: bool = False) -> Field:
    """A field whose parameters are all random, so that nothing is zero or equal by chance."""
    generator = torch.Generator().manual_seed(seed)
    field = SMALL[name].build(Domain(BOX.lower, BOX.upper, contracted), generator)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return field


def questions(count: int, seed: int = 1, reach: float = 1.0, dtype: torch.dtype = torch.float32) -> Points:
    """Random points of `reach` times the box (centred), seen along random directions."""
    generator = torch.Generator().manual_seed(seed)
    unit = (torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5) * reach + 0.5
    directions = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    return Points(BOX.local_from_unit(unit).to(dtype), directions.to(dtype))
