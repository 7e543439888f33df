"""Parameters and answers: what a scene can be made of. The union below is the whole plug-in mechanism."""

from typing import get_args

from volkit.ops.param_group import ParamGroup
from volkit.representations.analytic import AnalyticConfig, AnalyticField
from volkit.representations.field import Field, FieldSample
from volkit.representations.hash_grid import HashGrid, HashGridConfig
from volkit.representations.mesh import Mesh, MeshConfig
from volkit.representations.mlp import Mlp, MlpConfig
from volkit.representations.placed import Composed, Placed
from volkit.representations.planes import Planes, PlanesConfig
from volkit.representations.representation import Capture, Representation
from volkit.representations.splats import Splats, SplatsConfig
from volkit.representations.tensor_cp import TensorCP, TensorCPConfig
from volkit.representations.tensor_vm import TensorVM, TensorVMConfig
from volkit.representations.voxel_features import VoxelFeatures, VoxelFeaturesConfig
from volkit.representations.voxels import Voxels, VoxelsConfig

__all__ = [
    "REPRESENTATIONS",
    "TEACHERS_ONLY",
    "AnalyticConfig",
    "AnalyticField",
    "Capture",
    "Composed",
    "Field",
    "FieldSample",
    "HashGrid",
    "HashGridConfig",
    "Mesh",
    "MeshConfig",
    "Mlp",
    "MlpConfig",
    "ParamGroup",
    "Placed",
    "Planes",
    "PlanesConfig",
    "Representation",
    "RepresentationConfig",
    "Splats",
    "SplatsConfig",
    "TensorCP",
    "TensorCPConfig",
    "TensorVM",
    "TensorVMConfig",
    "VoxelFeatures",
    "VoxelFeaturesConfig",
    "Voxels",
    "VoxelsConfig",
]

RepresentationConfig = (
    HashGridConfig
    | VoxelsConfig
    | TensorVMConfig
    | TensorCPConfig
    | PlanesConfig
    | MlpConfig
    | SplatsConfig
    | MeshConfig
    | AnalyticConfig
    | VoxelFeaturesConfig
)
REPRESENTATIONS: dict[str, type[RepresentationConfig]] = {c.kind: c for c in get_args(RepresentationConfig)}
TEACHERS_ONLY = ("mesh", "analytic", "voxel_features")  # kinds that are not trained
