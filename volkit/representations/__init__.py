"""Representations of scenes: fields, splats, meshes, wrappers. `kinds.py` has the table, and how to add one."""

from volkit.ops.param_group import ParamGroup
from volkit.representations.analytic import AnalyticConfig, AnalyticField
from volkit.representations.field import Field, FieldSample, FunctionField
from volkit.representations.hash_grid import HashGrid, HashGridConfig
from volkit.representations.kinds import (
    REPRESENTATIONS,
    RepresentationConfig,
    SceneConfig,
    WrapperConfig,
    config_class,
    kinds,
    register_representation,
    trainable_kinds,
)
from volkit.representations.material import Look, Material, Texture
from volkit.representations.mesh import Mesh, MeshConfig
from volkit.representations.mlp import Mlp, MlpConfig
from volkit.representations.planes import Planes, PlanesConfig
from volkit.representations.representation import Capture, Placement, Representation
from volkit.representations.splats import Splats, SplatsConfig
from volkit.representations.tensor_cp import TensorCP, TensorCPConfig
from volkit.representations.tensor_vm import TensorVM, TensorVMConfig
from volkit.representations.voxel_features import VoxelFeatures, VoxelFeaturesConfig
from volkit.representations.voxels import Voxels, VoxelsConfig
from volkit.representations.wrappers import (
    Ball,
    Composed,
    ComposedConfig,
    Cut,
    Edited,
    EditedConfig,
    Placed,
    PlacedConfig,
    innermost,
)

__all__ = [
    "REPRESENTATIONS",
    "AnalyticConfig",
    "AnalyticField",
    "Ball",
    "Capture",
    "Composed",
    "ComposedConfig",
    "Cut",
    "Edited",
    "EditedConfig",
    "Field",
    "FieldSample",
    "FunctionField",
    "HashGrid",
    "HashGridConfig",
    "Look",
    "Material",
    "Mesh",
    "MeshConfig",
    "Mlp",
    "MlpConfig",
    "ParamGroup",
    "Placed",
    "PlacedConfig",
    "Placement",
    "Planes",
    "PlanesConfig",
    "Representation",
    "RepresentationConfig",
    "SceneConfig",
    "Splats",
    "SplatsConfig",
    "TensorCP",
    "TensorCPConfig",
    "TensorVM",
    "TensorVMConfig",
    "Texture",
    "VoxelFeatures",
    "VoxelFeaturesConfig",
    "Voxels",
    "VoxelsConfig",
    "WrapperConfig",
    "config_class",
    "innermost",
    "kinds",
    "register_representation",
    "trainable_kinds",
]

for _config in (
    HashGridConfig,
    VoxelsConfig,
    TensorVMConfig,
    TensorCPConfig,
    PlanesConfig,
    MlpConfig,
    SplatsConfig,
    MeshConfig,
    AnalyticConfig,
    VoxelFeaturesConfig,
    EditedConfig,
    PlacedConfig,
    ComposedConfig,
):
    register_representation(_config)
